"""cgroup files as a kernel shows them, in folders of the test."""

from pathlib import Path

import pytest

from gateway.services.runtimes.cgroups import CgroupLimits, CgroupTree, find_cgroups

LIMITS = CgroupLimits(memory_mib=64, cpu=0.5, processes=10)


def make_proc(folder: Path, mounts: list[tuple[Path, str, str]], lines: str) -> Path:
    (folder / "self").mkdir(parents=True)
    text = "".join(f"x {where} {kind} {options} 0 0\n" for where, kind, options in mounts)
    (folder / "self/mounts").write_text(text)
    (folder / "self/cgroup").write_text(lines)
    return folder


def make_unified(own: Path, *, offered: str, enabled: str) -> None:
    own.mkdir(parents=True)
    (own / "cgroup.controllers").write_text(offered)
    (own / "cgroup.subtree_control").write_text(enabled)
    (own / "cgroup.procs").write_text("")


def test_version_2_limits_memory_processor_and_processes(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    folder.mkdir()
    cgroup = CgroupTree(folder, frozenset({"memory", "cpu", "pids"})).make("one")
    (made,) = cgroup.folders
    for name in ("memory.max", "memory.swap.max", "cpu.max", "pids.max"):  # the kernel makes them
        (made / name).touch()
    cgroup.set_limits(LIMITS)
    read = {file.name: file.read_text() for file in made.iterdir()}
    assert read == {
        "memory.max": str((64 + 24) * 1024 * 1024),
        "memory.swap.max": "0",
        "cpu.max": "50000 100000",
        "pids.max": "12",
    }


def test_version_1_limits_the_same(tmp_path: Path) -> None:
    legacy = tuple((name, tmp_path / name) for name in ("memory", "cpu", "pids"))
    for _, parent in legacy:
        parent.mkdir()
    made = CgroupTree(legacy=legacy).make("one")
    assert len(made.folders) == 3
    for name in (
        "memory/one/memory.limit_in_bytes",
        "cpu/one/cpu.cfs_quota_us",
        "pids/one/pids.max",
    ):
        (tmp_path / name).touch()
    made.set_limits(LIMITS)
    assert (tmp_path / "memory/one/memory.limit_in_bytes").read_text() == str(88 * 1024 * 1024)
    assert (tmp_path / "cpu/one/cpu.cfs_quota_us").read_text() == "50000"
    assert (tmp_path / "pids/one/pids.max").read_text() == "12"


def test_controllers_of_version_1_fill_what_version_2_lacks(tmp_path: Path) -> None:
    unified, memory = tmp_path / "unified", tmp_path / "memory"
    make_unified(unified, offered="pids", enabled="pids")
    (memory / "own").mkdir(parents=True)
    proc = make_proc(
        tmp_path / "proc",
        [(unified, "cgroup2", "rw"), (memory, "cgroup", "rw,relatime,memory")],
        "4:memory:/own\n0::/\n",
    )
    tree = find_cgroups(proc)
    assert tree.unified is not None
    assert tree.unified.parent == unified
    assert [(name, path.parent) for name, path in tree.legacy] == [("memory", memory / "own")]


def test_without_cgroups_nothing_is_made(tmp_path: Path) -> None:
    tree = find_cgroups(tmp_path / "none")
    assert tree == CgroupTree()
    assert tree.make("one").folders == ()


def test_a_cgroup_that_belongs_to_the_service_manager_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "system.slice"
    make_unified(own, offered="memory cpu pids", enabled="")
    (own / "cgroup.type").write_text("domain")
    monkeypatch.setattr("os.getuid", lambda: 0)
    proc = make_proc(tmp_path / "proc", [(tmp_path, "cgroup2", "rw")], "0::/system.slice\n")
    assert find_cgroups(proc).unified is None


def test_processes_killed_for_memory_are_counted(tmp_path: Path) -> None:
    tree = CgroupTree(tmp_path, frozenset({"memory"}))
    made = tree.make("one")
    assert made.out_of_memory() == 0
    (made.folders[0] / "memory.events").write_text("max 7\noom 1\noom_kill 2\n")
    assert made.out_of_memory() == 2


def test_folders_of_dead_gateways_are_removed_and_of_living_ones_not(tmp_path: Path) -> None:
    memory = tmp_path / "memory"
    for name in ("hecate-4000000/one", "hecate-7/two", "somebody-4000000"):
        (memory / name).mkdir(parents=True)
    proc = make_proc(tmp_path / "proc", [(memory, "cgroup", "rw,memory")], "4:memory:/\n")
    (proc / "7").mkdir()
    tree = find_cgroups(proc)
    left = {path.name for path in memory.iterdir()}
    assert left == {"hecate-7", "somebody-4000000", tree.legacy[0][1].name}
    tree.remove()
    assert not tree.legacy[0][1].exists()
