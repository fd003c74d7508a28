"""Lets this node join an account by a device code (RFC 8628), and leave it.

At most one code is open. While it is, a task polls the cloud until the owner of an account has
entered the code, refused it, or the code has expired.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from gateway.cloud_api.values import DeviceCodes
from gateway.errors import AccountError, UplinkError, UplinkLost
from gateway.node.account import Account
from hardware.boot_clock import boot_time
from settings.secret import Secret

if TYPE_CHECKING:
    from gateway.cloud_api.client import CloudApi

logger = logging.getLogger(__name__)

SLOW_DOWN_S = 5.0  # RFC 8628, 3.5
POLL_AGAIN_S = 5.0  # after the cloud could not be reached


class Membership:
    """Holds the open code and changes the account of this node."""

    def __init__(
        self,
        account: Account,
        api: "CloudApi",
        associate: Callable[[Secret], Awaitable[str]],
        edge_id_token: Callable[[], Secret],
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = boot_time,
    ) -> None:
        self._account, self._api, self._associate = account, api, associate
        self._edge_id_token, self._clock, self._monotonic = edge_id_token, clock, monotonic
        self._codes: DeviceCodes | None = None
        self._expires_at = 0.0  # of the codes, shown to people
        self._deadline = 0.0  # the same, of the monotonic clock
        self._polling: asyncio.Task[None] | None = None
        self._error = ""  # of the last code
        self._one_at_a_time = asyncio.Lock()

    def status(self) -> dict[str, Any]:
        """Return the account, the open code, and the error of the last one."""
        codes = self._codes
        shown = codes and {
            "user_code": codes.user_code,
            "verification_uri": codes.verification_uri,
            "verification_uri_complete": codes.verification_uri_complete,
            "expires_at": self._expires_at,
        }
        return {"accountId": self._account.account_id, "join": shown, "error": self._error}

    async def join(self) -> None:
        """Open a code, unless one is open.

        Raises:
            AccountError: this node is in an account, or the cloud gives no code.
        """
        async with self._one_at_a_time:
            if self._account.account_id:
                raise AccountError(
                    f"cannot join account: this node is a member of {self._account.account_id}; "
                    "leave it first with `hecate account leave`"
                )
            if self._codes is not None and self._monotonic() < self._deadline:
                return
            await self._stop_polling()
            try:
                codes = await self._api.authorize_device(self._edge_id_token())
            except UplinkError as exc:
                raise AccountError(str(exc)) from exc
            self._codes, self._error = codes, ""
            self._expires_at = self._clock() + codes.lasts_s
            self._deadline = self._monotonic() + codes.lasts_s
            self._polling = asyncio.create_task(self._poll(codes), name="join account")

    async def cancel(self) -> None:
        """Close the open code; harmless when there is none."""
        async with self._one_at_a_time:
            await self._stop_polling()

    async def leave(self) -> str:
        """Leave the account; return its id.

        Raises:
            AccountError: this node is in no account, or the cloud does not confirm it.
        """
        async with self._one_at_a_time:
            account_id = self._account.account_id
            if not account_id:
                raise AccountError("cannot leave account: this node is in none")
            try:
                await self._api.leave_account()
            except UplinkError as exc:
                raise AccountError(str(exc)) from exc
            await self._account.become("")
            return account_id

    async def _poll(self, codes: DeviceCodes) -> None:
        try:
            token = await self._wait_for_token(codes)
            await self._associate(token)
        except UplinkError as exc:
            self._error = str(exc)
            logger.warning("%s", exc)
        finally:
            self._codes = None

    async def _wait_for_token(self, codes: DeviceCodes) -> Secret:
        pause_s = codes.interval_s
        while True:
            await asyncio.sleep(pause_s)
            try:
                answer = await self._api.token_for_code(codes.device_code)
            except UplinkLost as exc:
                if self._monotonic() >= self._deadline:
                    raise
                logger.debug("%s; polling again", exc)
                await asyncio.sleep(POLL_AGAIN_S)
                continue
            if isinstance(answer, Secret):
                return answer
            pause_s += SLOW_DOWN_S * answer.slow_down

    async def _stop_polling(self) -> None:
        if self._polling is not None:
            self._polling.cancel()
            await asyncio.gather(self._polling, return_exceptions=True)
        self._polling = self._codes = None
