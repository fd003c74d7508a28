"""Authenticates clients by a coroutine of the embedding program."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from broker.policy import Credentials, Identity, Refusal

logger = logging.getLogger(__name__)

TIMEOUT_S = 5.0  # half of the time in which a broker must decide a CONNECT
AT_ONCE = 100  # questions; a slow service must not collect those of all clients

Ask = Callable[[Credentials], Awaitable[Identity | Refusal | None]]


class CallbackSource:
    """Asks a coroutine; a failure or a timeout refuses the client."""

    def __init__(self, ask: Ask, *, timeout_s: float = TIMEOUT_S, at_once: int = AT_ONCE) -> None:
        self._ask, self._timeout_s, self._limit = ask, timeout_s, at_once
        self._asked = 0

    async def identify(self, credentials: Credentials) -> Identity | Refusal | None:
        """Return the coroutine's answer."""
        if self._asked >= self._limit:
            return Refusal.SERVER_BUSY
        self._asked += 1
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._ask(credentials)
        except TimeoutError:
            logger.warning("cannot identify %.64r: no answer", credentials.client_id)
        except Exception:
            logger.exception("cannot identify %.64r", credentials.client_id)
        finally:
            self._asked -= 1
        return Refusal.SERVER_UNAVAILABLE
