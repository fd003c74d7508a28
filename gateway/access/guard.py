"""Authenticates callers of the sidecar: by API key on this network, by token from anywhere."""

import hmac
import re
from dataclasses import dataclass
from http import HTTPStatus

from starlette.requests import Request

from gateway.access.tokens import AccessTokens
from gateway.http.origin import Origin, origin_of
from gateway.http.problems import Problem
from protocol.errors import TokenError
from settings.secret import Secret

DEFAULT_CLIENT_ID = "api"  # of a caller with the API key that names no other

MANAGE = "edge:mcm"
CLUSTERS = "edge:clusters"
ACCOUNT_KEY = "edge:read:accountkey"
ASSOCIATE = "edge:account:associate"
UNASSOCIATE = "edge:account:unassociate"
UPDATE_GPS = "edge:gps:update"

_WHERE = "the API key is in the file api-key of the state folder"
_JWT_DOTS = 2  # RFC 7515, 3.1

RawHeaders = list[tuple[bytes, bytes]]

_CLIENT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class SidecarCaller:
    """The caller of a request."""

    client_id: str
    scopes: frozenset[str]
    has_key: bool = False
    container_id: str = ""  # of a container of this node

    def may(self, scope: str) -> bool:
        """Return whether the caller has a scope; the API key has all."""
        return self.has_key or scope in self.scopes


class Guard:
    """Checks the Authorization of requests."""

    def __init__(self, api_key: Secret, tokens: AccessTokens) -> None:
        self._api_key, self._tokens = api_key, tokens

    async def caller(self, request: Request) -> SidecarCaller:
        """Return the caller; Problem 401 without valid credentials."""
        scheme, shown = _shown(request.headers.get("authorization", ""))
        if scheme.lower() != "bearer" or not shown:
            raise _unauthorized(
                "cannot allow this: needs Authorization: Bearer <API key or access token>; "
                f"{_WHERE}"
            )
        if self._is_api_key(shown):
            # the API key is a secret of this node; other nodes and the cloud could read it
            if origin_of(request.scope) in (Origin.NODE, Origin.SEP, Origin.BEP):
                raise _unauthorized("cannot allow this: the API key is for the local network only")
            return SidecarCaller(
                request.headers.get("x-client-id", DEFAULT_CLIENT_ID), frozenset(), True
            )
        if shown.count(".") != _JWT_DOTS:
            raise _unauthorized(
                "cannot allow this: what follows Bearer is neither the API key of this gateway nor "
                f"an access token; {_WHERE}"
            )
        try:
            rights = await self._tokens.verify(shown)
        except TokenError as exc:
            raise _unauthorized(str(exc)) from exc
        return SidecarCaller(rights.client_id or DEFAULT_CLIENT_ID, rights.scopes)

    async def bearer(self, token: str) -> SidecarCaller | None:
        """Return the caller that an access token makes; None when it is no valid one."""
        try:
            rights = await self._tokens.verify(token) if token else None
        except TokenError:
            return None
        if rights is None:
            return None
        return SidecarCaller(rights.client_id or DEFAULT_CLIENT_ID, rights.scopes)

    def without_api_key(self, headers: RawHeaders) -> RawHeaders:
        """Return the headers of a request without the API key."""
        return [
            (name, value)
            for name, value in headers
            if name != b"authorization" or not self._is_api_key(_shown(value.decode("latin-1"))[1])
        ]

    async def manager(self, request: Request) -> SidecarCaller:
        """Return a caller who may manage this node; Problem 401 or 403 for others."""
        return await self._with_scope(request, MANAGE)

    async def viewer(self, request: Request) -> SidecarCaller:
        """Return a caller who may see the clusters; Problem 401 or 403 for others."""
        return await self._with_scope(request, CLUSTERS)

    async def associator(self, request: Request) -> SidecarCaller:
        """Return a caller who may change this node's account; Problem 401 or 403 for others."""
        return await self._with_scope(request, ASSOCIATE)

    async def client_id(self, request: Request) -> str:
        """Return the client id of a manager, who owns microservices; Problem 403 for others."""
        try:
            caller = await self.manager(request)
        except Problem as exc:
            # clients of this API expect 403 for missing credentials, too
            raise Problem(HTTPStatus.FORBIDDEN, exc.detail) from exc
        if not _CLIENT_ID.fullmatch(caller.client_id):
            raise Problem(
                HTTPStatus.FORBIDDEN, f"cannot accept client id {caller.client_id[:80]!r}"
            )
        return caller.client_id

    async def named_client(self, request: Request, named: str) -> str:
        """Return the client id that a manager names: any with the API key, else its own."""
        own = await self.client_id(request)
        caller = await self.caller(request)
        if (named != own and not caller.has_key) or not _CLIENT_ID.fullmatch(named):
            raise Problem(
                HTTPStatus.FORBIDDEN,
                f"cannot act for client {named[:80]!r}: the access token is of client {own}",
            )
        return named

    async def container_or_viewer(self, request: Request) -> None:
        """Accept every container of this node; Problem 401 or 403 for others unless viewers.

        Compatible microservices look for other nodes without credentials.
        """
        if origin_of(request.scope) is not Origin.CONTAINER:
            await self.viewer(request)

    async def container_or_caller(self, request: Request) -> SidecarCaller:
        """Return the caller; a container without credentials has no scopes. Problem 401 or 403."""
        if origin_of(request.scope) is Origin.CONTAINER and "authorization" not in request.headers:
            return SidecarCaller(DEFAULT_CLIENT_ID, frozenset())
        return await self.caller(request)

    async def on_loopback_or_viewer(self, request: Request) -> None:
        """Accept every caller on this machine; Problem 401 or 403 for others unless viewers."""
        if origin_of(request.scope) is not Origin.LOOPBACK:
            await self.viewer(request)

    async def is_on_loopback_or_viewer(self, request: Request) -> bool:
        """Return whether a request comes from this machine or from a viewer."""
        try:
            await self.on_loopback_or_viewer(request)
        except Problem:
            return False
        return True

    async def _with_scope(self, request: Request, scope: str) -> SidecarCaller:
        caller = await self.caller(request)
        if not caller.may(scope):
            raise Problem(
                HTTPStatus.FORBIDDEN, f"cannot allow this: the access token lacks scope {scope}"
            )
        return caller

    def _is_api_key(self, shown: str) -> bool:
        return hmac.compare_digest(shown.encode(), self._api_key.reveal().encode())


def _shown(authorization: str) -> tuple[str, str]:
    """Return scheme and credentials of an Authorization header."""
    scheme, _, shown = authorization.partition(" ")
    return scheme, shown.strip()


def _unauthorized(detail: str) -> Problem:
    return Problem(HTTPStatus.UNAUTHORIZED, detail, {"WWW-Authenticate": "Bearer"})
