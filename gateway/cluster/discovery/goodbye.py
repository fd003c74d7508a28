"""Withdraws former addresses of this node from the caches of others. Does I/O.

A new address replaces those that others received more than 1 s before it (RFC 6762, 10.2). An
answer that waited in a queue brings the former address up to 1 s after the new one (6), and nothing
would replace that for the 120 s that it lives. So the former ones are withdrawn by TTL 0 (10.1),
a few times, because multicast gets lost.
"""

import asyncio
from collections.abc import Collection

from zeroconf import (  # type: ignore[attr-defined]  # public, but not in __all__
    DNSOutgoing,
    IPVersion,
    Zeroconf,
)
from zeroconf.asyncio import AsyncServiceInfo
from zeroconf.const import _FLAGS_AA, _FLAGS_QR_RESPONSE

PAUSE_S = 0.7
TIMES = 3
GOODBYE_S = TIMES * PAUSE_S  # from a change to the last goodbye


class AddressGoodbyes:
    """Sends goodbyes for the addresses that the last changes took away."""

    def __init__(self) -> None:
        self._gone: set[bytes] = set()
        self._task: asyncio.Task[None] | None = None

    def moved(self, zeroconf: Zeroconf, former: AsyncServiceInfo, info: AsyncServiceInfo) -> None:
        """Withdraw the addresses of the former record that the present one has not."""
        gone = self._gone | set(former.addresses_by_version(IPVersion.All))
        gone -= set(info.addresses_by_version(IPVersion.All))
        if gone:
            self.stop()
            self._gone = gone
            self._task = asyncio.create_task(self._send(zeroconf, info))

    def stop(self) -> None:
        """Send no more."""
        if self._task is not None:
            self._task.cancel()
        self._gone, self._task = set(), None

    async def _send(self, zeroconf: Zeroconf, info: AsyncServiceInfo) -> None:
        for _ in range(TIMES):
            await asyncio.sleep(PAUSE_S)
            zeroconf.async_send(make_goodbye(info, self._gone))
        self._gone, self._task = set(), None


def make_goodbye(info: AsyncServiceInfo, gone: Collection[bytes]) -> DNSOutgoing:
    """Return a response with the present addresses, and the former ones with TTL 0."""
    former = AsyncServiceInfo(info.type, info.name, addresses=list(gone), server=info.server)
    out = DNSOutgoing(_FLAGS_QR_RESPONSE | _FLAGS_AA)
    # the present ones are there because each record flushes others of its type
    for record in (*info.dns_addresses(), *former.dns_addresses(override_ttl=0)):
        out.add_answer_at_time(record, 0)
    return out
