"""Supernodes that are there and of no use: a disk that hangs, a process that is stopped."""

import signal
import socket
from pathlib import Path

import pytest

from tests.integration.gateway.cluster.test_cluster import start, supernode
from tests.ports import free_port
from tests.programs import until
from tests.system import Gateway

# put in front of a gateway's imports: fdatasync waits while a file is there
HANGING_DISK = """
import os, time
write = os.fdatasync
def fdatasync(descriptor):
    while os.path.exists({path!r}):
        time.sleep(0.01)
    write(descriptor)
os.fdatasync = fdatasync
"""
# the same: the monotonic clock stands still while the process does, as on a machine that sleeps
SLEEPING = """
import time
monotonic = time.monotonic
last, slept = monotonic(), 0.0
def awake():
    global last, slept
    now = monotonic()
    if now - last > 1.0:
        slept += now - last
    last = now
    return now - slept
time.monotonic = awake
"""


def start_three(folder: Path, stack: list[Gateway], **of_first: str) -> None:
    ports = [free_port() for _ in range(3)]
    peers = [f"127.0.0.1:{port}" for port in ports]
    for number, port in enumerate(ports):
        more = {"HECATE_GATEWAY_CLUSTER_PORT": str(port), **(of_first if not number else {})}
        more["HECATE_GATEWAY_CLUSTER_CAPABILITY"] = str(900 - number)
        stack.append(start(folder, f"n{number}", peers, **more))
    first = stack[0]
    until(lambda: {supernode(each) for each in stack} == {first.node_id}, "the first leads")
    until(lambda: len(first.call("GET", "/cluster/v1")["successors"]) == 2, "it has successors")


# case N7
@pytest.mark.slow
def test_a_supernode_whose_disk_hangs_is_replaced(tmp_path: Path) -> None:
    blocked, patch = tmp_path / "blocked", tmp_path / "patch"
    patch.mkdir()
    (patch / "sitecustomize.py").write_text(HANGING_DISK.format(path=str(blocked)))
    gateways: list[Gateway] = []
    try:
        start_three(tmp_path, gateways, PYTHONPATH=str(patch))
        first, others = gateways[0], gateways[1:]
        blocked.touch()
        rest = {gateway.node_id for gateway in others}
        until(lambda: {supernode(g) for g in gateways} <= rest, "a successor leads")
        assert first.ask("GET", "/healthz", "").status_code == 200  # it answers all the time
        assert "not fit to lead: no answer of the disk" in "".join(first.program.lines)
        blocked.unlink()
    finally:
        blocked.unlink(missing_ok=True)
        for gateway in gateways:
            assert gateway.stop() == 0


# case N7
@pytest.mark.slow
@pytest.mark.whole_in_any_share
@pytest.mark.parametrize("patch", ["", SLEEPING], ids=["stopped", "suspended"])
def test_a_supernode_that_stood_still_learns_its_demotion_before_it_answers(
    patch: str, tmp_path: Path
) -> None:
    gateways: list[Gateway] = []
    try:
        (tmp_path / "sitecustomize.py").write_text(patch)
        start_three(tmp_path, gateways, PYTHONPATH=str(tmp_path))
        first, others = gateways[0], gateways[1:]
        rest = {gateway.node_id for gateway in others}
        first.program.process.send_signal(signal.SIGSTOP)
        until(lambda: len({supernode(g) for g in others} & rest) == 1, "a take-over")
        host, _, port = first.url.removeprefix("http://").rpartition(":")
        with socket.create_connection((host, int(port))) as early:  # it waits in the stopped node
            request = (
                f"GET /cluster/v1 HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {first.key}"
            )
            early.sendall(f"{request}\r\nConnection: close\r\n\r\n".encode())
            first.program.process.send_signal(signal.SIGCONT)
            answer = b"".join(iter(lambda: early.recv(65536), b""))
        assert b" 200 " in answer
        assert f'"supernodeId":"{first.node_id}"'.encode() not in answer.replace(b" ", b"")
        (leader,) = {supernode(g) for g in others}
        until(lambda: supernode(first) == leader, "it is a member")
        assert {supernode(g) for g in others} == {leader}
    finally:
        for gateway in gateways:
            assert gateway.stop() == 0
