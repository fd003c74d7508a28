"""A TCP connection through the test, which can pull the plug."""

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self

CHUNK_BYTES = 65_536


class Cable:
    """Listens on a port of its own and passes everything to another; a context that ends."""

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._ends: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._start(self._accept)

    def cut(self) -> None:
        """Close all connections without a word."""
        for each in self._ends:
            with contextlib.suppress(OSError):  # it has ended by itself
                each.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # close() alone would not wake accept()
        self.cut()
        for thread in self._threads:
            thread.join()
        for each in (*self._ends, self._listener):
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(self._target)
            self._ends += near, far
            self._start(lambda near=near, far=far: _pump(near, far))
            self._start(lambda near=near, far=far: _pump(far, near))

    def _start(self, work: object) -> None:
        assert callable(work)
        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while received := source.recv(CHUNK_BYTES):
            sink.sendall(received)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # cut
