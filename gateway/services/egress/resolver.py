"""Resolves names, each in a thread of its own, a bounded number at once.

A name server that does not answer holds a thread for half a minute. asyncio's own threads would be
held, and the end of the program would wait for them.
"""

import asyncio
import ipaddress
import socket
import threading

from gateway.services.network.addresses import IpAddress

LOOKUPS = 4  # of one container; a thread of a lookup that nobody waits for counts, too


class NameResolver:
    """Asks the system's resolver for one container."""

    def __init__(self, lookups: int = LOOKUPS) -> None:
        self._free = threading.Semaphore(lookups)

    async def resolve(self, name: str) -> list[IpAddress]:
        """Return the addresses of a name; OSError when it has none, or too many are asked for."""
        loop = asyncio.get_running_loop()
        found: asyncio.Future[list[IpAddress]] = loop.create_future()
        if not self._free.acquire(blocking=False):
            raise OSError("too many names are being resolved")

        def deliver(addresses: list[IpAddress] | None, error: OSError | None) -> None:
            if found.done():
                return
            if error is not None:
                found.set_exception(error)
            else:
                found.set_result(addresses or [])

        def look_up() -> None:
            addresses, error = None, None
            try:
                addresses = _look_up(name)
            except OSError as exc:
                error = exc
            except UnicodeError:
                error = OSError("it is no host name")
            finally:
                self._free.release()
            try:
                loop.call_soon_threadsafe(deliver, addresses, error)
            except RuntimeError:  # the gateway has stopped
                return

        threading.Thread(target=look_up, name="resolver", daemon=True).start()
        return await found


def _look_up(name: str) -> list[IpAddress]:
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    # a zone is the system's own addition; link-local addresses are not reached by name
    texts = dict.fromkeys(str(address[0]).partition("%")[0] for *_, address in found)
    return [ipaddress.ip_address(text) for text in texts]
