"""Limits how often one address, and all together, may begin something. Pure.

Each source has a bucket of tokens that fills at a steady rate. The buckets of the sources that were
seen last are kept; a source that comes back after it was forgotten starts with a full bucket, and
the bucket of all sources bounds what that is worth.
"""

from collections import OrderedDict
from dataclasses import dataclass

from web.addresses import address_key

SOURCES_LIMIT = 1024


@dataclass(frozen=True, slots=True)
class Rate:
    """A number of tokens at once, and the seconds until the next one."""

    burst: int
    interval_s: float


@dataclass(slots=True)
class TokenBucket:
    """The tokens of one source."""

    tokens: float
    filled_at: float

    def take(self, rate: Rate, now: float) -> bool:
        """Take a token if there is one."""
        gained = max(now - self.filled_at, 0.0) / rate.interval_s
        self.tokens = min(self.tokens + gained, rate.burst)
        self.filled_at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class SourceLimiter:
    """The buckets of the sources, and one of all of them."""

    def __init__(self, each: Rate, total: Rate) -> None:
        self._each, self._total = each, total
        self._all = TokenBucket(total.burst, 0.0)
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def admit(self, source: str, now: float) -> bool:
        """Return whether a source may begin once more."""
        bucket = self._buckets.setdefault(source, TokenBucket(self._each.burst, now))
        self._buckets.move_to_end(source)
        if len(self._buckets) > SOURCES_LIMIT:
            self._buckets.popitem(last=False)
        return bucket.take(self._each, now) and self._all.take(self._total, now)


def source_of(address: str) -> str:
    """Return the source that an address stands for: itself, or its IPv6 network."""
    return address_key(address) or address  # this machine's own have no key
