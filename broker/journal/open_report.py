"""Reports what opening a journal found."""

from dataclasses import dataclass, field

from broker.journal.segments import Damage


@dataclass(slots=True)
class OpenReport:
    """The findings of opening a journal."""

    segments: int = 0
    groups: int = 0
    torn: int = 0  # tails that were never synced: usual after a power cut
    orphans: int = 0  # sessions whose beginning was lost
    damages: list[tuple[str, Damage]] = field(default_factory=list)  # file name, what

    @property
    def lost_bytes(self) -> int:
        """The most bytes that cannot be read."""
        return sum(damage.length for _, damage in self.damages)

    @property
    def faults(self) -> int:
        """The number of damaged places and of sessions without a beginning."""
        return len(self.damages) + self.orphans

    @property
    def is_clean(self) -> bool:
        """True when nothing is missing that was once committed."""
        return not self.faults
