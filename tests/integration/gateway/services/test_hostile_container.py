"""A container that tries to read, reach, disturb and exhaust what is not its own."""

import asyncio
import errno
import os
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest

from gateway.services.runtimes.cgroups import find_cgroups
from tests.aio import until
from tests.integration.gateway.services.hostile import CODE
from tests.integration.gateway.services.world import World, world, write_service

SECRET = "hush-7a1f"
LIMITS = "[limits]\nmemory_mib = 64\nprocesses = 24\nopen_files = 100\n"
VICTIM = """
open("diary", "w").write("dear diary")
@service.get("/")
async def root(_): return {"secret": len(service.env["SECRET"])}
"""
needs_namespaces = pytest.mark.skipif(
    os.getuid() != 0, reason="the ordinary user's means depend on the machine"
)


class Attacks:
    """The results of all attacks, made once in one world."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.results = folder, dict[str, Any]()
        self.findings: dict[str, dict[str, str]] = {}
        self.host_seen = ""

    async def collect(self) -> None:
        async with world(self.folder) as here:
            victim = write_service(self.folder / "victim", VICTIM, name="victim")
            await here.upload(victim)
            made = await here.create("victim", "victim-v1", {"SECRET": SECRET})
            assert made.is_success, made.text
            await here.deploy(
                write_service(self.folder / "src", CODE, name="hostile", toml=LIMITS), "hostile"
            )
            path = "/mcm/v1/containers/api-hostile/security"
            shown = (await here.http.get(path)).json()["findings"]
            self.findings = {one["name"]: one for one in shown}
            await self._attack(here)
            # the gateway and the other container are as they were
            victim_answer = await here.http.get("/api/victim/v1/")
            assert victim_answer.json() == {"secret": len(SECRET)}
            self.host_seen = _everything_about(here.pid("api-victim"))
            self.log = here.log("api-victim") + here.log("api-hostile")

    async def _attack(self, here: World) -> None:
        state = self.folder / "state"
        victim_pid, sockets = here.pid("api-victim"), sorted((self.folder / "run").glob("*.sock"))
        assert len(sockets) == 2
        suid = state / "containers/api-hostile/data/suid-id"
        shutil.copy("/usr/bin/id", suid)
        suid.chmod(0o4755)
        files = [
            state, state / "catalogue.db", state / "containers", state / "contents",
            state / "containers/api-victim/data/diary", state / "containers/api-victim/output.log",
            state / "containers/api-hostile/output.log", self.folder / "b.sock", self.folder,
            Path("/etc/shadow"), Path("/root"), Path("/home"), Path("/sys/kernel"), Path("/var"),
        ]  # fmt: skip
        code = next((state / "contents").glob("*/service.py"))
        written = [
            code, state / "catalogue.db", Path("/usr/bin/env"), Path("/etc/passwd"), Path("/new"),
            Path("/proc/sys/kernel/hostname"), Path("/proc/sysrq-trigger"),
            Path("/proc/self/oom_score_adj"),
        ]  # fmt: skip
        abstract = socket.socket(socket.AF_UNIX)
        with abstract:
            abstract.bind("\0hecate-test")
            abstract.listen()
            for name, argument in (
                ("read_files", [str(path) for path in files]),
                ("write_files", [str(path) for path in written]),
                ("read_environments", []),
                ("disturb_processes", [os.getpid(), victim_pid, os.getppid()]),
                ("connect_tcp", [here.mqtt_port]),
                ("connect_unix", [*map(str, sockets), str(self.folder / "api.sock"),
                                  "\0hecate-test"]),
                ("open_sockets", []),
                ("call_kernel", []),
                ("gain_rights", [str(suid)]),
                ("exhaust_files", []),
                ("bomb_with_forks", []),
                ("bomb_with_memory", [40 * 2**20] * 4),
            ):  # fmt: skip
                await self._one(here, name, argument)

    async def _one(self, here: World, name: str, argument: Any) -> None:
        await until(lambda: here.state("api-hostile") == "started")
        answer = await here.http.post(f"/api/hostile/v1/attack/{name}", json=argument)
        assert answer.status_code == 200 or name == "bomb_with_memory", answer.text
        self.results[name] = answer.json()


def _everything_about(pid: int) -> str:
    """Return what the system shows of a process and its init process to the most powerful user."""
    texts = []
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            for name in ("cmdline", "environ"):
                try:
                    texts.append((process / name).read_bytes().decode(errors="replace"))
                except OSError:
                    continue
    assert Path(f"/proc/{pid}").exists()
    return "\n".join(text for text in texts if "HECATE_TEST" not in text)


@pytest.fixture(scope="module")
def attacks(tmp_path_factory: pytest.TempPathFactory) -> Attacks:
    made = Attacks(tmp_path_factory.mktemp("h"))
    asyncio.run(made.collect())
    return made


def got(result: dict[str, Any]) -> dict[str, Any]:
    return {what: answer for what, answer in result.items() if str(answer).startswith("got")}


@needs_namespaces
def test_the_probe_found_all_means_in_force(attacks: Attacks) -> None:
    tree = find_cgroups()
    tree.remove()
    without_cgroups = {"memory", "cpu"} - tree.controllers - {name for name, _ in tree.legacy}
    levels = {name: one["level"] for name, one in attacks.findings.items()}
    assert {name for name, level in levels.items() if level != "full"} <= without_cgroups


def test_it_reads_no_file_of_the_gateway_or_of_others(attacks: Attacks) -> None:
    assert got(attacks.results["read_files"]) == {}
    assert got(attacks.results["write_files"]) == {}


# case S22
def test_it_sees_no_environment_and_no_process_of_others(attacks: Attacks) -> None:
    seen = attacks.results["read_environments"]
    assert seen["hush"] is False
    assert seen["pids"] <= 4  # its init process, its front, a thread's child at most


# case S22
def test_a_secret_is_in_no_log_and_no_process_list(attacks: Attacks) -> None:
    assert SECRET not in attacks.log
    assert SECRET not in attacks.host_seen


@needs_namespaces
def test_it_disturbs_no_other_process(attacks: Attacks) -> None:
    result = attacks.results["disturb_processes"]
    assert got(result) == {}
    assert {answer for what, answer in result.items() if "kill" in what} == {"ESRCH"}
    assert {answer for what, answer in result.items() if "ptrace" in what} == {"EPERM"}


@needs_namespaces
def test_it_reaches_neither_the_machines_ports_nor_the_network(attacks: Attacks) -> None:
    result = attacks.results["connect_tcp"]
    assert got(result) == {}
    assert result["outside"] == "ENETUNREACH"


def test_it_reaches_no_socket_of_others(attacks: Attacks) -> None:
    assert got(attacks.results["connect_unix"]) == {}


def test_it_opens_no_socket_that_has_no_namespace(attacks: Attacks) -> None:
    assert set(attacks.results["open_sockets"].values()) == {"EAFNOSUPPORT"}


def test_the_kernels_back_doors_are_closed(attacks: Attacks) -> None:
    assert set(attacks.results["call_kernel"].values()) == {"EPERM"}


def test_it_gains_no_rights(attacks: Attacks) -> None:
    assert got(attacks.results["gain_rights"]) == {}


def test_open_files_end_at_the_limit(attacks: Attacks) -> None:
    result = attacks.results["exhaust_files"]
    assert result["error"] == errno.errorcode[errno.EMFILE]
    assert 50 < result["opened"] < 100


def test_a_fork_bomb_ends_at_the_limit(attacks: Attacks) -> None:
    assert 0 < attacks.results["bomb_with_forks"]["forks"] <= 26


def test_processes_together_stay_below_the_memory_limit(attacks: Attacks) -> None:
    if attacks.findings["memory"]["level"] != "full":
        pytest.skip("this machine has no memory cgroup; `hecate ps --security` says so")
    result = attacks.results["bomb_with_memory"]
    # the kernel ends one of its processes: the front, or some of the others
    assert result.get("status") == 502 or result["alive"] < 4
