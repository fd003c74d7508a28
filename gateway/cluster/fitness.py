"""Probes the broker and the disk of this node, so that one that hangs does not stay supernode.

A node that answers heartbeats may still be of no use: its disk does not finish a write, or its
broker delivers nothing. The loop itself needs no probe: without it there are no heartbeats. Each
probe has a limit. A write that hangs keeps its one thread, and no other is started meanwhile.
"""

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from broker import Broker, Message
from gateway.cluster.election.heartbeat import Role

logger = logging.getLogger(__name__)

LEADING_S = 1.0  # between two probes of a supernode with members; each is one write of 8 bytes
FOLLOWING_S = 10.0  # of a member, which may become the supernode
LIMIT_S = 0.6  # with LEADING_S and the election's wait of 1 s: replaced in less than 3 s
TOPIC = "$hec/probe"

Probe = Callable[[], Awaitable[bool]]


class DiskProbe:
    """Writes to a small file and waits until the write is on the disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._running: asyncio.Future[bool] | None = None
        self._count = 0

    async def __call__(self) -> bool:
        """Return whether a write succeeds; wait for one that hangs instead of another."""
        if self._running is None:
            self._start()
        assert self._running is not None  # until its thread ends
        return await asyncio.shield(self._running)

    def _start(self) -> None:
        loop = asyncio.get_running_loop()
        running = self._running = loop.create_future()
        self._count += 1
        content = self._count.to_bytes(8, "big")

        def end(is_written: bool) -> None:
            self._running = None
            running.set_result(is_written)

        def work() -> None:
            is_written = self._write(content)
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(end, is_written)

        # no executor: the interpreter would wait for its threads when it ends
        threading.Thread(target=work, name="disk probe", daemon=True).start()

    def _write(self, content: bytes) -> bool:
        """Write over the same bytes: only they reach the disk, no change of the file's size."""
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                os.pwrite(descriptor, content, 0)
                os.fdatasync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as exc:
            logger.debug("cannot write %s: %s", self._path, exc)
            return False
        return True


class BrokerProbe:
    """Publishes a message to itself."""

    def __init__(self, broker: Broker) -> None:
        self._local = broker.local_client("probe")
        self._came = asyncio.Event()
        self._count = 0

    async def __call__(self) -> bool:
        """Return True when the message has come."""
        self._count += 1
        self._came.clear()
        self._local.subscribe(TOPIC, self._take)
        try:
            self._local.publish(TOPIC, b"%d" % self._count)
            await self._came.wait()
        finally:
            self._local.unsubscribe(TOPIC)
        return True

    def _take(self, message: Message) -> None:
        if message.payload == b"%d" % self._count:
            self._came.set()


@dataclass(frozen=True, slots=True)
class FitnessPorts:
    """The functions of the cluster that the probes call."""

    interval_s: Callable[[], float | None]  # None: nobody depends on this node
    note: Callable[[bool], None]


def follow_role(
    role: Callable[[], Role], leads_others: Callable[[], bool], note: Callable[[bool], None]
) -> FitnessPorts:
    """Return ports by which a node is probed as often as its role demands."""

    def interval_s() -> float | None:
        if role() is Role.MEMBER:
            return FOLLOWING_S
        return LEADING_S if leads_others() else None

    return FitnessPorts(interval_s, note)


class FitnessWatch:
    """Probes again and again, and reports."""

    def __init__(
        self, probes: Mapping[str, Probe], ports: FitnessPorts, limit_s: float = LIMIT_S
    ) -> None:
        self._probes, self._ports, self._limit_s = probes, ports, limit_s
        self.faults: tuple[str, ...] = ()  # the parts that do not work

    async def run(self) -> None:
        """Probe until cancelled."""
        while True:
            interval_s = self._ports.interval_s()
            if interval_s is not None:
                await self._probe_all()
            await asyncio.sleep(LEADING_S if interval_s is None else interval_s)

    async def _probe_all(self) -> None:
        results = await asyncio.gather(*(self._passes(each) for each in self._probes.values()))
        faults = tuple(n for n, passes in zip(self._probes, results, strict=True) if not passes)
        if faults != self.faults:
            if faults:
                logger.warning(
                    "this node is not fit to lead: no answer of %s", " and ".join(faults)
                )
            else:
                logger.info("this node is fit to lead again")
            self.faults = faults
        self._ports.note(not faults)

    async def _passes(self, probe: Probe) -> bool:
        try:
            async with asyncio.timeout(self._limit_s):
                return await probe()
        except TimeoutError:
            return False
