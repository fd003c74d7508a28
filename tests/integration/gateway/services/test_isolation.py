"""The isolation that a container reports: what it has, what it lacks, what it may not lack."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import pytest

from gateway.services.runtimes.isolation import IsolationPolicy
from tests.aio import until
from tests.integration.gateway.services.old_kernel import NOBODY
from tests.integration.gateway.services.world import World, world, write_service
from tests.programs import ROOT, Program
from tests.programs import until as wait_until

CODE = """
@service.get("/")
async def root(_): return {"pid": os.getpid()}

@service.get("/exit")
async def leave(_): os._exit(1)

@service.get("/eat")
async def eat(_):
    await asyncio.create_subprocess_exec(sys.executable, "-c", "import time; time.sleep(1000)")
    return {}
"""
EATING = """
import subprocess

@service.get("/eat")
async def eat(_):  # each process stays below its own limit
    kept = bytearray(os.urandom(1)) * (40 << 20)
    for _ in range(3):
        program = "x = bytearray(30 << 20); import time; time.sleep(1000)"
        subprocess.Popen([sys.executable, "-c", program])
    await asyncio.sleep(1000)
"""
SECURITY = "/mcm/v1/containers/api-probe/security"
OLD_KERNEL = Path(__file__).with_name("old_kernel.py")
needs_root = pytest.mark.skipif(
    os.getuid() != 0, reason="only root can take parts of a kernel away"
)


def warm_parent_pid(here: World) -> int:
    (runtime,) = here.host._runtimes
    pid = runtime._runtime.warm_parent_pid  # type: ignore[attr-defined]
    assert isinstance(pid, int)
    return pid


def test_the_death_of_the_warm_parent_stops_no_container(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            await here.deploy(write_service(tmp_path / "src", CODE), "probe")
            pid, before = here.pid("api-probe"), warm_parent_pid(here)
            os.kill(before, signal.SIGKILL)
            await until(lambda: here.host._runtimes[0]._runtime.warm_parent_pid is None)  # type: ignore[attr-defined]
            assert (await here.http.get("/api/probe/v1/")).status_code == 200
            assert here.pid("api-probe") == pid
            # the next process comes from a new one
            await here.http.get("/api/probe/v1/exit")
            await until(lambda: here.host.containers()[0].restarts == 1)
            await until(lambda: here.state("api-probe") == "started")
            assert warm_parent_pid(here) != before
            assert (await here.http.get("/api/probe/v1/")).status_code == 200
            (shown,) = (await here.http.get("/mcm/v1/containers")).json()["data"]
            assert "it exited with status 1" in shown["lastEnd"]["reason"]

    asyncio.run(run())


def test_a_killed_gateway_takes_all_containers_along_though_nobody_else_is_left(
    tmp_path: Path,
) -> None:
    """The warm parent is gone, the service does not run: the init process ends it."""
    command = [sys.executable, "-m", "tests.integration.gateway.services.orphan", str(tmp_path)]
    with Program(command) as gateway:
        pid = int(gateway.wait_for(r"pid (\d+)")[1])
        init = _parent_of(pid)
        warm_parent = _parent_of(init)
        assert _parent_of(warm_parent) == gateway.process.pid
        os.kill(pid, signal.SIGSTOP)
        os.kill(warm_parent, signal.SIGKILL)
        assert Path(f"/proc/{pid}").exists()
        gateway.process.kill()
        wait_until(lambda: not Path(f"/proc/{pid}").exists())
        wait_until(lambda: not Path(f"/proc/{init}").exists())


def _parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


# case S20
def test_a_crash_loop_shows_its_next_try_and_a_deployment_ends_it(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            await here.deploy(write_service(tmp_path / "src", CODE), "probe")
            for _ in range(2):
                await until(lambda: here.state("api-probe") == "started")
                await here.http.get("/api/probe/v1/exit")
                await until(lambda: here.state("api-probe") == "restarting")
                (shown,) = (await here.http.get("/mcm/v1/containers")).json()["data"]
                assert shown["nextTry"] > 0
            await here.deploy(write_service(tmp_path / "src", CODE + "\n# mended\n"), "probe")
            (shown,) = (await here.http.get("/mcm/v1/containers")).json()["data"]
            assert (shown["state"], shown["nextTry"]) == ("started", 0)

    asyncio.run(run())


def test_a_kernel_that_ends_a_process_for_memory_is_named(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            toml = "[limits]\nmemory_mib = 64\n"
            await here.deploy(write_service(tmp_path / "src", EATING, toml=toml), "probe")
            findings = (await here.http.get(SECURITY)).json()["findings"]
            if {one["name"]: one["level"] for one in findings}["memory"] != "full":
                pytest.skip("this machine has no memory cgroup; `hecate ps --security` says so")
            cut = await here.http.get("/api/probe/v1/eat")
            assert cut.status_code == 502
            await until(lambda: here.host.containers()[0].restarts == 1)
            (shown,) = (await here.http.get("/mcm/v1/containers")).json()["data"]
            assert "the kernel ended it: out of memory: [limits] memory_mib = 64" in str(shown)

    asyncio.run(run())


def test_a_container_opens_the_devices_that_manifest_and_gateway_name(tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    path = Path(os.ttyname(theirs))
    path.chmod(0o666)
    code = f"""
@service.get("/")
async def root(_):
    os.write(os.open("{path}", os.O_RDWR | os.O_NOCTTY), b"from the container")
    return {{}}
