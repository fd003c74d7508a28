"""Opens and ends BEPs for members of the account (the third of the four steps).

A BEP does not outlive the process that serves it: the start deletes the BEPs of earlier runs at
the cloud, and the stop deletes those of this run.
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
REUSE_S = 60.0  # a BEP that expires sooner is not returned again
STOP_S = 1.5  # for the deletion at the cloud; all of stopping takes less than 5 s
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 30.0
UNSERVED = "unserved"  # mSS counts the BEP, and this process does not serve it


@dataclass(frozen=True, slots=True)
class OpenBep:
    """The URL of a BEP and its expiry, for the caller."""

    href: str
    expires_at: float


class BepService:
    """The BEPs of this node; the same code and label get the same BEP until it expires."""

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
        self._grants: dict[tuple[str, str], BepGrant] = {}
        self._one_at_a_time = asyncio.Lock()
        self._deleting: set[asyncio.Task[None]] = set()
        self._has_requested = False  # a BEP, in this run
        self._stopping = False

    async def run(self) -> None:
        """Delete the BEPs of earlier runs of this node as soon as the cloud can be reached."""
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
        """End all BEPs, here and at the cloud, within STOP_S; no further one opens."""
        self._stopping = True
        try:
            async with asyncio.timeout(STOP_S), self._one_at_a_time:
                if self._has_requested:
                    await self._api.delete_beps(earlier_only=False)
        except (UplinkError, TimeoutError) as exc:
            why = str(exc) or f"no answer within {STOP_S:g} s"
            logger.info("%s; the cloud ends them by itself", why)
        for task in self._deleting:
            task.cancel()
        await asyncio.gather(*self._deleting, return_exceptions=True)
        await self._tunnel.stop()

    async def request(self, code: str, label: str) -> OpenBep:
        """Return a BEP for the bearer of a valid code.

        Raises:
            TokenError: the code does not allow it.
            BepError: mSS or the relay refuses one now.
        """
        if not self._account.key:
            raise TokenError("cannot open BEP: this node is in no account, or has no account key")
        check_code(code, self._account.key, self._node_id, REQUEST_BEP, self._clock())
        async with self._one_at_a_time:
            grant = self._find_open(code, label) or await self._open(code, label)
        return OpenBep(grant.url, grant.expires_at)

    async def list(self) -> tuple[list[dict[str, Any]], str]:
        """Return all BEPs of this node, and the reason why those of the cloud are missing, or ""."""
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
            BepError: only the cloud has it, and the cloud cannot be reached.
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

    def _find_open(self, code: str, label: str) -> BepGrant | None:
        served = {bep.bep_id for bep in self._tunnel.beps()}
        latest = self._clock() + REUSE_S
        self._grants = {
            key: grant
            for key, grant in self._grants.items()
            if grant.bep_id in served and grant.expires_at > latest
        }
        return self._grants.get((code, label))

    async def _open(self, code: str, label: str) -> BepGrant:
        if self._stopping:
            raise BepError("cannot open BEP: the node stops")
        self._has_requested = True
        try:
            grant = await self._api.new_bep(TTL_S)
        except UplinkError as exc:
            raise BepError(str(exc)) from exc
        try:
            await self._tunnel.open(grant, label)
        except TunnelError as exc:
            await self._delete(grant)
            raise BepError(str(exc)) from exc
        except (
            asyncio.CancelledError
        ):  # the caller has closed its connection, so no one knows the BEP
            task = asyncio.create_task(self._delete(grant), name="delete BEP")
            self._deleting.add(task)
            task.add_done_callback(self._deleting.discard)
            raise
        self._grants[code, label] = grant
        return grant

    async def _delete(self, grant: BepGrant) -> None:
        await self._tunnel.close(grant.bep_id)
        try:
            await self._api.delete_bep(grant.bep_id)
        except UplinkError as exc:
            logger.debug("%s", exc)


def _unserved(bep: dict[str, Any]) -> dict[str, Any]:
    """Return a BEP that only mSS has, in the form of a served one."""
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
