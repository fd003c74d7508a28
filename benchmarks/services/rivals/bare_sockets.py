"""Passes bytes on as a broker and a handler would, and reads none: the floor of the machine.

`python -m benchmarks.services.rivals.bare_sockets` prints its ports: of the device, and of the
subscriber. One process stands for the gateway, the other for the handler; a Unix socket joins them.
"""

import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from benchmarks.brokers import ROOT
from benchmarks.errors import PeerError

READ_BYTES = 65_536
PROBE_BYTES = 110  # about those of the message
ANSWER_S = 20.0


def probe_bare_sockets(count: int, pause_s: float) -> list[float]:
    """Send one message after the other; return the seconds until each came back."""
    times = []
    with _running() as (device, subscriber):
        for _ in range(count):
            time.sleep(pause_s)
            began = time.perf_counter()
            device.sendall(b"x" * PROBE_BYTES)
            got = 0
            while got < PROBE_BYTES:
                got += len(subscriber.recv(READ_BYTES)) or _fail()
            times.append(time.perf_counter() - began)
    return times


@contextmanager
def _running() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Run both processes; yield the sockets of a device and of a subscriber."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.services.rivals.bare_sockets"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        ports = process.stdout.readline().split()
        if len(ports) != 2:
            raise PeerError("cannot start the bare sockets")
        with _connect(int(ports[0])) as device, _connect(int(ports[1])) as subscriber:
            yield device, subscriber
    finally:
        process.kill()  # its handler ends with it: the socket between them closes
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def _connect(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), ANSWER_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _fail() -> int:
    raise PeerError("cannot measure: the bare sockets hung up")


def _pass_on(ways: Mapping[socket.socket, socket.socket]) -> None:
    """Write what comes from one socket to another, until one is closed."""
    selector = selectors.DefaultSelector()
    for source, target in ways.items():
        selector.register(source, selectors.EVENT_READ, target)
    while True:
        for key, _ in selector.select():
            assert isinstance(key.fileobj, socket.socket)
            data = key.fileobj.recv(READ_BYTES)
            if not data:
                return
            key.data.sendall(data)


def main() -> None:
    """Run until a client hangs up."""
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        ours.close()
        for listener in listeners:
            listener.close()
        with suppress(KeyboardInterrupt, OSError):
            _pass_on({theirs: theirs})
        os._exit(0)
    theirs.close()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    sys.stdout.write(" ".join(str(each.getsockname()[1]) for each in listeners) + "\n")
    sys.stdout.flush()
    device, subscriber = (listener.accept()[0] for listener in listeners)
    subscriber.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with suppress(KeyboardInterrupt, OSError):
        _pass_on({device: ours, ours: subscriber})


if __name__ == "__main__":
    main()
