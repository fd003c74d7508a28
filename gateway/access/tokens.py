"""Verifies the access tokens of callers offline, by the signing keys of the cloud."""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from joserfc.jwk import ECKey, Key, KeySet

from gateway.errors import GatewayError, UplinkError
from gateway.node.account import Account
from gateway.storage.settings import SettingsStore
from protocol.errors import TokenError
from protocol.tokens import MALFORMED, verify_token

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
        self._refreshing: asyncio.Task[bool] | None = None

    @property
    def keys(self) -> KeySet | None:
        """The cloud's keys; None while they are not known."""
        return self._keys

    async def refresh(self) -> bool:
        """Fetch the keys, unless that was just tried; return whether there are new ones."""
        return await self._refresh()

    def refresh_soon(self) -> None:
        """Fetch the keys in the background: a credential is signed by one that is not known."""
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self._refresh(), name="signing keys")

    async def load(self) -> None:
        """Read the stored keys, so that tokens can be verified while the cloud is unreachable."""
        stored = (await self._settings.load()).get(_KEYS)
        if not stored:
            return
        try:
            self._keys = _parse(json.loads(stored))
        except (TokenError, ValueError, RecursionError) as exc:
            logger.warning(
                "cannot read the stored keys of the cloud: %s; fetching them from the cloud", exc
            )

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
        try:
            await self._settings.save({_KEYS: json.dumps(fetched).encode()})
        except GatewayError as exc:  # a full disk: they count until the next start
            logger.warning("cannot store the keys of the cloud: %s", exc)
        return True


def _parse(keys: Mapping[str, Any]) -> KeySet:
    """Return the keys of a set that this node can use; others are left out (RFC 7517, 5)."""
    entries = keys.get("keys") if isinstance(keys, Mapping) else None
    found = [_parse_key(each) for each in (entries if isinstance(entries, list) else ())]
    usable: list[Key] = [key for key in found if key is not None]
    if not usable:
        raise TokenError("cannot use the cloud's keys: malformed, or none for ES256")
    return KeySet(usable)


def _parse_key(fields: Any) -> ECKey | None:
    if not isinstance(fields, dict) or (fields.get("kty"), fields.get("crv")) != ("EC", "P-256"):
        return None
    try:
        return ECKey.import_key(fields)
    except MALFORMED:
        return None
