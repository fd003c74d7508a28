"""Listens, checks relay tokens and passes connections to the state of the BEPs. Read this first."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from cloud.relay.acceptor import AcceptedPeer, RelayAcceptor
from cloud.relay.actions import Action, AnswerPreface, Reject
from cloud.relay.beps import RelayedBep, RelayedBeps, RelayGrant
from cloud.relay.executor import RelayExecutor
from cloud.relay.limits import RelayLimits
from cloud.relay.rejections import is_http
from protocol.errors import TokenError
from protocol.ids import BEP_ID, NODE_ID
from protocol.preface import Preface, PrefaceRole, PrefaceStatus, Visit
from protocol.splice import CoupledSocket, cut
from protocol.tokens import verify_token

if TYPE_CHECKING:
    import ssl

    from joserfc.jwk import KeySet

AUDIENCE = "relay"
TICK_S = 0.25  # all limits are seconds

logger = logging.getLogger(__name__)


class Relay:
    """Joins visitors with the nodes that serve them; reads only their first bytes."""

    def __init__(
        self,
        keys: Callable[[], "KeySet"],
        limits: RelayLimits | None = None,
        clock: Callable[[], float] = time.time,
        tls: "ssl.SSLContext | None" = None,
    ) -> None:
        self._keys, self._clock, self._tls = keys, clock, tls
        self._limits = limits or RelayLimits()
        self._beps: RelayedBeps[AcceptedPeer] = RelayedBeps(self._limits)
        self._executor: RelayExecutor | None = None
        self._acceptor: RelayAcceptor | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listen; return the real address. Raises RelayError."""
        acceptor = RelayAcceptor(self._limits, self._on_identified, self._on_unknown, self._tls)
        address = acceptor.listen(host, port)
        self._acceptor = acceptor
        self._executor = RelayExecutor(self._beps, self._limits, time.monotonic)
        self._tick()
        logger.info("relay listens on %s:%d", *address)
        return address

    async def stop(self) -> None:
        """Notify the nodes, then close everything."""
        if self._acceptor is None or self._executor is None:
            return
        await self._acceptor.close()
        if self._timer is not None:
            self._timer.cancel()
        self._do(self._beps.stop())
        await self._executor.close()
        self._acceptor = self._executor = self._timer = None
        logger.info("relay stopped")

    def revoke(self, bep_id: str) -> None:
        """End a BEP, cut its streams now, and refuse its token from now on. Also before start()."""
        self._do(self._beps.revoke(bep_id, time.monotonic()))

    def beps(self) -> list[RelayedBep]:
        """Return the BEPs that exist now."""
        epoch = self._clock() - time.monotonic()
        return self._beps.snapshot(self._executor.moved, epoch) if self._executor else []

    def _on_identified(self, peer: AcceptedPeer, first: Preface | Visit) -> None:
        now = time.monotonic()
        if isinstance(first, Visit):
            self._do(self._beps.visit(peer, first.bep_id, now))
            return
        peer.take()  # the preface
        try:
            grant = self._read_token(first.token)
        except TokenError as exc:
            logger.info("%s", exc)
            self._do([AnswerPreface(peer, PrefaceStatus.BAD_TOKEN)])
            return
        # Never the BEP id in a log: knowing it is the right to visit.
        peer.identify(first.role, f"node {grant.node_id[:12]}")
        if first.role is PrefaceRole.CONTROL:
            self._do(self._beps.open(peer, grant, now))
        else:
            self._do(self._beps.offer(peer, grant))

    def _on_unknown(self, peer: AcceptedPeer) -> None:
        if is_http(peer.received):
            why = "the path does not start with a BEP id"
            if self._tls is not None and not isinstance(peer.sock, CoupledSocket):
                why = "this relay requires https://"
            self._do([Reject(peer, 404, why)])
        else:
            cut(peer.sock)

    def _read_token(self, token: str) -> RelayGrant:
        now = self._clock()
        claims = verify_token(token, self._keys(), AUDIENCE, now)
        bep_id, node_id = claims.get("bep"), claims.get("sub")
        if not isinstance(bep_id, str) or not BEP_ID.fullmatch(bep_id):
            raise TokenError("cannot accept token: it names no BEP")
        if not isinstance(node_id, str) or not NODE_ID.fullmatch(node_id):
            raise TokenError("cannot accept token: it names no node")
        lasts_s = claims["exp"] - now  # no leeway: a BEP that is over would end at once
        if lasts_s <= 0:
            raise TokenError("cannot accept token: expired")
        return RelayGrant(bep_id, node_id, lasts_s)

    def _do(self, actions: Iterable[Action[AcceptedPeer]]) -> None:
        if self._executor is not None:
            self._executor.do(actions)

    def _tick(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(TICK_S, self._tick)
        self._do(self._beps.tick(time.monotonic()))
