"""Loads a gateway in a process of its own while something else is measured.

`python -m benchmarks.background KIND PORT SECONDS [FILE]` prints "started", and in the end how
much it got done per second. KIND is `requests` (FILE holds the API key), `uploads` (FILE holds a
whole request), `qos0` or `qos1`.
"""

import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.errors import PeerError
from benchmarks.generator import DELIVERIES, Load, Rig, stream
from benchmarks.http_probe import encode_get, read_answer
from benchmarks.measure import Cpu, Timing
from benchmarks.transport import BrokerEndpoint

CONNECTIONS = 8  # they call the API, each with one request under way
UPLOADS = 1


def hammer(port: int, seconds: float, file: Path) -> float:
    """Ask for the status as fast as it is answered; return requests/s."""
    request = encode_get("/status/v1", file.read_text().strip())
    return _repeat(port, seconds, request, CONNECTIONS)


def upload(port: int, seconds: float, file: Path) -> float:
    """Upload an image again and again; return MB/s."""
    request = file.read_bytes()
    return _repeat(port, seconds, request, UPLOADS) * len(request) / 1e6


def saturate(port: int, seconds: float, qos: int) -> float:
    """Publish as fast as the broker takes it; return deliveries/s."""
    timing = Timing(warm_up_s=0.0, measure_s=seconds)
    rig = Rig(BrokerEndpoint(port), timing, lambda: Cpu(0.0, 0.0), lambda: 0)
    sample = stream(rig, Load(qos=qos, window=100 if qos else 16_384))
    if not sample.tally.is_exact:
        raise PeerError(f"cannot disturb: not exact: {sample.tally}")
    return sample.values[DELIVERIES]


def _repeat(port: int, seconds: float, request: bytes, connections: int) -> float:
    opened = [socket.create_connection(("127.0.0.1", port), 30) for _ in range(connections)]
    done, started = 0, time.perf_counter()
    for connection in opened:
        connection.sendall(request)
    while time.perf_counter() - started < seconds:
        for connection in opened:  # one after the other: they are answered in turns
            read_answer(connection)
            done += 1
            connection.sendall(request)
    elapsed = time.perf_counter() - started
    for connection in opened:
        connection.close()
    return done / elapsed


KINDS: dict[str, Callable[[int, float, Path], float]] = {
    "requests": hammer,
    "uploads": upload,
    "qos0": lambda port, seconds, _: saturate(port, seconds, 0),
    "qos1": lambda port, seconds, _: saturate(port, seconds, 1),
}

if __name__ == "__main__":
    kind, port_text, seconds_text, *rest = sys.argv[1:]
    print("started", flush=True)
    print(KINDS[kind](int(port_text), float(seconds_text), Path(*rest)), flush=True)
