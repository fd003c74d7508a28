"""Limits the number and the rate of connections, per address and in total.

The machine's own addresses have no bounds per address: proxies connect from there. Nor has a Unix
socket, which has no address. An IPv6 address counts with its whole /64, which its owner can use.

Connections that are not authenticated yet are bounded in total, those of this machine included.
When there are too many, the oldest without a CONNECT is closed, at the address that has most of
them: honest clients send theirs at once, so that no number of silent connections keeps one out.
"""

import ipaddress
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from broker.quota.counters import BrokerCounters
from broker.quota.limits import Limits

REMEMBERED = 10_000  # addresses with a known rate; beyond, the least recent one is forgotten


@dataclass(slots=True)
class ListenerQuota:
    """The connection count of one listener."""

    limit: int | None = None
    open: int = 0


class ConnectionSlot:
    """One counted connection; give_back() counts it once, however often it is called."""

    __slots__ = (
        "_connection_limiter",
        "address",
        "cut",
        "is_given_back",
        "is_settled",
        "listener_quota",
    )

    def __init__(
        self,
        connection_limiter: "ConnectionLimiter",
        address: str,
        listener_quota: ListenerQuota,
        cut: Callable[[], None],
    ) -> None:
        self.address = address  # as it is counted
        self.listener_quota = listener_quota
        self.cut = cut  # ends the connection
        self.is_settled = False
        self.is_given_back = False
        self._connection_limiter = connection_limiter

    def ask(self) -> None:
        """Note that the CONNECT has come; the connection is not evicted any more."""
        self._connection_limiter.stop_waiting(self)

    def settle(self) -> None:
        """Note that the client is authenticated."""
        if not self.is_settled and not self.is_given_back:
            self.is_settled = True
            self._connection_limiter.settle(self)

    def give_back(self) -> None:
        """Note that the connection is closed."""
        if not self.is_given_back:
            self.is_given_back = True
            self._connection_limiter.leave(self)


class ConnectionLimiter:
    """Counts connections from the first moment, before TLS and before CONNECT."""

    def __init__(self, limits: Limits, counters: BrokerCounters) -> None:
        self._limits = limits
        self._counters = counters
        self._open = 0
        self._strangers = 0  # not authenticated yet
        self._waiting: dict[
            str, dict[ConnectionSlot, None]
        ] = {}  # without a CONNECT, by address, the oldest first
        self._by_address: dict[str, int] = {}
        self._paces: OrderedDict[str, tuple[float, float]] = OrderedDict()  # left, and when

    def enter(
        self,
        peer: str,
        now: float,
        listener_quota: ListenerQuota | None = None,
        cut: Callable[[], None] = lambda: None,
    ) -> ConnectionSlot | None:
        """Return a slot; None, counted with its reason, when there are too many connections.

        cut is called to close the connection while it is silent, in favour of another one.
        """
        address, listener_quota = find_key(peer), listener_quota or ListenerQuota()
        refusal = self._find_refusal(address, now, listener_quota)
        if refusal:
            self._counters.refuse(refusal)
            return None
        if self._strangers >= self._limits.unauthenticated and not self._evict():
            self._counters.refuse("unauthenticated")
            return None
        self._open += 1
        listener_quota.open += 1
        self._strangers += 1
        if address:
            self._by_address[address] = self._by_address.get(address, 0) + 1
        slot = ConnectionSlot(self, address, listener_quota, cut)
        self._waiting.setdefault(address, {})[slot] = None
        return slot

    def settle(self, slot: ConnectionSlot) -> None:
        """Count a connection as authenticated; its slot calls this."""
        self._strangers -= 1
        self.stop_waiting(slot)

    def leave(self, slot: ConnectionSlot) -> None:
        """Count a connection as closed; its slot calls this."""
        self._open -= 1
        slot.listener_quota.open -= 1
        if not slot.is_settled:
            self._strangers -= 1
            self.stop_waiting(slot)
        if not slot.address:
            return
        left = self._by_address[slot.address] - 1
        if left:
            self._by_address[slot.address] = left
        else:
            del self._by_address[slot.address]

    def stop_waiting(self, slot: ConnectionSlot) -> None:
        """Note that a connection has sent its CONNECT; its slot calls this."""
        waiting = self._waiting.get(slot.address)
        if waiting is not None:
            waiting.pop(slot, None)
            if not waiting:
                del self._waiting[slot.address]

    def _evict(self) -> bool:
        """Close a silent connection; return whether there was one."""
        waiting = max(self._waiting.values(), key=len, default=None)
        if waiting is None:
            return False
        oldest = next(iter(waiting))
        oldest.give_back()  # now, so that a burst within one loop iteration counts it once
        self._counters.refuse("unauthenticated")
        oldest.cut()
        return True

    def _find_refusal(self, address: str, now: float, listener_quota: ListenerQuota) -> str:
        limits = self._limits
        if self._open >= limits.connections:
            return "connections"
        if listener_quota.limit is not None and listener_quota.open >= listener_quota.limit:
            return "connections_of_listener"
        return self._find_refusal_of(address, now) if address else ""

    def _find_refusal_of(self, address: str, now: float) -> str:
        limits = self._limits
        if self._by_address.get(address, 0) >= limits.connections_per_address:
            return "connections_per_address"
        if not self._is_in_pace(address, now):
            return "connects_per_s"
        return ""

    def _is_in_pace(self, address: str, now: float) -> bool:
        burst = float(self._limits.connect_burst)
        left, then = self._paces.pop(address, (burst, now))
        left = min(burst, left + (now - then) * self._limits.connects_per_s)
        is_in_pace = left >= 1.0
        self._paces[address] = (left - is_in_pace, now)  # at the end: most recent
        if len(self._paces) > REMEMBERED:
            self._paces.popitem(last=False)
        return is_in_pace


@lru_cache(1_000)  # speed: else an address is parsed for each connection
def find_key(peer: str) -> str:
    """Return the key under which an address is counted, "" for one without bounds."""
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])  # without its zone
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        elif not address.is_loopback:
            return str(ipaddress.IPv6Network((address, 64), strict=False))
    return "" if address.is_loopback else str(address)
