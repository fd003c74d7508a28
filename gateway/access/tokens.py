"""Verifies the access tokens of callers offline, by the signing keys of the cloud."""

import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from gateway.errors import UplinkError
from gateway.node.account import Account
from gateway.storage.settings import SettingsStore
from protocol.errors import TokenError
from protocol.tokens import verify_token

logger = logging.getLogger(__name__)

AUDIENCE = "hecate"
REFRESH_S = 60.0  # forged tokens may not make this node ask the cloud more often

_KEYS = "signing keys"


@dataclass(frozen=True, slots=True)
class TokenRights:
    """The rights of an access token of this node's account."""

    client_id: str
    scopes: frozenset[str]


class AccessTokens:
    """The signing keys of the cloud; an unknown key in a token makes it fetch them again."""

    def __init__(
        self,
        node_id: str,
        account: Account,
        settings: SettingsStore,
        fetch: Callable[[], Awaitable[Mapping[str, Any]]] | None,
        clock: Callable[[], float],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._node_id, self._account, self._settings = node_id, account, settings
        self._fetch, self._clock, self._monotonic = fetch, clock, monotonic
        self._keys: KeySet | None = None
        self._fetched_at = float("-inf")

    @property
    def keys(self) -> KeySet | None:
        """The cloud's keys; None while they are not known."""
        return self._keys

    async def refresh(self) -> bool:
        """Fetch the keys, unless that was just tried; return whether there are new ones."""
        return await self._refresh()

    async def load(self) -> None:
        """Read the stored keys, so that tokens can be verified while the cloud is unreachable."""
        stored = (await self._settings.load()).get(_KEYS)
        if stored:
            self._keys = _parse(json.loads(stored))

    async def verify(self, token: str) -> TokenRights:
        """Return the rights of a token on this node.

        Raises:
            TokenError: the token is forged, expired, for another node or of another account.
        """
        try:
            return self._rights(token)
        except TokenError:
            if not await self._refresh():
                raise
        return self._rights(token)

    def _rights(self, token: str) -> TokenRights:
        if self._keys is None:
            raise TokenError("cannot accept token: the cloud's keys are not known")
        claims = verify_token(token, self._keys, AUDIENCE, self._clock())
        if not self._account.account_id or claims.get("sub") != self._account.account_id:
            raise TokenError("cannot accept token: not of this node's account")
        if claims.get("node_id", self._node_id) != self._node_id:
            raise TokenError("cannot accept token: bound to another node")
        # RFC 9068, 2.2, and its name in OpenID Connect
        scope, client_id = claims.get("scope", ""), claims.get("client_id", claims.get("azp", ""))
        return TokenRights(
            client_id if isinstance(client_id, str) else "",
            frozenset(scope.split()) if isinstance(scope, str) else frozenset(),
        )

    async def _refresh(self) -> bool:
        """Fetch the keys, at most every REFRESH_S; return whether that worked."""
        now = self._monotonic()
        if self._fetch is None or now - self._fetched_at < REFRESH_S:
            return False
        self._fetched_at = now
        try:
            fetched = dict(await self._fetch())
            self._keys = _parse(fetched)
        except (UplinkError, TokenError) as exc:
            logger.info("%s", exc)
            return False
        await self._settings.save({_KEYS: json.dumps(fetched).encode()})
        return True


def _parse(keys: Mapping[str, Any]) -> KeySet:
    try:
        return KeySet.import_key_set(keys)  # type: ignore[arg-type]  # a JSON object, checked there
    except (JoseError, ValueError, TypeError, KeyError) as exc:
        raise TokenError("cannot use the cloud's keys: malformed") from exc
