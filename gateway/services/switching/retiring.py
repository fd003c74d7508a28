"""Ends processes that another one has replaced, when they have answered their requests.

A process answers the requests that it was given before the switch: a stream of 20 s ends where it
began. It gets no new ones. Its time is limited, and so is the number of such processes, because
each takes the memory of a whole container.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Iterator
from dataclasses import astuple

from gateway.services.runtimes.port import Process
from microservice.control import Counts

logger = logging.getLogger(__name__)

RETIRING_LIMIT = 3  # processes of one container beside the one that runs


class _Requests:
    """The requests that one process answers."""

    def __init__(self) -> None:
        self.open = 0
        self.none = asyncio.Event()
        self.none.set()


class RequestTracker:
    """Counts the requests that each process of a container answers."""

    def __init__(self) -> None:
        self._by_process: dict[int, _Requests] = {}  # by identity, while it has one

    @contextlib.contextmanager
    def track(self, process: Process) -> Iterator[None]:
        """Count one request until its end."""
        requests = self._by_process.setdefault(id(process), _Requests())
        requests.open += 1
        requests.none.clear()
        try:
            yield
        finally:
            requests.open -= 1
            if not requests.open:
                requests.none.set()
                del self._by_process[id(process)]

    def count(self, process: Process) -> int:
        """Return how many requests a process answers."""
        requests = self._by_process.get(id(process))
        return requests.open if requests else 0

    async def wait_for_none(self, process: Process) -> None:
        """Return when a process answers no request."""
        requests = self._by_process.get(id(process))
        if requests is not None:
            await requests.none.wait()


class Retirement:
    """The processes of a container that end, and what they counted."""

    def __init__(self, name: str, requests: RequestTracker) -> None:
        self._name, self._requests = name, requests
        self._retiring: deque[tuple[asyncio.Event, asyncio.Task[None]]] = deque()
        self.counted = Counts()

    def replace(self, process: Process, within_s: float) -> None:
        """End a process that another one has replaced; it publishes nothing from now on."""
        process.retire()
        self.add(process, within_s)

    def add(self, process: Process, within_s: float) -> None:
        """End a process when its requests are answered, at the latest after so long."""
        hurry = asyncio.Event()
        task = asyncio.create_task(
            self._retire(process, hurry, within_s), name=f"retire {self._name}"
        )
        self._retiring.append((hurry, task))
        task.add_done_callback(self._forget)
        for oldest, _ in list(self._retiring)[:-RETIRING_LIMIT]:
            oldest.set()

    async def end_all(self, *, hurry: bool) -> None:
        """Return when they are gone; in a hurry they do not wait for their requests."""
        if hurry:
            for event, _ in self._retiring:
                event.set()
        await asyncio.gather(*(task for _, task in self._retiring))

    def count(self, counts: Counts) -> None:
        """Add what a process counted that is gone."""
        self.counted = add_counts(self.counted, counts)

    async def _retire(self, process: Process, hurry: asyncio.Event, within_s: float) -> None:
        idle = asyncio.create_task(self._requests.wait_for_none(process))
        hurried = asyncio.create_task(hurry.wait())
        try:
            await asyncio.wait(
                {idle, hurried}, timeout=within_s, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            idle.cancel()
            hurried.cancel()
        if count := self._requests.count(process):
            logger.warning("%s: the replaced version ends with %d requests", self._name, count)
        await process.stop()
        self.count(process.counts)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._retiring = deque(each for each in self._retiring if each[1] is not task)


def add_counts(one: Counts, two: Counts) -> Counts:
    """Return the sums of the counters."""
    pairs = zip(astuple(one), astuple(two), strict=True)
    return Counts(*(first + second for first, second in pairs))
