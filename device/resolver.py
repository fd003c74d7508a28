"""Finds the gateway's address, and remembers the last one that was good, also across resets.

getaddrinfo() has no asynchronous form on a board: while DNS does not answer, the whole board
stands still for some seconds. So a good address is used until connecting to it fails, and after
that DNS is asked at most once a minute. A numeric host needs no DNS.
"""

import socket
import time

from device import flash
from device.errors import LinkLost

_FILE = "address"
_PAUSE_MS = 60000


class GatewayAddress:
    """The address of one host and port."""

    def __init__(self, host, port):
        self._host = host
        self._port = port
        self._good = self._load()
        self._has_failed = False
        self._asked = None

    def find(self):
        """Return an address to try, as getaddrinfo() does."""
        if self._good is None or (self._has_failed and self._may_ask()):
            self._asked = time.ticks_ms()
            try:
                return _look_up(self._host, self._port)
            except OSError as exc:
                if self._good is None:
                    raise LinkLost("cannot find %s: DNS says %s" % (self._host, exc))
        return _look_up(self._good, self._port)

    def note_failure(self):
        """Note that the address led to nothing."""
        self._has_failed = True

    def note_success(self, info):
        """Note that the address led to the gateway."""
        self._has_failed = False
        address = _numeric(info)
        if address is None or address in (self._good, self._host):
            return
        self._good = address
        try:
            flash.write_atomic(_FILE, "%s %s" % (self._host, address))
        except OSError as exc:
            print("device: cannot keep the address of %s: %s" % (self._host, exc))

    def _may_ask(self):
        return self._asked is None or time.ticks_diff(time.ticks_ms(), self._asked) >= _PAUSE_MS

    def _load(self):
        try:
            host, _, address = (flash.read_text(_FILE) or "").partition(" ")
        except (OSError, ValueError):
            return None
        return address if host == self._host and address else None


def _look_up(host, port):
    return socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)[0]


def _numeric(info):
    address = info[-1]
    if isinstance(address, tuple):
        return address[0]
    return "%d.%d.%d.%d" % tuple(address[4:8]) if info[0] == 2 else None  # sockaddr_in, unix port
