"""Remembers where other nodes may be found. Pure; nothing here is trusted.

A candidate comes from the configuration, from DNS-SD, or from a peer. Only the handshake with its
address shows which node is there. The newest statement of a source replaces its earlier one, and
that of a node itself those of its peers, so that a node which has moved is not looked for at its
old address.
"""

import random
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum

from gateway.addresses import is_link_local_v6, is_loopback, is_of_no_machine
from settings.addresses import HostPort, format_address

CANDIDATES_LIMIT = 64  # of those that are not connected; a stranger can announce any number
ADDRESSES_LIMIT = 8
FORGET_S = 86_400.0  # a network may be split for long, and may have no multicast afterwards
UNREACHED_S = 60.0  # a machine that starts is there by then
NEVER = float("inf")
FIRST_DELAY_S, DELAY_CAP_S = 0.25, 10.0
KNOWN_DELAY_CAP_S = 1.0  # of a node that had a link: halves of a network merge within seconds


class AddressSource(IntEnum):
    """The origin of addresses, the best first."""

    LINK = 0  # led to the node, or the node itself has named them over its link
    ANNOUNCED = 1  # by DNS-SD
    PASSED_ON = 2  # by another peer


@dataclass(slots=True)
class Candidate:
    """The addresses of one node by their source."""

    seen_at: float
    by_source: dict[AddressSource, tuple[str, ...]] = field(default_factory=dict)
    failures: int = 0
    not_before: float = 0.0  # of the next attempt
    unreached_since: float = NEVER  # since when no address leads anywhere
    announced_at: float = -NEVER
    leads_to: str = ""  # the node that was found at a configured address
    fault: str = ""  # the reason why the last attempt has reached nobody

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses, the best first."""
        found = (each for _, addresses in sorted(self.by_source.items()) for each in addresses)
        return tuple(dict.fromkeys(found))[:ADDRESSES_LIMIT]


class Candidates:
    """The addresses of nodes; those without an id have their address as the key.

    Args:
        node_id: of this node.
        configured: host:port of nodes without a known id.
        own: returns host:port of this node. Others may have the same, on networks of their own
            (a container bridge): there, this node would call itself.
        rng: of this node alone, for pauses.
    """

    def __init__(
        self,
        node_id: str,
        configured: Iterable[str] = (),
        own: Callable[[], Collection[str]] = tuple,
        rng: random.Random | None = None,
    ) -> None:
        self._node_id, self._own = node_id, own
        self._rng = rng or random.Random()  # noqa: S311  # spreads attempts
        self._configured = {
            address: Candidate(0.0, {AddressSource.LINK: (address,)}) for address in configured
        }
        self._named: OrderedDict[str, Candidate] = OrderedDict()
        self.refused = 0  # hints beyond the limit

    def note(
        self,
        node_id: str,
        addresses: Collection[str],
        now: float,
        kept: Collection[str] = (),
        source: AddressSource = AddressSource.ANNOUNCED,
    ) -> None:
        """Note what a source says about a node, instead of what it said before.

        A peer's statement counts unless this node has a link, and is in `kept`, the linked nodes.
        The oldest candidate makes room, unless it is in `kept`: one that had no link, as strangers
        announce them, before one that had; and one that had for another that had only.
        """
        own = self._own()
        usable = tuple(each for each in addresses if each not in own)[:ADDRESSES_LIMIT]
        if node_id == self._node_id or not usable:
            return
        if source is AddressSource.PASSED_ON and node_id in kept:
            return  # the peer may not know yet that the node has moved
        known = self._named.get(node_id)
        if known is None:
            if len(self._named) >= CANDIDATES_LIMIT and not self._make_room(kept, source):
                self.refused += 1
                return
            known = self._named[node_id] = Candidate(now, {source: usable})
        if source is AddressSource.ANNOUNCED:
            known.announced_at = now
        if set(usable) - set(known.addresses):
            known.failures, known.not_before = 0, now  # a new address is tried at once
        known.by_source[source], known.seen_at = usable, now
        if source is AddressSource.LINK:
            known.by_source.pop(AddressSource.PASSED_ON, None)
        self._named.move_to_end(node_id)

    def reached(self, node_id: str, address: str, now: float) -> None:
        """Note that an address led to a node."""
        if node_id not in self._named:
            self.note(node_id, (address,), now, source=AddressSource.LINK)
        for candidate in (self._named.get(node_id), self._configured.get(address)):
            if candidate is not None:
                candidate.unreached_since = NEVER
                candidate.failures, candidate.not_before = 0, now

    def identified(self, key: str, node_id: str) -> None:
        """Note which node has answered a candidate's call."""
        candidate = self._named.get(key) or self._configured.get(key)
        if candidate is not None:
            candidate.leads_to, candidate.unreached_since = node_id, NEVER

    def unreached(self, key: str, now: float, why: str = "") -> None:
        """Note that no address of a candidate leads anywhere."""
        candidate = self._named.get(key) or self._configured.get(key)
        if candidate is not None:
            candidate.unreached_since = min(candidate.unreached_since, now)
            candidate.fault = why
        self.failed(key, now)

    def unreached_peers(self, now: float) -> list[str]:
        """Return why configured addresses have led nowhere for long."""
        return [
            each.fault
            for each in self._configured.values()
            if now - each.unreached_since >= UNREACHED_S
        ]

    def heard_only(self, linked: Collection[str]) -> list[str]:
        """Return nodes that announce themselves still, and that cannot be reached."""
        return [
            node_id
            for node_id, each in self._named.items()
            if each.announced_at > each.unreached_since and node_id not in linked
        ]

    def misses(self, linked: Collection[str]) -> bool:
        """Return whether a node that has announced itself, or had a link, is not reached."""
        return any(
            each.unreached_since < NEVER and node_id not in linked
            for node_id, each in self._named.items()
        )

    def failed(self, key: str, now: float) -> None:
        """Note that a candidate has brought no link; the next attempt waits.

        The wait is random: all members of a lost supernode call the same nodes at the same time.
        """
        candidate = self._named.get(key) or self._configured.get(key)
        if candidate is not None:
            candidate.failures += 1
            delay_s = FIRST_DELAY_S * 2 ** min(candidate.failures - 1, 16)
            had_link = AddressSource.LINK in candidate.by_source and key in self._named
            cap_s = KNOWN_DELAY_CAP_S if had_link else DELAY_CAP_S
            candidate.not_before = now + self._rng.uniform(0.0, min(delay_s, cap_s))

    def retry(self, now: float) -> None:
        """Let all candidates be dialled now: this machine has other addresses."""
        for candidate in (*self._named.values(), *self._configured.values()):
            candidate.failures, candidate.not_before = 0, now
            if candidate.leads_to == self._node_id:  # another may have the address now
                candidate.leads_to = ""

    def addresses(self, node_id: str) -> tuple[str, ...]:
        """Return the addresses of a node."""
        candidate = self._named.get(node_id)
        return candidate.addresses if candidate is not None else ()

    def link_addresses(self, node_id: str) -> tuple[str, ...]:
        """Return the addresses that led to a node, or that it has named itself."""
        candidate = self._named.get(node_id)
        return candidate.by_source.get(AddressSource.LINK, ()) if candidate is not None else ()

    def hints(self, node_id: str) -> tuple[str, ...]:
        """Return the addresses that others than the node have named."""
        candidate = self._named.get(node_id)
        by_source = candidate.by_source if candidate is not None else {}
        return (
            *by_source.get(AddressSource.ANNOUNCED, ()),
            *by_source.get(AddressSource.PASSED_ON, ()),
        )

    def due(
        self, now: float, linked: Collection[str], at: Collection[str]
    ) -> Iterator[tuple[str, str, tuple[str, ...]]]:
        """Yield the key, the expected id and the addresses of candidates to dial now.

        Args:
            now: the monotonic clock in seconds.
            linked: the ids of nodes with a link.
            at: the addresses of those links.
        """
        self._forget(now, linked)
        for node_id, candidate in list(self._named.items()):
            if node_id not in linked and now >= candidate.not_before:
                yield node_id, node_id, candidate.addresses
        for address, candidate in self._configured.items():
            is_linked = address in at or candidate.leads_to in linked
            is_own = candidate.leads_to == self._node_id
            if not is_linked and not is_own and now >= candidate.not_before:
                yield address, "", candidate.addresses

    def _make_room(self, kept: Collection[str], source: AddressSource) -> bool:
        spare = [node_id for node_id in self._named if node_id not in kept]
        unproved = (i for i in spare if AddressSource.LINK not in self._named[i].by_source)
        oldest = next(unproved, None)
        if oldest is None and source is AddressSource.LINK:
            oldest = next(iter(spare), None)
        if oldest is not None:
            del self._named[oldest]
        return oldest is not None

    def _forget(self, now: float, linked: Collection[str]) -> None:
        for node_id, candidate in list(self._named.items()):
            if now - candidate.seen_at > FORGET_S and node_id not in linked:
                del self._named[node_id]


def scoped(addresses: Iterable[str], link_address: str) -> tuple[str, ...]:
    """Return the addresses that a peer has named, as this node can use them.

    A link-local address is meant for the network of the link over which it came (RFC 4007, 6): it
    gets the scope of that link, and is left out when the link has none. So is a loopback address,
    unless the link is on this machine.
    """
    link = HostPort.parse(link_address).host
    scope = link.partition("%")[2]
    found = []
    for each in addresses:
        place = HostPort.parse(each)
        if is_link_local_v6(place.host):
            if scope:
                host = place.host.partition("%")[0]
                found.append(format_address(f"{host}%{scope}", place.port))
        elif not is_of_no_machine(place.host) and (
            not is_loopback(place.host) or is_loopback(link)
        ):
            found.append(each)
    return tuple(found)
