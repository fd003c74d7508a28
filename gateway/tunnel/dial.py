"""Opens the connections of a BEP: to the relay, and to the local server."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

from gateway.tunnel.errors import RefusedError
from protocol.preface import Preface, PrefaceRole, PrefaceStatus, encode_preface
from protocol.secret import Secret
from protocol.splice import connect_tls, tune

LOCAL_RETRY_S = 0.02

Dial = Callable[[str, int], Awaitable[socket.socket]]  # returns a tuned socket


async def dial_tcp(host: str, port: int) -> socket.socket:
    """Return a tuned connection to the first address that answers; OSError when none does."""
    loop = asyncio.get_running_loop()
    problem = OSError("the name has no address")
    for family, kind, proto, _, address in await loop.getaddrinfo(
        host, port, type=socket.SOCK_STREAM
    ):
        with contextlib.ExitStack() as undo:
            sock = socket.socket(family, kind, proto)
            undo.callback(sock.close)
            tune(sock)
            try:
                await loop.sock_connect(sock, address)
            except OSError as exc:
                problem = exc
                continue
            undo.pop_all()
            return sock
    raise problem


async def dial_tls(dial: Dial, host: str, port: int, context: ssl.SSLContext) -> socket.socket:
    """Return a plain socket that carries a TLS connection; OSError when there is none."""
    carrier = await dial(host, port)
    try:
        return await connect_tls(carrier, context, host)
    except BaseException:
        carrier.close()
        raise


async def introduce(sock: socket.socket, role: PrefaceRole, token: Secret) -> None:
    """Send the preface; RefusedError or OSError unless the relay accepts it."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(sock, encode_preface(Preface(role, token.reveal())))
    answer = await loop.sock_recv(sock, 1)  # no byte more: later bytes belong to the visitor
    if not answer:
        raise ConnectionResetError("the relay closed the connection")
    try:
        status = PrefaceStatus(answer[0])
    except ValueError as exc:
        raise ConnectionError(f"the relay answered {answer[0]}") from exc
    if status is not PrefaceStatus.ACCEPTED:
        raise RefusedError(status)


async def wait_for_visitor(sock: socket.socket) -> bool:
    """Return True at the first byte of a visitor, False when the relay closes."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(sock.fileno(), readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(sock.fileno())
    return bool(sock.recv(1, socket.MSG_PEEK))


async def dial_local(path: Path) -> socket.socket:
    """Return a connection to a Unix socket.

    asyncio's sock_connect() is no use here: it takes the EAGAIN of a Unix socket with a full
    backlog for "in progress", and then for success.
    """
    with contextlib.ExitStack() as undo:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        undo.callback(sock.close)
        tune(sock)
        while True:
            try:
                sock.connect(str(path))
            except BlockingIOError:
                await asyncio.sleep(LOCAL_RETRY_S)
            else:
                undo.pop_all()
                return sock