"""
    toml = f'[isolation]\ndevices = ["{path}"]\n'
    source = write_service(tmp_path / "src", code, toml=toml)

    async def run() -> None:
        async with world(tmp_path) as here:
            await here.upload(source)
            refused = await here.create("probe", "probe-v1")
            assert f"[services] devices of the gateway does not allow {path}" in refused.text
        async with world(tmp_path, IsolationPolicy(devices=("/dev/pts/*",))) as here:
            await here.deploy(source, "probe")
            assert (await here.http.get("/api/probe/v1/")).status_code == 200

    asyncio.run(run())
    assert os.read(ours, 100) == b"from the container"
    os.close(ours)
    os.close(theirs)


# case S21
def test_the_whole_tree_is_gone_and_no_zombie_stays(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            await here.deploy(write_service(tmp_path / "src", CODE), "probe")
            await here.http.get("/api/probe/v1/eat")
            namespace = _namespace_of(here.pid("api-probe"))
            seen = 3 if os.getuid() == 0 else 2  # its init process hides from ordinary users
            assert len(_members(namespace)) >= seen
            await here.http.get("/api/probe/v1/exit")
            await until(lambda: here.state("api-probe") == "restarting")
            assert _members(namespace) == []

    asyncio.run(run())


def _namespace_of(pid: int) -> Path:
    return Path(f"/proc/{pid}/ns/pid").readlink()


def _members(namespace: Path) -> list[int]:
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdecimal() and (process / "ns/pid").readlink() == namespace:
                found.append(int(process.name))
        except OSError:
            continue
    return found


def test_strict_refuses_less_and_names_the_remedy(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path, IsolationPolicy(strict=True)) as here:
            await here.upload(write_service(tmp_path / "src", CODE))
            made = await here.create("probe", "probe-v1")
            findings = (await here.http.get(SECURITY)).json()["findings"]
            if made.is_success:  # a machine with everything
                assert {one["level"] for one in findings} == {"full"}
                return
            assert made.status_code == 422
            assert "its isolation is less than required" in made.json()["detail"]

    asyncio.run(run())


# case S23
@needs_root
@pytest.mark.parametrize("mode", ["best", "strict", "manifest"])
def test_an_old_kernel_is_told_honestly(tmp_path: Path, mode: str) -> None:
    """Without cgroups and Landlock: they are taken away from a gateway's services."""
    command = ["unshare", "-m", sys.executable, str(OLD_KERNEL), str(tmp_path), mode]
    with Program(command, {"PYTHONPATH": str(ROOT)}) as program:
        answer = json.loads(program.wait_for(r"(\{.*\})")[1])
    if mode == "best":
        levels = {one["name"]: one["level"] for one in answer["findings"]}
        assert levels["landlock"] == "none"
        assert levels["memory"] == "part"
        assert levels["cpu"] == "part"
        assert levels["files"] == levels["network"] == levels["processes_seen"] == "full"
        details = {one["name"]: one["detail"] for one in answer["findings"]}
        assert "each process alone" in details["memory"]
        return
    why = answer["detail"]
    assert "its isolation is less than required" in why
    assert "cgroup_enable=memory" in why
    assert ("CONFIG_SECURITY_LANDLOCK" in why) == (mode == "strict")


@needs_root
def test_a_root_without_the_right_to_namespaces_restricts_what_it_can(tmp_path: Path) -> None:
    """As in a Docker container with its default profile."""
    command = [sys.executable, str(OLD_KERNEL), str(tmp_path), "confined"]
    with Program(command, {"PYTHONPATH": str(ROOT)}) as program:
        answer = json.loads(program.wait_for(r"(\{.*\})")[1])
    levels = {one["name"]: one["level"] for one in answer["findings"]}
    assert {name for name, level in levels.items() if level == "none"} <= {"uid", "processes"}
    assert levels["processes_seen"] == "part"
    for name in ("privileges", "files", "landlock", "network", "syscalls"):
        assert levels[name] == "full", (name, answer)


@needs_root
def test_an_ordinary_user_isolates_containers_too() -> None:
    with tempfile.TemporaryDirectory() as folder:
        command = [_readable_python(Path(folder)), str(OLD_KERNEL), f"{folder}/home", "user"]
        with Program(command, {"PYTHONPATH": str(ROOT), "HOME": f"{folder}/home"}) as program:
            answer = json.loads(program.wait_for(r"(\{.*\})")[1])
    levels = {one["name"]: one["level"] for one in answer["findings"]}
    assert {name for name, level in levels.items() if level != "full"} <= {"memory", "cpu"}


def _readable_python(folder: Path) -> str:
    """Return an interpreter that every user may run, with the packages of this one."""
    version = f"python3.{sys.version_info.minor}"
    system = shutil.which(version, path="/usr/bin")
    if system is None or not _is_readable(ROOT):
        pytest.skip(f"no {version} that an ordinary user may run")
    folder.chmod(0o755)
    (folder / "home").mkdir()
    shutil.chown(folder / "home", NOBODY, NOBODY)
    subprocess.run([system, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    packages = folder / f"venv/lib/{version}/site-packages/ours.pth"
    packages.write_text(f"{sysconfig.get_path('purelib')}\n{ROOT}\n")
    return str(folder / "venv/bin/python")


def _is_readable(path: Path) -> bool:
    return all(one.stat().st_mode & 0o005 == 0o005 for one in (path, *path.parents))
