"""Tells the cloud when this node has moved, at most once a minute. Does I/O."""

import asyncio
import time
from collections.abc import Callable

from gateway.node.position import NodePosition
from protocol.geo.position import Position


class PositionReports:
    """Passes positions of this node on.

    Args:
        position: of this node.
        report: registers this node at the cloud again.
        monotonic: counts seconds.
    """

    def __init__(
        self,
        position: NodePosition,
        report: Callable[[], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._position, self._report, self._monotonic = position, report, monotonic
        self._timer: asyncio.TimerHandle | None = None

    def move(self, position: Position) -> None:
        """Note a position; the cloud learns it soon, if it is another one."""
        now = self._monotonic()
        report_at = self._position.move(position, now)
        if report_at is not None and self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(report_at - now, self._tell)

    def _tell(self) -> None:
        self._timer = None
        self._position.note_reported(self._monotonic())
        self._report()
