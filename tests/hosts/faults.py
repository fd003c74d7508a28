"""Writes the packet filter of a test network: cuts in one or both directions, loss, no multicast.

The kernel of CI has no netem. nftables drops packets by chance instead (numgen); it cannot delay
them, so a delay is made by delay.py.
"""

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Faults:
    """The faults of a network; hosts are named by their numbers.

    Attributes:
        cut: pairs (from, to) whose packets are dropped in that direction.
        deaf: hosts that get nothing.
        mute: hosts of which nothing arrives.
        without_multicast: IPv4 multicast, and mDNS over IPv6, are dropped.
        loss_percent: of all packets.
    """

    cut: Collection[tuple[int, int]] = ()
    deaf: Collection[int] = ()
    mute: Collection[int] = ()
    without_multicast: bool = False
    loss_percent: int = 0

    def ruleset(self) -> str:
        """Return the whole packet filter of the switch."""
        rules = [f'iifname "v{a}" oifname "v{b}" drop' for a, b in sorted(self.cut)]
        rules += [f'oifname "v{host}" drop' for host in sorted(self.deaf)]
        rules += [f'iifname "v{host}" drop' for host in sorted(self.mute)]
        if self.without_multicast:
            rules += ["ip daddr 224.0.0.0/4 drop", "ip6 daddr ff00::/8 udp dport 5353 drop"]
        if self.loss_percent:
            rules.append(f"numgen random mod 100 < {self.loss_percent} drop")
        chain = "type filter hook forward priority 0; policy accept;"
        body = "\n".join((chain, *rules))
        return f"flush ruleset\ntable bridge faults {{\nchain forward {{\n{body}\n}}\n}}\n"


def split(*groups: Collection[int]) -> Faults:
    """Return the faults that divide the hosts into groups."""
    place = {host: number for number, group in enumerate(groups) for host in group}
    return Faults(cut=[(a, b) for a in place for b in place if place[a] != place[b]])
