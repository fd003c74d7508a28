"""An OpenID Connect provider elsewhere: Auth0, Okta, Keycloak, Google and the like."""

import asyncio
import json
import logging
from typing import Any

import httpx
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from cloud.errors import CloudError
from cloud.identity.claims import check_claims
from cloud.identity.provider import Person
from protocol.errors import TokenError

logger = logging.getLogger(__name__)

ALGORITHMS = ["RS256", "PS256", "ES256", "EdDSA"]  # never "none", never a shared secret
FETCH_TIMEOUT_S = 5.0
FETCH_LIMIT_BYTES = 256 * 1024
REFRESH_PAUSE_S = 30.0  # tokens with unknown keys must not become a flood of fetches
FAILED_PAUSE_S = 5.0  # nor those of a provider that does not answer: callers would stand in line


class ProviderUnreachableError(CloudError):
    """The provider's keys cannot be had; not the caller's fault."""


class OpenIdProvider:
    """Verifies ID tokens with the keys that a provider publishes."""

    def __init__(self, issuer: str, client_id: str) -> None:
        self.issuer = issuer
        self._client_id = client_id
        self._keys: KeySet | None = None
        self._fetched_at = self._failed_at = float("-inf")
        self._fetching = asyncio.Lock()

    async def verify(self, id_token: str, now: float) -> Person:
        """Return whom an ID token names.

        Raises:
            TokenError: the token does not hold.
            ProviderUnreachableError: the provider's keys cannot be had.
        """
        keys = await self._fetch_keys(now, older_than=float("-inf"))
        try:
            claims = _decode(id_token, keys)
        except TokenError:
            # Providers rotate keys: look again before refusing.
            keys = await self._fetch_keys(now, older_than=now - REFRESH_PAUSE_S)
            claims = _decode(id_token, keys)
        return check_claims(claims, self.issuer, self._client_id, now)

    async def _fetch_keys(self, now: float, older_than: float) -> KeySet:
        async with self._fetching:
            if self._keys is None or self._fetched_at < older_than:
                if 0 <= now - self._failed_at < FAILED_PAUSE_S:
                    raise self._unreachable()
                try:
                    self._keys = await _fetch_keys(self.issuer)
                except (httpx.HTTPError, ValueError, KeyError, TypeError, JoseError) as exc:
                    logger.warning("cannot fetch keys of %s: %s", self.issuer, exc)
                    self._failed_at = now
                    raise self._unreachable() from exc
                self._fetched_at = now
            return self._keys

    def _unreachable(self) -> ProviderUnreachableError:
        return ProviderUnreachableError(
            f"cannot verify ID token: keys of {self.issuer} cannot be fetched"
        )


async def _fetch_keys(issuer: str) -> KeySet:
    async with httpx.AsyncClient(timeout=FETCH_TIMEOUT_S) as client:
        url = issuer.rstrip("/") + "/.well-known/openid-configuration"
        about = await _fetch_json(client, url)
        if about["issuer"] != issuer:
            raise ValueError(f"{url} speaks for another issuer")
        keys = await _fetch_json(client, about["jwks_uri"])
    return KeySet.import_key_set({"keys": keys["keys"]})


async def _fetch_json(client: httpx.AsyncClient, url: str) -> Any:
    async with client.stream("GET", url) as response:
        response.raise_for_status()
        body = bytearray()
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > FETCH_LIMIT_BYTES:
                raise ValueError(f"{url} answers with more than {FETCH_LIMIT_BYTES} bytes")
    return json.loads(body)


def _decode(id_token: str, keys: KeySet) -> dict[str, Any]:
    try:
        return dict(jwt.decode(id_token, keys, algorithms=ALGORITHMS).claims)
    except (JoseError, ValueError, TypeError, KeyError) as exc:
        raise TokenError("cannot accept ID token: malformed or not signed by a known key") from exc
