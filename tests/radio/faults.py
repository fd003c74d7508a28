"""Lets a virtual adapter fail as real ones and their stacks do; a test sets the attributes."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random


@dataclass
class ChunkFaults:
    """Loses, repeats and reorders what passes in one direction; reproducible by its seed."""

    lost: float = 0.0  # of all, at random
    repeated: float = 0.0
    swapped: float = 0.0  # kept back until the next has passed
    longest: int = 0  # bytes; what is longer is lost, whatever the MTU says; 0: no limit
    seed: int = 1
    passed: int = field(default=0, init=False)
    dropped: int = field(default=0, init=False)
    _kept: list[bytes] = field(default_factory=list, init=False)
    _random: Random | None = field(default=None, init=False)

    def apply(self, value: bytes) -> Iterator[bytes]:
        """Yield what arrives of a value, or now that it was sent."""
        chance = self._random = self._random or Random(self.seed)
        if chance.random() < self.lost or 0 < self.longest < len(value):
            self.dropped += 1
            return
        if chance.random() < self.swapped and not self._kept:
            self._kept.append(value)
            return
        times = 2 if chance.random() < self.repeated else 1
        for arrived in (*[value] * times, *self._kept):
            self.passed += 1
            yield arrived
        self._kept.clear()


@dataclass
class AdapterFaults:
    """The faults of one adapter; each can be changed at any time."""

    # the scanner
    is_silent: bool = False  # it scans, and reports nothing
    stops_in_progress: int = 0  # so many times stop() raises InProgress, and the scan goes on
    # links
    refused_connects: int = 0  # so many times connect() fails after a while
    link_limit: int = 0  # of the adapter; 0: none
    leaks_links: bool = False  # disconnect() answers, but the link stays
    hides_disconnects: bool = False  # a link that ends is not reported
    # GATT
    keeps_services: bool = False  # those of a device's first connection, until unpair()
    early_s: float = 0.0  # after a subscription; notifications that come meanwhile are lost
    claimed_mtu: int = 0  # instead of the true one
    writes: ChunkFaults = field(default_factory=ChunkFaults)
    notifications: ChunkFaults = field(default_factory=ChunkFaults)
