"""Lets this node join an account by a code that it shows (RFC 8628), and leave it.

Only one code is open at a time. While one is, this asks the cloud again and again whether the
owner of an account has typed it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from gateway.errors import AccountError, UplinkError, UplinkLost
from gateway.node.account import Account
from settings.secret import Secret

logger = logging.getLogger(__name__)

SLOWER_S = 5.0  # RFC 8628, 3.5
ASK_AGAIN_S = 5.0  # when the cloud could not be reached


@dataclass(frozen=True, slots=True)
class Codes:
    """Two codes of the cloud: one to show, one to ask with."""

    user_code: str
    verification_uri: str
    verification_uri_complete: str
    lasts_s: float
    interval_s: float
    device_code: Secret


class Cloud(Protocol):
    """Asks the cloud for codes and tokens."""

    async def authorize_device(self, edge_id_token: Secret) -> Codes:
        """Return new codes; UplinkError when there are none."""

    async def token_for_code(self, device_code: Secret) -> "Secret | Wait":
        """Return the account's token, or that nobody has decided yet; Refused when they said no."""

    async def leave_account(self) -> None:
        """Take this node out of its account; UplinkError when that cannot be."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Nobody has decided yet; slower when this node asks too often."""

    slower: bool


class Membership:
    """Owns the open code; the account itself is kept by Account."""

    def __init__(
        self,
        account: Account,
        cloud: Cloud,
        associate: Callable[[Secret], Awaitable[str]],
        edge_id_token: Callable[[], Secret],
        clock: Callable[[], float],
    ) -> None:
        self._account, self._cloud, self._associate = account, cloud, associate
        self._edge_id_token, self._clock = edge_id_token, clock
        self._codes: Codes | None = None
        self._expires_at = 0.0  # when the codes end
        self._asking: asyncio.Task[None] | None = None
        self._why = ""  # the last code brought no account
        self._one_at_a_time = asyncio.Lock()

    def status(self) -> dict[str, Any]:
        """Return the account, the code that is shown, and why the last one failed."""
        codes = self._codes
        shown = codes and {
            "user_code": codes.user_code,
            "verification_uri": codes.verification_uri,
            "verification_uri_complete": codes.verification_uri_complete,
            "expires_at": self._expires_at,
        }
        return {"accountId": self._account.account_id, "join": shown, "error": self._why}

    async def join(self) -> None:
        """Show a code, the same one while it is good.

        Raises:
            AccountError: this node is in an account, or the cloud gives no code.
        """
        async with self._one_at_a_time:
            if self._account.account_id:
                raise AccountError(
                    f"cannot join account: this node is a member of {self._account.account_id}; "
                    "leave it first with `hecate account leave`"
                )
            if self._codes is not None and self._clock() < self._expires_at:
                return
            await self._stop_asking()
            try:
                codes = await self._cloud.authorize_device(self._edge_id_token())
            except UplinkError as exc:
                raise AccountError(str(exc)) from exc
            self._codes, self._why = codes, ""
            self._expires_at = self._clock() + codes.lasts_s
            self._asking = asyncio.create_task(self._ask(codes), name="join account")

    async def cancel(self) -> None:
        """Show the code no more; harmless when there is none."""
        async with self._one_at_a_time:
            await self._stop_asking()

    async def leave(self) -> str:
        """Leave the account; return its id.

        Raises:
            AccountError: this node is in none, or the cloud cannot be told.
        """
        async with self._one_at_a_time:
            account_id = self._account.account_id
            if not account_id:
                raise AccountError("cannot leave account: this node is in none")
            try:
                await self._cloud.leave_account()
            except UplinkError as exc:
                raise AccountError(str(exc)) from exc
            await self._account.become("")
            return account_id

    async def _ask(self, codes: Codes) -> None:
        try:
            token = await self._until_decided(codes)
            await self._associate(token)
        except UplinkError as exc:
            self._why = str(exc)
            logger.warning("%s", exc)
        finally:
            self._codes = None

    async def _until_decided(self, codes: Codes) -> Secret:
        pause_s = codes.interval_s
        while True:
            await asyncio.sleep(pause_s)
            try:
                answer = await self._cloud.token_for_code(codes.device_code)
            except UplinkLost as exc:
                if self._clock() >= self._expires_at:
                    raise
                logger.debug("%s; asking again", exc)
                await asyncio.sleep(ASK_AGAIN_S)
                continue
            if isinstance(answer, Secret):
                return answer
            pause_s += SLOWER_S * answer.slower

    async def _stop_asking(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
        self._asking = self._codes = None
