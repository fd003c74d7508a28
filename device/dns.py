"""Asks a DNS server for an IPv4 address without stopping the board. Loaded to connect.

getaddrinfo() of a board returns when the server has answered or ten seconds have passed, and
nothing else runs meanwhile, not even the watchdog's feeding.
"""

import asyncio
import os
import socket

from micropython import const

_TRIES = const(3)
_ALIVE_TRIES = const(2)
_WAIT_MS = const(1500)
_ANSWER_BYTES = const(512)
_PORT = const(53)


async def resolve(server, host):
    """Return the address of a host as text; OSError when there is none."""
    answer, at = await _ask(server, host, _TRIES)
    return _address(answer, at)


async def answers(server):
    """Return whether a DNS server answers at all, which shows that the network works."""
    try:
        await _ask(server, "", _ALIVE_TRIES)
    except OSError:
        return False
    return True


async def _ask(server, host, tries):
    """Return an answer, and where its records begin; the host "" is the root."""
    number = os.urandom(2)
    query = number + b"\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"  # recursion, one question
    for label in host.encode().split(b"."):
        query += bytes((len(label),)) + label
    query += b"\x00\x00\x01\x00\x01" if host else b"\x00\x01\x00\x01"  # A, IN
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        # connected, so that the system drops what others send
        sock.connect(socket.getaddrinfo(server[0], server[1] if len(server) > 1 else _PORT)[0][-1])
        stream = asyncio.StreamReader(sock)
        for _ in range(tries):
            sock.write(query)
            try:
                answer = await asyncio.wait_for_ms(stream.read(_ANSWER_BYTES), _WAIT_MS)
            except asyncio.TimeoutError:
                continue
            if answer[:2] == number:
                return answer, len(query)
    finally:
        sock.close()
    raise OSError("no answer within %d ms" % (tries * _WAIT_MS))


def _address(answer, at):
    """Return the first A record in an answer, whose records begin at a position."""
    if len(answer) < 12 or answer[3] & 0x0F:
        raise OSError("it does not know the name")
    for _ in range(answer[6] << 8 | answer[7]):
        while at < len(answer) and 0 < answer[at] < 0xC0:  # a name: labels, then 0 or a pointer
            at += 1 + answer[at]
        at += 2 if at < len(answer) and answer[at] >= 0xC0 else 1
        if at + 10 > len(answer):
            break
        kind, length = answer[at] << 8 | answer[at + 1], answer[at + 8] << 8 | answer[at + 9]
        at += 10
        if kind == 1 and length == 4 and at + 4 <= len(answer):
            return "%d.%d.%d.%d" % tuple(answer[at : at + 4])
        at += length
    raise OSError("it has no IPv4 address")
