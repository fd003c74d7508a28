"""Serves all BEPs of a gateway. Read this first."""

import asyncio
import logging
import socket
import ssl
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

from gateway.cloud_api.values import BepGrant
from gateway.tunnel.dial import Dial, dial_tcp, dial_tls
from gateway.tunnel.errors import TunnelError
from gateway.tunnel.limits import TunnelLimits
from gateway.tunnel.tunnel import Tunnel, TunnelContext
from gateway.tunnel.values import BepStatus
from protocol.splice import SpliceLimits, Splicer

logger = logging.getLogger(__name__)


class TunnelHost:
    """The BEPs of a gateway; their visitors reach one HTTP server on a Unix socket.

    The server gets the requests unchanged: paths start with the BEP id.
    """

    def __init__(
        self,
        target: Path,
        limits: TunnelLimits | None = None,
        clock: Callable[[], float] = time.time,
        dial: Dial = dial_tcp,
        trust: Callable[[], ssl.SSLContext] = ssl.create_default_context,
    ) -> None:
        """Take the server's socket and the way to relays; only relays with TLS call `trust`."""
        self._target, self._clock, self._dial = target, clock, dial
        self._trust = cache(trust)  # authorities take 2 MB, which plain relays do not need
        self._limits = limits or TunnelLimits()
        self._tunnels: dict[str, Tunnel] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._context: TunnelContext | None = None

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
        await asyncio.sleep(0)  # a task cancelled before its first step would not close the socket
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
        if self._context is not None:
            self._context.splicer.close()
            self._context = None

    def beps(self) -> list[BepStatus]:
        """Return the BEPs that are open or reconnect."""
        return [tunnel.status() for tunnel in self._tunnels.values()]

    def _shared(self) -> TunnelContext:
        if self._context is None:
            limits = SpliceLimits(pipes=self._limits.pipes, idle_s=self._limits.stream_idle_s)
            self._context = TunnelContext(
                self._target, self._limits, Splicer(limits), self._dial, self._dial_tls
            )
        return self._context

    async def _dial_tls(self, host: str, port: int) -> socket.socket:
        return await dial_tls(self._dial, host, port, self._trust())

    def _ended(self, bep_id: str, task: asyncio.Task[None]) -> None:
        del self._tunnels[bep_id]
        del self._running[bep_id]
        if not task.cancelled() and task.exception() is not None:
            logger.error("BEP failed", exc_info=task.exception())
