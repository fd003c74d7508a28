"""All BEPs that a gateway serves. Read this first."""

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path

from gateway.tunnel.dial import Dial, dial_tcp
from gateway.tunnel.errors import TunnelError
from gateway.tunnel.limits import TunnelLimits
from gateway.tunnel.tunnel import Site, Tunnel
from gateway.tunnel.values import BepGrant, BepStatus
from protocol.join import Joiner, JoinLimits

logger = logging.getLogger(__name__)


class TunnelHost:
    """Lets the visitors of BEPs reach one HTTP server, which listens on a Unix socket.

    The server reads what visitors sent: paths start with the BEP id.
    """

    def __init__(
        self,
        target: Path,
        limits: TunnelLimits | None = None,
        clock: Callable[[], float] = time.time,
        dial: Dial = dial_tcp,
    ) -> None:
        self._target, self._clock, self._dial = target, clock, dial
        self._limits = limits or TunnelLimits()
        self._tunnels: dict[str, Tunnel] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._site: Site | None = None

    async def open(self, grant: BepGrant, label: str) -> None:
        """Serve a BEP; return when the relay has accepted. Raises TunnelError.

        It stays open, reconnecting, until it expires, the relay ends it, or close().
        """
        bep_id = grant.bep_id
        if bep_id in self._tunnels:
            raise TunnelError("cannot open BEP: it is open")
        if len(self._tunnels) >= self._limits.beps:
            raise TunnelError(
                f"cannot open BEP: {self._limits.beps} are open; end one with `hecate beps end ID`"
            )
        lasts_s = grant.expires_at - self._clock()
        tunnel = Tunnel(self._shared(), grant, label, lasts_s)
        self._tunnels[bep_id] = tunnel
        try:
            control = await tunnel.connect()
        except BaseException:
            del self._tunnels[bep_id]
            raise
        task = asyncio.create_task(tunnel.run(control), name=f"BEP for {label}")
        self._running[bep_id] = task
        task.add_done_callback(lambda done: self._ended(bep_id, done))
        await asyncio.sleep(0)  # it must have begun, or cancelling it would not close control
        logger.info("BEP for %s is open", label)

    async def close(self, bep_id: str) -> None:
        """Stop serving a BEP and cut its visitors; harmless when it is not open."""
        task = self._running.get(bep_id)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def stop(self) -> None:
        """Stop serving."""
        for bep_id in list(self._running):
            await self.close(bep_id)
        if self._site is not None:
            self._site.joiner.close()
            self._site = None

    def beps(self) -> list[BepStatus]:
        """Return the BEPs that are open, or on their way to be again."""
        return [tunnel.status() for tunnel in self._tunnels.values()]

    def _shared(self) -> Site:
        if self._site is None:
            limits = JoinLimits(pipes=self._limits.pipes, idle_s=self._limits.stream_idle_s)
            self._site = Site(self._target, self._limits, Joiner(limits), self._dial)
        return self._site

    def _ended(self, bep_id: str, task: asyncio.Task[None]) -> None:
        del self._tunnels[bep_id]
        del self._running[bep_id]
        if not task.cancelled() and task.exception() is not None:
            logger.error("BEP failed", exc_info=task.exception())
