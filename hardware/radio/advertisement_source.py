"""Passes advertisements to all that listen."""

import logging
from collections.abc import Callable

from hardware.radio.advertisement import Advertisement

logger = logging.getLogger(__name__)

Listener = Callable[[Advertisement], None]


class AdvertisementSource:
    """The advertisements that the scanner hears, for several listeners."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []
        self.failed = 0  # calls of listeners that raised

    def add_listener(self, listener: Listener) -> Callable[[], None]:
        """Call a function for each advertisement; return what ends that."""
        self._listeners.append(listener)

        def remove() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return remove

    def deliver(self, advertisement: Advertisement) -> None:
        """Call the listeners; the failure of one does not affect the others."""
        for listener in tuple(self._listeners):
            try:
                listener(advertisement)
            except Exception:
                self.failed += 1
                if self.failed == 1:  # anybody's advertisement may cause it
                    logger.exception("a listener failed on an advertisement")
