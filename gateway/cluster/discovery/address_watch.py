"""Notices changes of this machine's interfaces and addresses. Does I/O.

Linux tells them by netlink, for each step: an IPv6 address appears, then becomes usable when nobody
else has it (RFC 4862, 5.4), a second later. Other systems are looked at every POLL_S.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, Iterator

POLL_S = 2.0
SETTLE_S = 0.1  # the steps of one change come close together
READ_BYTES = 64 * 1024

RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR = 0x1, 0x10, 0x100
GROUPS = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR


async def interface_changes() -> AsyncGenerator[None, None]:
    """Yield once at the start, then whenever an interface or address may have changed."""
    with _open_netlink() as events:
        yield
        while True:
            if events is None:
                await asyncio.sleep(POLL_S)
            else:
                await _read(events)
                await asyncio.sleep(SETTLE_S)
                _drain(events)
            yield


@contextlib.contextmanager
def _open_netlink() -> Iterator[socket.socket | None]:
    """Give the socket on which the kernel tells changes; None when there is none."""
    try:
        events = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    except (AttributeError, OSError):  # not Linux, or forbidden
        yield None
        return
    with events:
        events.setblocking(False)
        try:
            events.bind((0, GROUPS))
        except OSError:
            yield None
            return
        yield events


async def _read(events: socket.socket) -> None:
    with contextlib.suppress(OSError):  # ENOBUFS: more has changed than fits
        await asyncio.get_running_loop().sock_recv(events, READ_BYTES)


def _drain(events: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while events.recv(READ_BYTES):
            pass
