"""Records the history of a cluster: the truth of the test, the logs of nodes, their lists."""

import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import httpx

from tests.hosts.gateways import HostGateway
from tests.hosts.history import Acknowledged, Event, Listed, Stopped, Truth, Verdict, judge


class Recorder:
    """Collects the events of a history; a context that asks all nodes for their lists meanwhile.

    Args:
        gateways: all nodes.
        every_s: between two questions to a node, as a context.
    """

    def __init__(self, gateways: Sequence[HostGateway], every_s: float = 1.0) -> None:
        self._gateways, self._every_s = gateways, every_s
        self.events: list[Event] = []
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._follow, args=(each,)) for each in gateways]

    def note(self, event: Event) -> None:
        """Add an event."""
        self.events.append(event)

    def note_groups(self, *groups: Sequence[HostGateway]) -> None:
        """Note that the network is divided into these groups from now on; none: not known."""
        found = tuple(frozenset(each.node_id[:12] for each in group) for group in groups)
        self.note(Truth(time.monotonic(), found or None))

    def note_stop(self, gateway: HostGateway) -> None:
        """Note that a node does not run from now on."""
        self.note(Stopped(time.monotonic(), gateway.node_id[:12]))

    def acknowledged(self) -> list[Acknowledged]:
        """Return the messages that nodes have acknowledged."""
        return [event for event in self.events if isinstance(event, Acknowledged)]

    def list_all(self) -> None:
        """Ask all nodes for their lists."""
        for each in self._gateways:
            self._ask(each)

    def judge(self, bound_s: float) -> Verdict:
        """Return what the history proves until now."""
        views = [view for each in self._gateways for view in each.views()]
        return judge([*self.events, *views], bound_s, time.monotonic())

    def _ask(self, gateway: HostGateway) -> None:
        try:
            ids = frozenset(node_id[:12] for node_id in gateway.listed())
        except (httpx.HTTPError, OSError):
            return  # it does not run now
        self.note(Listed(time.monotonic(), gateway.node_id[:12], ids))

    def _follow(self, gateway: HostGateway) -> None:
        while not self._ended.wait(self._every_s):
            self._ask(gateway)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()
