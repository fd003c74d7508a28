"""Runs an HTTP proxy between a gateway and its cloud."""

import base64
import contextlib
import socket
import threading
from types import TracebackType
from typing import Self


class HttpProxy:
    """Forwards CONNECT and plain requests; names that end in .invalid lead to this machine.

    No resolver knows such a name (RFC 6761), so nobody gets there without this proxy.
    """

    def __init__(self, credentials: str = "") -> None:
        self.requests: list[str] = []  # first lines
        self._wanted = base64.b64encode(credentials.encode()).decode() if credentials else ""
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        self._open: set[socket.socket] = set()
        self._is_cut = False
        self._passes = threading.Event()
        self._passes.set()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._passes.set()
        for sock in (self._server, *self._open):
            close(sock)

    def cut(self) -> None:
        """End all connections, and take no new ones until mend()."""
        self._is_cut = True
        for sock in tuple(self._open):
            close(sock)

    def mend(self) -> None:
        """Work again."""
        self._is_cut = False
        self._passes.set()

    def hold(self) -> None:
        """Pass nothing on any more, and leave the connections open, as a dead line behind it."""
        self._passes.clear()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            if self._is_cut:
                close(client)
                continue
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        self._open.add(client)
        try:
            self._forward(client)
        except OSError:
            pass
        finally:
            self._open.discard(client)
            close(client)

    def _forward(self, client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            received = client.recv(65536)
            if not received:
                return
            head += received
        head, _, rest = head.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        self.requests.append(first)
        if self._wanted and f"Basic {self._wanted}" not in head.decode():
            client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
            return
        method, target, version = first.split()
        if method == "CONNECT":
            upstream = self._connect(target)
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n" + rest)
        else:
            where, _, path = target.removeprefix("http://").partition("/")
            upstream = self._connect(where)
            kept = [line for line in lines if not line.lower().startswith("connection:")]
            request = [f"{method} /{path} {version}", *kept, "Connection: close", "", ""]
            upstream.sendall("\r\n".join(request).encode() + rest)
        back = threading.Thread(target=pump, args=(upstream, client, self._passes), daemon=True)
        back.start()
        pump(client, upstream, self._passes)
        back.join()

    def _connect(self, target: str) -> socket.socket:
        host, _, port = target.rpartition(":")
        if host.endswith(".invalid"):
            host = "127.0.0.1"
        upstream = socket.create_connection((host, int(port)))
        self._open.add(upstream)
        return upstream


def pump(source: socket.socket, sink: socket.socket, passes: threading.Event) -> None:
    try:
        while received := source.recv(65536):
            passes.wait()
            sink.sendall(received)
    except OSError:
        pass
    close(sink)


def close(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()
