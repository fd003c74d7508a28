"""Refuses SEP requests that are late, valid for too long, or were seen before.

What holds after every call, however the clock is set meanwhile:

1. No request is admitted twice: its id is remembered until it expires, and whatever expires no
   later than an id that was forgotten has expired, too, even if the clock went back.
2. At most `limit` ids are remembered. What would go beyond is refused, since forgetting an id
   early would let its replay in.

Nothing is kept over a restart, because a request of an earlier run cannot be opened: the sealing
key is of one run (identity.py).
"""

import heapq
from enum import StrEnum

LEEWAY_S = 30.0  # clocks of gateways without a battery-backed clock drift
VALID_LIMIT_S = 120.0  # mSS waits 20 s; anything far beyond was made to be kept
REMEMBERED_LIMIT = 20_000  # 100 requests/s for as long as the longest stay valid; 2 MB
ID_BYTES = 16


class ReplayVerdict(StrEnum):
    """The verdict on a request; all but ADMITTED are reasons for refusal."""

    ADMITTED = "admitted"
    MALFORMED = "its id is not 16 bytes"
    EXPIRED = "it has expired"
    TOO_LONG = "it is valid for too long"
    REPLAYED = "it was seen before"
    TOO_MANY = "too many requests are remembered"


class ReplayGuard:
    """Remembers ids until they expire."""

    def __init__(self, limit: int = REMEMBERED_LIMIT) -> None:
        self._limit = limit
        self._seen: set[bytes] = set()
        self._by_expiry: list[tuple[float, bytes]] = []
        self._forgotten_until = float("-inf")  # what expires by then may have been seen

    def __len__(self) -> int:
        return len(self._seen)

    def admit(self, message_id: bytes, expires: float, now: float) -> ReplayVerdict:
        """Return whether a request may be served; one that may is remembered."""
        self._forget_expired(now)
        if len(message_id) != ID_BYTES:
            return ReplayVerdict.MALFORMED
        latest = expires + LEEWAY_S
        if not now <= latest or latest <= self._forgotten_until:  # not a number is late, too
            return ReplayVerdict.EXPIRED
        if expires > now + VALID_LIMIT_S + LEEWAY_S:
            return ReplayVerdict.TOO_LONG
        if message_id in self._seen:
            return ReplayVerdict.REPLAYED
        if len(self._seen) >= self._limit:
            return ReplayVerdict.TOO_MANY
        self._seen.add(message_id)
        heapq.heappush(self._by_expiry, (latest, message_id))
        return ReplayVerdict.ADMITTED

    def _forget_expired(self, now: float) -> None:
        while self._by_expiry and now > self._by_expiry[0][0]:
            expired_at, message_id = heapq.heappop(self._by_expiry)
            self._forgotten_until = max(self._forgotten_until, expired_at)
            self._seen.discard(message_id)
