"""The real `hecate up --nodes 3`: the supernode is killed, another takes over, nothing is left."""

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.programs import PATIENCE, Program, run, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
UP = (sys.executable, "-m", "gateway", "up", "--nodes", "3", "--state")


def children(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def end(program: Program, started: list[psutil.Process]) -> None:
    assert program.stop(signal.SIGINT, 30) == 0
    assert psutil.wait_procs(started, timeout=10)[1] == []


def test_the_supernode_is_killed_and_another_takes_over(tmp_path: Path) -> None:
    up = Program((*UP, str(tmp_path / "state"), "--plain"), {"PYTHONUNBUFFERED": "1"})
    pid = int(up.wait_for(r"^    kill -9 (\d+)$", 90)[1])
    listing = up.wait_for(r"^    (\S*hecate|.* -m gateway) nodes (--url .*)$")
    started = children(up.process.pid)
    assert len(started) == 4  # and the cloud
    leader = up.wait_for(rf"(node-\d): supernode, process {pid}, .* 3 nodes, successors")[1]
    shown = run(f"{sys.executable} -m gateway nodes {listing[2]}")
    assert len(re.findall(r"^[0-9a-f]{56} ", shown, re.MULTILINE)) == 3
    os.kill(pid, signal.SIGKILL)
    taken = up.wait_for(r"(node-\d): supernode, .*took over [0-9.]+ s after the end")
    assert taken[1] != leader
    assert any(f"{leader}: gone, ended with SIGKILL" in line for line in up.lines)
    up.wait_for(rf"{taken[1]}: supernode, .* 2 nodes, .*holds the SEP")
    end(up, started)


def test_json_has_a_line_for_each_change(tmp_path: Path) -> None:
    up = Program((*UP, str(tmp_path / "state"), "--json"), {"PYTHONUNBUFFERED": "1"})

    def latest() -> dict[str, Any]:
        line = up.wait_for(r"^\{.*\}$", 90)[0]
        found: dict[str, Any] = json.loads(line)
        return found

    leader = next(node for node in latest()["nodes"] if node["role"] == "supernode")
    started = children(up.process.pid)
    os.kill(leader["pid"], signal.SIGKILL)
    nodes = latest()["nodes"]
    while not any(n["role"] == "supernode" and n["epoch"] > leader["epoch"] for n in nodes):
        nodes = latest()["nodes"]
    until(lambda: not psutil.pid_exists(leader["pid"]), "the killed one is gone")
    end(up, started)


def test_a_terminal_shows_a_table_and_a_key_starts_a_node_again(tmp_path: Path) -> None:
    master, slave = pty.openpty()
    environ = {**os.environ, "TERM": "xterm", "COLUMNS": "160", "LINES": "50"}
    process = subprocess.Popen(
        (*UP, str(tmp_path / "state")), stdin=slave, stdout=slave, stderr=slave, env=environ
    )
    os.close(slave)
    os.set_blocking(master, False)
    shown = bytearray()

    def read(pattern: bytes) -> re.Match[bytes] | None:
        with contextlib.suppress(OSError):  # nothing yet, or the program has ended
            shown.extend(os.read(master, 65_536))
        plain = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", bytes(shown))
        return re.search(pattern, plain)

    found: re.Match[bytes] | None = until(
        lambda: read(rb"kill the supernode: kill -9 (\d+)"), "a table", 90
    )
    assert found is not None
    started = children(process.pid)
    os.kill(int(found[1]), signal.SIGKILL)
    until(lambda: read(rb"gone, ended with SIGKILL"), "a node is gone")
    until(lambda: read(rb"r starts what is gone again"), "the key is told")
    before = len(children(process.pid))
    os.write(master, b"r")
    until(lambda: len(children(process.pid)) == before + 1, "a node starts again")
    shown.clear()
    until(lambda: read(rb"node-\d: member.*\n?.*uplink online"), "it is a member", 30)
    started += children(process.pid)
    process.send_signal(signal.SIGINT)
    until(lambda: (read(b"ended"), process.poll())[1] is not None, "the end", 30)
    assert process.returncode == 0
    os.close(master)
    assert psutil.wait_procs(started, timeout=10 * PATIENCE)[1] == []
