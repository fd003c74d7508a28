"""Limits how often one address, and all together, may begin something. Pure.

Each source has a bucket of tokens that fills at a steady rate. The buckets of the sources that were
seen last are kept; a source that comes back after it was forgotten starts with a full bucket, and
the bucket of all sources bounds what that is worth.
"""

from collections import OrderedDict

from gateway.limits.token_bucket import Rate, TokenBucket
from web.addresses import address_key

SOURCES_LIMIT = 1024


class SourceLimiter:
    """The buckets of the sources, and one of all of them."""

    def __init__(self, each: Rate, total: Rate) -> None:
        self._each = each
        self._all = TokenBucket(total)
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def admit(self, source: str, now: float) -> bool:
        """Return whether a source may begin once more."""
        bucket = self._buckets.setdefault(source, TokenBucket(self._each))
        self._buckets.move_to_end(source)
        if len(self._buckets) > SOURCES_LIMIT:
            self._buckets.popitem(last=False)
        return bucket.take(now) and self._all.take(now)


def source_of(address: str) -> str:
    """Return the source that an address stands for: itself, or its IPv6 network."""
    return address_key(address) or address  # this machine's own have no key
