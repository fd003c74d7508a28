"""Gives members of the account a tunnel to this node (the third of the four steps), and ends it.

A BEP does not outlive the process that serves it: what an earlier run left is given back at the
start, what this one has at the stop.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from gateway.backoff import delays
from gateway.cloud_api.values import BepGrant
from gateway.errors import BepError, CloudRefused, UplinkError
from gateway.node.account import Account
from gateway.tunnel import TunnelError, TunnelHost
from protocol.codes import REQUEST_BEP, check_code
from protocol.errors import TokenError

if TYPE_CHECKING:
    from gateway.cloud_api.client import CloudApi

logger = logging.getLogger(__name__)

TTL_S = 3600.0
WORTHWHILE_S = 60.0  # a BEP with less left than this is not given out again
STOP_S = 1.5  # for the cloud to take them back; all of stopping takes less than 5 s
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 30.0
UNSERVED = "unserved"  # mSS counts it, this process does not serve it


@dataclass(frozen=True, slots=True)
class OpenBep:
    """The URL of a BEP and its expiry, for the caller."""

    href: str
    expires_at: float


class BepService:
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
        self._giving_back: set[asyncio.Task[None]] = set()
        self._asked = False  # mSS for one, in this run
        self._stopping = False

    async def run(self) -> None:
        """Give back what earlier runs of this node left, as soon as the cloud can be reached."""
        for wait_s in delays(FIRST_WAIT_S, LONGEST_WAIT_S, random.Random()):  # noqa: S311
            try:
                await self._api.delete_beps(earlier_only=True)
            except UplinkError as exc:
                logger.debug("%s; trying again", exc)
            else:
                break
            await asyncio.sleep(wait_s)
        await asyncio.Event().wait()  # until cancelled

    async def stop(self) -> None:
        """End all BEPs, here and at the cloud, within STOP_S; none opens any more."""
        self._stopping = True
        try:
            async with asyncio.timeout(STOP_S), self._one_at_a_time:
                if self._asked:
                    await self._api.delete_beps(earlier_only=False)
        except (UplinkError, TimeoutError) as exc:
            why = str(exc) or f"no answer within {STOP_S:g} s"
            logger.info("%s; the cloud ends them by itself", why)
        for task in self._giving_back:
            task.cancel()
        await asyncio.gather(*self._giving_back, return_exceptions=True)
        await self._tunnel.stop()

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

    async def list(self) -> tuple[list[dict[str, Any]], str]:
        """Return all BEPs that count for this node, and why those at the cloud are not known."""
        served = {bep.bep_id: asdict(bep) for bep in self._tunnel.beps()}
        rows = [{"id": row.pop("bep_id"), **row} for row in served.values()]
        try:
            counted = await self._api.beps()
        except UplinkError as exc:
            return rows, str(exc)
        return [*rows, *(_unserved(bep) for bep in counted if bep.get("id") not in served)], ""

    async def end(self, bep_id: str) -> bool:
        """End a BEP and cut its visitors; return whether there was one.

        Raises:
            BepError: only the cloud knows it, and cannot be reached.
        """
        served = any(bep.bep_id == bep_id for bep in self._tunnel.beps())
        await self._tunnel.close(bep_id)
        try:
            await self._api.delete_bep(bep_id)
        except CloudRefused as exc:
            logger.debug("%s", exc)
            return served
        except UplinkError as exc:
            if not served:
                raise BepError(str(exc)) from exc
            logger.info("%s; the cloud ends it by itself", exc)
        return True

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
        if self._stopping:
            raise BepError("cannot open BEP: the node stops")
        self._asked = True
        try:
            grant = await self._api.new_bep(TTL_S)
        except UplinkError as exc:
            raise BepError(str(exc)) from exc
        try:
            await self._tunnel.open(grant, label)
        except TunnelError as exc:
            await self._give_back(grant)
            raise BepError(str(exc)) from exc
        except asyncio.CancelledError:  # who asked has left, and nobody knows of this one
            task = asyncio.create_task(self._give_back(grant), name="give BEP back")
            self._giving_back.add(task)
            task.add_done_callback(self._giving_back.discard)
            raise
        self._given[code, label] = grant
        return grant

    async def _give_back(self, grant: BepGrant) -> None:
        await self._tunnel.close(grant.bep_id)
        try:
            await self._api.delete_bep(grant.bep_id)
        except UplinkError as exc:
            logger.debug("%s", exc)


def _unserved(bep: dict[str, Any]) -> dict[str, Any]:
    """Return a BEP that only mSS knows, as one that is served looks."""
    return {
        "id": str(bep.get("id", "")),
        "url": str(bep.get("url", "")),
        "label": "",
        "expires_at": bep.get("expires_at", 0.0),
        "visitors": 0,
        "visitors_total": 0,
        "bytes_total": 0,
        "state": UNSERVED,
    }
