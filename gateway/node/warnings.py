"""Collects what a person should know of this node though it works, and logs it once a day."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

logger = logging.getLogger(__name__)

LOOK_S = 60.0
DAY_S = 86_400.0
SET_AFTER = datetime(2024, 1, 1, tzinfo=UTC).timestamp()  # a clock that is set says more


class NodeWarnings:
    """The warnings of this node.

    Args:
        sources: by kind; each returns a text, "" when all is well.
        clock: the unix time.
    """

    def __init__(
        self, sources: Mapping[str, Callable[[], str]], clock: Callable[[], float]
    ) -> None:
        self._sources, self._clock = sources, clock
        self._logged_at: dict[str, float] = {}

    def texts(self) -> list[str]:
        """Return the warnings of now."""
        return [text for source in self._sources.values() if (text := source())]

    def log_due(self) -> None:
        """Log the warnings that the log has not told for a day."""
        now = self._clock()
        for kind, source in self._sources.items():
            text = source()
            if not text:
                self._logged_at.pop(kind, None)
            elif abs(now - self._logged_at.get(kind, float("-inf"))) >= DAY_S:
                self._logged_at[kind] = now
                logger.warning("%s", text)

    async def run(self) -> None:
        """Log until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            self.log_due()


def describe_clock(clock: Callable[[], float]) -> str:
    """Return a warning when the clock of this machine was never set; "" when it was."""
    now = clock()
    if now >= SET_AFTER:
        return ""
    shown = datetime.fromtimestamp(max(now, 0.0), UTC).date().isoformat()
    return f"the clock of this machine is not set, it says {shown}: set it (NTP)"
