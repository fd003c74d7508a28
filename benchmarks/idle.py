"""Connections that do nothing: how many the broker holds and what memory each costs."""

import socket
from time import perf_counter

from benchmarks.errors import PeerError
from benchmarks.generator import Rig, connect_clients
from benchmarks.measure import Sample, Tally
from benchmarks.packets import PINGREQ, PINGRESP
from benchmarks.streams import receive_exactly

FAILURES = 5  # so many connections that are refused, or do not answer, end the run

MEMORY = "KiB/connection"
OPENED = "connections/s"


def hold(rig: Rig, *, connections: int) -> Sample:
    """Open connections one after the other, and see that in the end each answers a ping."""
    failed = 0
    with connect_clients(rig.port) as connect:
        opened = [connect("idle0")]  # what the first of all costs is not per connection
        before = rig.read_memory()
        started = perf_counter()
        while len(opened) + failed < connections and failed < FAILURES:
            try:
                opened.append(connect(f"idle{len(opened)}"))
            except (PeerError, OSError):
                failed += 1
        elapsed = perf_counter() - started
        used = rig.read_memory() - before
        answered = _count_answers(opened, rig.timing.stall_s)
    added = len(opened) - 1
    values = {MEMORY: used / 1024 / max(1, added), OPENED: added / elapsed}
    return Sample(values, Tally(connections, answered))


def _count_answers(opened: list[socket.socket], timeout_s: float) -> int:
    answered = 0
    for asked, connection in enumerate(opened):
        if asked - answered >= FAILURES:
            break
        answered += _answers_ping(connection, timeout_s)
    return answered


def _answers_ping(connection: socket.socket, timeout_s: float) -> bool:
    connection.settimeout(timeout_s)
    try:
        connection.sendall(PINGREQ)
        return receive_exactly(connection, len(PINGRESP)) == PINGRESP
    except OSError:
        return False
