"""Holds the boards that ask to join without a claim token, until a person approves them. Pure.

A board makes a secret and shows it at every login; the gateway keeps the digest. So an approval is
worth nothing to another board, even to one that knows the board's id. The gateway chooses the
code that both sides show: no board can choose that of another. The code is no secret. It only
helps a person to approve the board at hand.

What holds after every call: there are at most PENDING_LIMIT boards, at most SOURCE_LIMIT of one
source, and no two of them have one code. The board that has been silent longest makes room; one
that a person has approved or denied never does.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from gateway.limits.source_limiter import SourceLimiter, source_of
from gateway.limits.token_bucket import Rate

PENDING_LIMIT = 256
SOURCE_LIMIT = 64
SILENT_S = 24 * 3600.0  # a board that does not ask any more is forgotten
DECIDED_S = 7 * 24 * 3600.0  # an approval or a denial holds so long
DENIED_LIMIT = 64  # the oldest denial makes room
SOURCE_RATE = Rate(burst=32, interval_s=10.0)  # of boards that ask for the first time
TOTAL_RATE = Rate(burst=64, interval_s=1.0)
SECRET_BYTES = range(16, 129)
CODE_DIGITS = 6


class PendingState(StrEnum):
    """The states of a board that asks to join."""

    WAITING = "pending"
    APPROVED = "approved"
    DENIED = "denied"


@dataclass(frozen=True, slots=True)
class PendingBoard:
    """A board that asks to join; it has no name until its request has arrived."""

    digest: str  # of its secret
    client_id: str
    code: str
    source: str
    first_at: float
    asked_at: float
    name: str = ""
    model: str = ""
    state: PendingState = PendingState.WAITING
    device_id: str = ""  # once approved
    decided_at: float = 0.0
    is_stored: bool = False  # as it is

    @property
    def shown_code(self) -> str:
        """The code as people read it."""
        half = CODE_DIGITS // 2
        return f"{self.code[:half]}-{self.code[half:]}"

    def is_over(self, now: float) -> bool:
        """Return whether the board, or the decision about it, is forgotten."""
        if self.state is PendingState.WAITING:
            return now - self.asked_at > SILENT_S
        return now - self.decided_at > DECIDED_S


class PendingBoards:
    """The boards that ask to join a node."""

    def __init__(self, boards: Iterable[PendingBoard], new_code: Callable[[], str]) -> None:
        self._boards = {board.digest: board for board in boards}
        self._new_code = new_code
        self._limiter = SourceLimiter(SOURCE_RATE, TOTAL_RATE)
        self._removed: list[str] = []
        self.refused = 0  # logins, by the limits

    def __len__(self) -> int:
        return len(self._boards)

    def all(self) -> list[PendingBoard]:
        """Return the boards, the newest last."""
        return list(self._boards.values())

    def get(self, digest: str) -> PendingBoard | None:
        """Return the board with a secret, or None."""
        return self._boards.get(digest)

    def ask(self, digest: str, client_id: str, address: str, now: float) -> PendingBoard | None:
        """Note a login; return the board, or None when the limits or the client id refuse it."""
        known = self._boards.get(digest)
        if known is not None and known.is_over(now):
            self.remove(digest)
            known = None
        if known is None:
            return self._add(digest, client_id, source_of(address), now)
        if known.client_id != client_id:
            return None  # the secret was made by another board
        board = self._boards[digest] = replace(known, asked_at=now)
        return board

    def describe(self, digest: str, name: str, model: str) -> PendingBoard | None:
        """Note the name and the model that a board gives; None when it had to make room.

        A board that is approved or denied keeps those that the person saw, or gave.
        """
        known = self._boards.get(digest)
        if known is None:
            return None
        if (known.name, known.model) == (name, model) or known.state is not PendingState.WAITING:
            return known
        board = self._boards[digest] = replace(known, name=name, model=model, is_stored=False)
        return board

    def note_stored(self, digest: str) -> None:
        """Note that the store has a board as it is now, but for the time of its last login."""
        if (board := self._boards.get(digest)) is not None:
            self._boards[digest] = replace(board, is_stored=True)

    def find(self, text: str) -> list[PendingBoard]:
        """Return the boards that a person may mean: one by its code, or those with a board id."""
        digits = text.replace("-", "").replace(" ", "")
        named = [board for board in self._boards.values() if board.name]
        by_code = [board for board in named if board.code == digits]
        return by_code or [board for board in named if board.client_id == text]

    def approve(self, digest: str, device_id: str, name: str, now: float) -> PendingBoard:
        """Let a board join as a device with a name."""
        self._boards[digest] = replace(self._boards[digest], name=name)
        return self._decide(digest, PendingState.APPROVED, device_id, now)

    def deny(self, digest: str, now: float) -> PendingBoard:
        """Refuse a board."""
        denied = [b for b in self._boards.values() if b.state is PendingState.DENIED]
        if len(denied) >= DENIED_LIMIT:
            self.remove(min(denied, key=lambda board: board.decided_at).digest)
        return self._decide(digest, PendingState.DENIED, "", now)

    def restore(self, board: PendingBoard) -> None:
        """Take a decision back that could not be stored."""
        self._boards[board.digest] = board

    def remove(self, digest: str) -> None:
        """Forget a board; take_removed() tells it to the store."""
        if self._boards.pop(digest, None) is not None:
            self._removed.append(digest)

    def remove_old(self, now: float) -> None:
        """Forget the boards and the decisions that are over."""
        for digest in [d for d, board in self._boards.items() if board.is_over(now)]:
            self.remove(digest)

    def take_removed(self) -> list[str]:
        """Return the digests that are forgotten since the last call."""
        removed, self._removed = self._removed, []
        return removed

    def _decide(self, digest: str, state: PendingState, device_id: str, now: float) -> PendingBoard:
        board = self._boards[digest] = replace(
            self._boards[digest], state=state, device_id=device_id, decided_at=now
        )
        return board

    def _add(self, digest: str, client_id: str, source: str, now: float) -> PendingBoard | None:
        if not self._limiter.admit(source, now) or not self._make_space(source):
            self.refused += 1
            return None
        codes = {board.code for board in self._boards.values()}
        code = next(code for code in iter(self._new_code, None) if code not in codes)
        board = PendingBoard(digest, client_id, code, source, first_at=now, asked_at=now)
        self._boards[digest] = board
        return board

    def _make_space(self, source: str) -> bool:
        """Remove the waiting board that has been silent longest, if a limit is reached."""
        waiting = [b for b in self._boards.values() if b.state is PendingState.WAITING]
        counts = Counter(board.source for board in waiting)
        if counts[source] >= SOURCE_LIMIT:
            busiest = source
        elif len(self._boards) < PENDING_LIMIT:
            return True
        elif waiting:
            busiest = counts.most_common(1)[0][0]  # the source with the most pays
        else:
            return False
        longest = min((b for b in waiting if b.source == busiest), key=lambda board: board.asked_at)
        self.remove(longest.digest)
        return True
