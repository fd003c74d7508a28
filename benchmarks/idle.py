"""Opens idle connections and measures their rate and the broker's memory for each."""

import socket
import struct
from contextlib import ExitStack
from time import perf_counter

from benchmarks.errors import PeerError
from benchmarks.generator import Rig
from benchmarks.measure import Sample, Tally
from benchmarks.packets import CONNACK_ACCEPTED, PINGREQ, PINGRESP, encode_connect
from benchmarks.streams import receive_exactly

FAILURES = 5  # so many connections that are refused, or do not answer, end the run
BATCH = 50  # connections that are opened at once
PER_ADDRESS = 10_000  # an address has 28,000 ports for clients, and closed ones rest for a minute
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: ports of this run are free for the next

MEMORY = "KiB/connection"
OPENED = "connections/s"
HELD = "connections held"


def hold(rig: Rig, *, connections: int) -> Sample:
    """Open connections, some at a time, and see that in the end each answers a ping."""
    with ExitStack() as opened:
        clients = _open(
            rig, opened, 0, 1
        )  # the costs of the very first are not costs per connection
        before, cpu = rig.read_memory(), rig.read_cpu()
        started = perf_counter()
        failed = 0
        while len(clients) + failed < connections and failed < FAILURES:
            count = min(BATCH, connections - len(clients) - failed)
            fresh = _open(rig, opened, len(clients), count)
            failed += count - len(fresh)
            clients += fresh
            if perf_counter() - started > rig.timing.setup_s:
                raise PeerError(f"cannot connect {connections:,}: {len(clients):,} in time")
        elapsed = perf_counter() - started
        used_s = rig.read_cpu().broker_s - cpu.broker_s
        memory = rig.read_memory() - before
        answered = _count_answers(clients, rig.timing.stall_s)
    added = max(1, len(clients) - 1)
    values = {MEMORY: memory / 1024 / added, OPENED: added / elapsed, HELD: float(answered)}
    return Sample(values, Tally(connections, answered), used_s / added * 1e6, used_s / elapsed)


def _open(rig: Rig, opened: ExitStack, first: int, count: int) -> list[socket.socket]:
    """Return those of so many connections that the broker accepted."""
    asked = []
    for number in range(first, first + count):
        source = f"127.0.0.{1 + number // PER_ADDRESS}" if number >= PER_ADDRESS else ""
        try:
            client = opened.enter_context(rig.endpoint.dial(source))
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            client.sendall(encode_connect(f"idle{number}"))
        except OSError:
            continue
        asked.append(client)
    return [each for each in asked if _answers(each, CONNACK_ACCEPTED)]


def _count_answers(opened: list[socket.socket], timeout_s: float) -> int:
    answered = 0
    for asked, connection in enumerate(opened):
        if asked - answered >= FAILURES:
            break
        connection.settimeout(timeout_s)
        try:
            connection.sendall(PINGREQ)
        except OSError:
            continue
        answered += _answers(connection, PINGRESP)
    return answered


def _answers(connection: socket.socket, answer: bytes) -> bool:
    try:
        return receive_exactly(connection, len(answer)) == answer
    except OSError:
        return False
