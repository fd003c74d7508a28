"""Judges bonds that the system has with devices. Pure.

The gateway needs no bond and makes none: chunks carry their own keys. But a system may hold one, of
a pairing by hand. Then a device that was wiped, or a stranger that uses its address, cannot be
connected to: the encryption of the link fails. Neither is a reason to give the bond up. A lost bond
is reported; it is removed when the one that uses the address has proved a key of this gateway after
that, or when the owner says so. Other events at the address change nothing.
"""

from dataclasses import dataclass

LIMIT = 128
REMIND_S = 3600.0


@dataclass(slots=True)
class LostBond:
    """A bond whose key the device does not use."""

    address: str
    since: float
    was: str  # the last one that proved a key there, "" for none
    told_at: float


class BondBook:
    """The bonds that are lost."""

    def __init__(self) -> None:
        self._lost: dict[str, LostBond] = {}
        self.replaced = 0

    @property
    def lost(self) -> tuple[LostBond, ...]:
        """The bonds that are lost, the oldest first."""
        return tuple(self._lost.values())

    def note_refusal(self, address: str, was: str, now: float) -> bool:
        """Note that a link failed because of its bond; return whether to report it now."""
        known = self._lost.get(address)
        if known is None:
            if len(self._lost) >= LIMIT:
                del self._lost[next(iter(self._lost))]
            self._lost[address] = LostBond(address, now, was, now)
            return True
        if now - known.told_at < REMIND_S:
            return False
        known.told_at = now
        return True

    def note_proof(self, address: str) -> bool:
        """Note that a key was proved at an address; return whether its bond has to be removed."""
        if self._lost.pop(address, None) is None:
            return False
        self.replaced += 1
        return True

    def remove(self, address: str) -> bool:
        """Note that the owner gave a bond up; return whether it was lost."""
        return self._lost.pop(address, None) is not None
