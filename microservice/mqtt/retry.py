"""Decides when a handler that failed is called again."""

from dataclasses import dataclass

GROWTH_LIMIT = 32  # doublings; the largest delay comes far earlier


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Limits the calls of a handler for one message, and spaces them.

    The pause doubles after each call, up to max_delay_s.
    """

    tries: int = 3
    first_delay_s: float = 1.0
    max_delay_s: float = 60.0

    def delay_s(self, calls: int, tries: int | None = None) -> float | None:
        """Return the pause after so many calls that failed; None when there is no further one.

        tries overrides the number of the policy, as a trigger may do.
        """
        if calls >= (self.tries if tries is None else tries):
            return None
        doublings = min(calls - 1, GROWTH_LIMIT)
        return float(min(self.first_delay_s * 2**doublings, self.max_delay_s))
