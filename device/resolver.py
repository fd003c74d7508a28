"""Finds the gateway's address, and remembers the last one that was good. Loaded to connect.

getaddrinfo() has no asynchronous form: while DNS does not answer, the whole board stands still for
ten seconds. So dns.py asks if the board knows its DNS server, and a good address, which is kept across resets, is used until
connecting to it fails, and after that DNS is asked at most once a minute. A numeric host needs no
DNS.
"""

import socket
import time

from device import flash
from device.errors import Unreachable
from micropython import const

_FILE = const("address")
_PAUSE_MS = const(60000)
_GOOD = const(0)
_HAS_FAILED = const(1)
_ASKED = const(2)


def new_state(host):
    """Return what is known at the start: [last good address, whether it failed, last question]."""
    try:
        known, _, address = (flash.read_text(_FILE) or "").partition(" ")
    except (OSError, ValueError):
        return [None, False, None]
    return [address if known == host and address else None, False, None]


async def find(state, host, port, server):
    """Return an address to try, as getaddrinfo() does; server is the board's dns()."""
    good = state[_GOOD]
    asked = state[_ASKED]
    may_ask = asked is None or time.ticks_diff(time.ticks_ms(), asked) >= _PAUSE_MS
    if good is None or (state[_HAS_FAILED] and may_ask):
        state[_ASKED] = time.ticks_ms()
        try:
            address = host
            if server is not None and not host.replace(".", "").isdigit():
                address = await flash.load("dns").resolve(server, host)
            return _look_up(address, port)
        except OSError as exc:
            if good is None:
                raise Unreachable("cannot find %s: DNS: %s" % (host, exc))
    return _look_up(good, port)


def note_failure(state):
    """Note that the address led to nothing."""
    state[_HAS_FAILED] = True


def note_success(state, host, info):
    """Note that the address led to the gateway."""
    state[_HAS_FAILED] = False
    address = _numeric(info)
    if address is None or address in (state[_GOOD], host):
        return
    state[_GOOD] = address
    try:
        flash.write_atomic(_FILE, "%s %s" % (host, address))
    except OSError as exc:
        print("device: cannot keep the address of %s: %s" % (host, exc))


def _look_up(host, port):
    return socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)[0]


def _numeric(info):
    address = info[-1]
    if isinstance(address, tuple):
        return address[0]
    return "%d.%d.%d.%d" % tuple(address[4:8]) if info[0] == 2 else None  # sockaddr_in, unix port
