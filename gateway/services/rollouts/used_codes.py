"""Remembers the codes of orders, also after a restart: each begins one run.

The cloud passes orders on. It could keep one, and send it once more after this node was restarted,
to bring an old version back. A code is on disk before its order begins.
"""

import asyncio
import hashlib
from collections.abc import Callable

from gateway.http.replay import ID_BYTES, ReplayGuard, ReplayVerdict
from gateway.services.rollouts.store import FORGOTTEN, RolloutStore

CODES_KEPT = 1024  # a code is valid for two minutes


class UsedCodes:
    """The codes that have come, until they expire."""

    def __init__(self, store: RolloutStore, clock: Callable[[], float]) -> None:
        self._store, self._clock = store, clock
        self._guard = ReplayGuard(CODES_KEPT)
        self._is_loaded = False
        self._loading = asyncio.Lock()

    async def use(self, code: str) -> ReplayVerdict:
        """Return the verdict on a code; GatewayError when it cannot be stored."""
        await self._load()
        now = self._clock()
        code_id, expires = _digest(code), _expiry(code)
        verdict = self._guard.admit(code_id, expires, now)
        if verdict is ReplayVerdict.ADMITTED:
            await self._store.put_code(code_id, expires, self._guard.forgets_before(now))
        return verdict

    async def _load(self) -> None:
        async with self._loading:
            if not self._is_loaded:
                for code_id, expires in await self._store.codes():
                    if code_id == FORGOTTEN:
                        self._guard.forget_until(expires)
                    else:
                        self._guard.remember(code_id, expires)
                self._is_loaded = True


def _digest(code: str) -> bytes:
    return hashlib.sha256(code.encode()).digest()[:ID_BYTES]


def _expiry(code: str) -> float:
    """Return the expiry in a code, which was checked before: its digits are authenticated."""
    digits = code.partition(".")[0]
    return float(digits) if digits.isdigit() else float("nan")
