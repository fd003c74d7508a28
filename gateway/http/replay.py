"""Refuses requests that are late, valid for too long, or repeated. Pure.

What holds after every call, even if the clock is set between calls:

1. The guard admits no request twice. It remembers an id until the request expires. A request that
   expires no later than a forgotten id counts as expired, even if the clock went back.
2. The guard remembers at most `limit` ids and refuses further requests: an id that is forgotten
   early would admit its replay.
"""

import heapq
from enum import StrEnum

LEEWAY_S = 30.0  # clocks of gateways without a battery-backed clock drift
VALID_LIMIT_S = 120.0  # mSS waits 20 s; a much longer validity serves a later replay
REMEMBERED_LIMIT = 20_000  # 100 requests/s during the longest validity; 2 MB
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
        self._forgotten_until = float("-inf")  # a request that expires by then may be a replay

    def __len__(self) -> int:
        return len(self._seen)

    def admit(self, message_id: bytes, expires: float, now: float) -> ReplayVerdict:
        """Return the verdict on a request; the id of an admitted one is remembered."""
        self._forget_expired(now)
        if len(message_id) != ID_BYTES:
            return ReplayVerdict.MALFORMED
        latest = expires + LEEWAY_S
        if not now <= latest or latest <= self._forgotten_until:  # NaN counts as expired, too
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

    def remember(self, message_id: bytes, expires: float) -> None:
        """Remember a request that an earlier run has admitted."""
        if message_id not in self._seen:
            self._seen.add(message_id)
            heapq.heappush(self._by_expiry, (expires + LEEWAY_S, message_id))

    def forget_until(self, expires: float) -> None:
        """Refuse requests that expire by then: an earlier run has forgotten their ids."""
        self._forgotten_until = max(self._forgotten_until, expires + LEEWAY_S)

    @staticmethod
    def forgets_before(now: float) -> float:
        """Return the expiry before which ids are forgotten."""
        return now - LEEWAY_S

    def _forget_expired(self, now: float) -> None:
        while self._by_expiry and now > self._by_expiry[0][0]:
            expired_at, message_id = heapq.heappop(self._by_expiry)
            self._forgotten_until = max(self._forgotten_until, expired_at)
            self._seen.discard(message_id)
