"""Runs one BEP: keeps its control connection, opens data connections, splices visitors."""

import asyncio
import contextlib
import logging
import random
import socket
from dataclasses import dataclass
from pathlib import Path

from gateway.backoff import delays
from gateway.cloud_api.values import BepGrant
from gateway.tunnel.dial import Dial, dial_local, introduce, wait_for_visitor
from gateway.tunnel.errors import RefusedError, TunnelError
from gateway.tunnel.limits import TunnelLimits
from gateway.tunnel.state import TunnelPhase, TunnelState
from gateway.tunnel.values import BepStatus
from protocol.preface import PrefaceRole
from protocol.splice import SplicedPair, Splicer, cut

READ_BYTES = 1024

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TunnelContext:
    """The parts that all BEPs of a gateway share."""

    target: Path
    limits: TunnelLimits
    splicer: Splicer
    dial: Dial
    dial_secure: Dial


class Tunnel:
    """The serving end of one BEP."""

    def __init__(self, context: TunnelContext, grant: BepGrant, label: str, lasts_s: float) -> None:
        self._context, self._grant, self._label = context, grant, label
        self._loop = asyncio.get_running_loop()
        self._state = TunnelState(context.limits, self._loop.time(), lasts_s)
        self._tasks: set[asyncio.Task[None]] = set()
        self._pairs: set[SplicedPair] = set()

    def status(self) -> BepStatus:
        """Return the status of the BEP."""
        state = self._state
        return BepStatus(
            bep_id=self._grant.bep_id,
            url=self._grant.url,
            label=self._label,
            expires_at=self._grant.expires_at,
            visitors=state.streams,
            visitors_total=state.visitors_total,
            bytes_total=state.bytes_total + sum(pair.moved for pair in self._pairs),
            state=state.state,
        )

    async def connect(self) -> socket.socket:
        """Return an accepted control connection; TunnelError when that fails."""
        try:
            control = await self._reach(PrefaceRole.CONTROL)
        except OSError as exc:  # TimeoutError is one
            where = f"{self._grant.host}:{self._grant.port}"
            why = exc.strerror or str(exc) or "no answer in time"
            raise TunnelError(f"cannot reach relay {where}: {why}") from exc
        self._state.accepted(self._loop.time())
        return control

    async def run(self, control: socket.socket) -> None:
        """Serve until the BEP ends; when cancelled, end it."""
        connection: socket.socket | None = control
        try:
            while connection is not None:
                await self._serve(connection)
                connection = await self._reconnect()
            logger.info("BEP for %s ended: %s", self._label, self._state.why)
        finally:
            await self._end()

    async def _serve(self, control: socket.socket) -> None:
        state = self._state
        with contextlib.closing(control):
            while state.state is TunnelPhase.OPEN:
                self._open_wanted()
                try:
                    async with asyncio.timeout_at(state.deadline):
                        received = await self._loop.sock_recv(control, READ_BYTES)
                    state.receive(received, self._loop.time())
                    if output := state.take_output():
                        control.send(output)  # a few bytes: a full buffer means a dead connection
                except TimeoutError:
                    state.tick(self._loop.time())
                except OSError as exc:
                    state.lost(str(exc))

    async def _reconnect(self) -> socket.socket | None:
        state, limits = self._state, self._context.limits
        if state.done:
            return None
        logger.warning("BEP for %s is broken: %s", self._label, state.why)
        started = self._loop.time()
        jitter = random.Random()  # noqa: S311 - not a secret
        for pause_s in delays(limits.retry_first_s, limits.retry_cap_s, jitter):
            await asyncio.sleep(min(pause_s, state.deadline - self._loop.time()))
            state.tick(self._loop.time())
            control = None if state.done else await self._try_again()
            if control is not None:
                broken_s = self._loop.time() - started
                logger.info("BEP for %s is open again after %.1f s", self._label, broken_s)
                return control
            if state.done:
                break
        return None

    async def _try_again(self) -> socket.socket | None:
        try:
            return await self.connect()
        except RefusedError as exc:
            self._state.refused(exc.status)
        except TunnelError as exc:
            logger.debug("%s", exc)
        return None

    def _open_wanted(self) -> None:
        for _ in range(self._state.take_wanted()):
            task = self._loop.create_task(self._serve_visitor(self._state.generation))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve_visitor(self, generation: int) -> None:
        data = await self._next_visitor()
        if data is None:
            await asyncio.sleep(self._context.limits.reopen_s)
            self._state.gone(generation)
            self._open_wanted()
            return
        self._state.taken(generation)
        self._open_wanted()
        with contextlib.ExitStack() as undo:
            undo.callback(self._state.visitor_closed, 0)
            undo.callback(cut, data)
            try:
                async with asyncio.timeout(self._context.limits.local_s):
                    local = await dial_local(self._context.target)
            except OSError as exc:
                logger.warning("cannot reach the local server: %s", exc)
                return
            undo.pop_all()
            self._pairs.add(self._context.splicer.join(data, local, self._visitor_closed))

    async def _next_visitor(self) -> socket.socket | None:
        with contextlib.ExitStack() as undo:
            try:
                data = await self._reach(PrefaceRole.DATA)
                undo.callback(data.close)
                if await wait_for_visitor(data):
                    undo.pop_all()
                    return data
            except (RefusedError, OSError) as exc:
                logger.debug("BEP for %s: data connection failed: %s", self._label, exc)
        return None

    def _visitor_closed(self, pair: SplicedPair) -> None:
        self._pairs.discard(pair)
        self._state.visitor_closed(pair.moved)
        self._open_wanted()

    async def _reach(self, role: PrefaceRole) -> socket.socket:
        with contextlib.ExitStack() as undo:
            async with asyncio.timeout(self._context.limits.dial_s):
                dial = self._context.dial_secure if self._grant.tls else self._context.dial
                sock = await dial(self._grant.host, self._grant.port)
                undo.callback(sock.close)
                await introduce(sock, role, self._grant.token)
            undo.pop_all()
            return sock

    async def _end(self) -> None:
        self._state.end()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for pair in list(self._pairs):
            pair.cut()
