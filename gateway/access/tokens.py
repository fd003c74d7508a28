"""Access tokens that callers show to the sidecar, checked offline against the cloud's keys."""

import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from gateway.errors import UplinkError
from gateway.node.account import Account
from gateway.storage.database import GatewayDatabase
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
    """Knows the cloud's signing keys; fetches them when a token asks for one it does not know."""

    def __init__(
        self,
        node_id: str,
        account: Account,
        store: GatewayDatabase,
        fetch: Callable[[], Awaitable[Mapping[str, Any]]] | None,
        clock: Callable[[], float],
    ) -> None:
        self._node_id, self._account, self._store = node_id, account, store
        self._fetch, self._clock = fetch, clock
        self._keys: KeySet | None = None
        self._fetched_at = float("-inf")

    async def load(self) -> None:
        """Take the keys that were kept, so that tokens can be checked while the cloud is away."""
        kept = (await self._store.settings()).get(_KEYS)
        if kept:
            self._keys = _parse(json.loads(kept))

    async def verify(self, token: str) -> TokenRights:
        """Return what a token allows on this node.

        Raises:
            TokenError: it is forged, expired, for another node or of another account.
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
        scope, client_id = claims.get("scope", ""), claims.get("client_id", "")
        return TokenRights(
            client_id if isinstance(client_id, str) else "",
            frozenset(scope.split()) if isinstance(scope, str) else frozenset(),
        )

    async def _refresh(self) -> bool:
        """Fetch the keys, unless that was done lately; return whether they are new."""
        now = self._clock()
        if self._fetch is None or now - self._fetched_at < REFRESH_S:
            return False
        self._fetched_at = now
        try:
            fetched = dict(await self._fetch())
            self._keys = _parse(fetched)
        except (UplinkError, TokenError) as exc:
            logger.info("%s", exc)
            return False
        await self._store.save_settings({_KEYS: json.dumps(fetched).encode()})
        return True


def _parse(keys: Mapping[str, Any]) -> KeySet:
    try:
        return KeySet.import_key_set(keys)  # type: ignore[arg-type]  # a JSON object, checked there
    except (JoseError, ValueError, TypeError, KeyError) as exc:
        raise TokenError("cannot use the cloud's keys: malformed") from exc
