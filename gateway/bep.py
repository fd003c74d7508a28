"""Gives members of the account a tunnel to this node (the third of the four steps)."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.account import Account
from gateway.errors import BepError, UplinkError
from gateway.tunnel import BepGrant, TunnelError, TunnelHost
from protocol.codes import REQUEST_BEP, check_code
from protocol.errors import TokenError

if TYPE_CHECKING:
    from gateway.uplink.cloud_api import CloudApi

logger = logging.getLogger(__name__)

TTL_S = 3600.0
WORTHWHILE_S = 60.0  # a BEP with less left than this is not given out again


@dataclass(frozen=True, slots=True)
class OpenBep:
    """What the caller needs: where to call, and until when."""

    href: str
    expires_at: float


class Beps:
    """Opens BEPs; the same code and label get the same one while it lasts."""

    def __init__(
        self,
        node_id: str,
        account: Account,
        api: "CloudApi",
        tunnel: TunnelHost,
        clock: Callable[[], float],
    ) -> None:
        self._node_id, self._account, self._api = node_id, account, api
        self._tunnel, self._clock = tunnel, clock
        self._given: dict[tuple[str, str], BepGrant] = {}
        self._one_at_a_time = asyncio.Lock()

    async def request(self, code: str, label: str) -> OpenBep:
        """Return a BEP for whoever shows a good code.

        Raises:
            TokenError: the code does not allow it.
            BepError: mSS or the relay gives none now.
        """
        if not self._account.key:
            raise TokenError("cannot open BEP: this node is in no account, or has no account key")
        check_code(code, self._account.key, self._node_id, REQUEST_BEP, self._clock())
        async with self._one_at_a_time:
            grant = self._given_before(code, label) or await self._open(code, label)
        return OpenBep(grant.url, grant.expires_at)

    def _given_before(self, code: str, label: str) -> BepGrant | None:
        served = {bep.bep_id for bep in self._tunnel.beps()}
        latest = self._clock() + WORTHWHILE_S
        self._given = {
            key: grant
            for key, grant in self._given.items()
            if grant.bep_id in served and grant.expires_at > latest
        }
        return self._given.get((code, label))

    async def _open(self, code: str, label: str) -> BepGrant:
        try:
            grant = await self._api.new_bep(TTL_S)
        except UplinkError as exc:
            raise BepError(str(exc)) from exc
        try:
            await self._tunnel.open(grant, label)
        except TunnelError as exc:
            await self._give_back(grant)
            raise BepError(str(exc)) from exc
        self._given[code, label] = grant
        return grant

    async def _give_back(self, grant: BepGrant) -> None:
        try:
            await self._api.delete_bep(grant.bep_id)
        except UplinkError as exc:
            logger.debug("%s", exc)
