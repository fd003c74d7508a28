"""Serves JSON-RPC 2.0: the identity of this node, association with an account, codes, images."""

import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from gateway import VERSION
from gateway.access.guard import (
    ACCOUNT_KEY,
    ASSOCIATE,
    MANAGE,
    UNASSOCIATE,
    UPDATE_GPS,
    Guard,
    SidecarCaller,
)
from gateway.addresses import local_address
from gateway.errors import AccountError, BepError, UplinkError
from gateway.http.body import read_body
from gateway.http.routes import OBJECT, ApiRoute, Operation, make_route
from gateway.node.record import Node
from gateway.services import ServicesError
from gateway.services.proxy.containers import CALLER_KEY
from gateway.sidecar.elsewhere.node_images import NodeImages
from protocol.codes import REQUEST_BEP, expiry_seconds, make_code
from protocol.errors import TokenError, WireError
from protocol.geo.position import Position, read_position
from protocol.ids import NODE_ID
from settings.secret import Secret
from web import JsonError, SafeJsonResponse, parse_json
from web.asgi import Scope

logger = logging.getLogger(__name__)

SUPERNODE_TYPE = "_hecate._tcp"

_CALL = Operation("JSON-RPC", "Call a method of this node", answer=OBJECT)

PARSE_ERROR, INVALID_REQUEST, NO_METHOD, INVALID_PARAMS, FAILED, FORBIDDEN = (
    -32700, -32600, -32601, -32602, -32000, -32001,
)  # fmt: skip

BATCH_LIMIT = 32  # requests; each may ask the cloud

_IMAGE_ID = re.compile(r"[A-Za-z0-9._-]{1,160}")
_OPERATION = re.compile(re.escape(REQUEST_BEP) + r"|/mcm/v1/images/[A-Za-z0-9._-]{1,160}/tarball")


class RpcError(Exception):
    """A call that failed."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


Associate = Callable[[Secret], Awaitable[str]]
Unassociate = Callable[[], Awaitable[str]]  # returns the account that this node was in
CallerOf = Callable[[str], Awaitable[SidecarCaller]]  # takes the first of the params, "" for none
OpenOwnBep = Callable[[str, str, str], Awaitable[str]]  # container id, its base, code: the URL


Method = Callable[[list[Any], SidecarCaller], Awaitable[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class RpcPorts:
    """The functions of a node with a cloud that the methods call; None without one."""

    associate: Associate | None
    unassociate: Unassociate | None
    open_bep: OpenOwnBep | None
    moved: Callable[[Position], None] | None


class JsonRpc:
    """The methods."""

    def __init__(
        self, node: Node, clock: Callable[[], float], images: NodeImages, ports: RpcPorts
    ) -> None:
        self._node, self._clock, self._images = node, clock, images
        self._ports = ports
        self._methods: dict[str, Method] = {
            "getMe": self._get_me,
            "getEdgeIdToken": self._get_edge_id_token,
            "associateAccount": self._associate_account,
            "unassociateAccount": self._unassociate_account,
            "updateGps": self._update_gps,
            "getEdgeHmacCode": self._get_edge_hmac_code,
            "requestBep": self._request_bep,
            "serviceMesh.addRegistryImage": self._add_registry_image,
        }

    async def answer(self, body: bytes, caller_of: CallerOf) -> dict[str, Any] | list[Any]:
        """Return the answer to a request, or those to a batch; one without an id has one, too."""
        try:
            request = parse_json(body)  # with any content type
        except JsonError:
            return _failure(None, RpcError(PARSE_ERROR, "Parse error"))
        if not isinstance(request, list):
            return await self._answer_one(request, caller_of)
        if not 0 < len(request) <= BATCH_LIMIT:
            why = f"Invalid Request: a batch has 1 to {BATCH_LIMIT} requests"
            return _failure(None, RpcError(INVALID_REQUEST, why))
        return [await self._answer_one(each, caller_of) for each in request]

    async def _answer_one(self, request: Any, caller_of: CallerOf) -> dict[str, Any]:
        call_id = None
        try:
            call_id = _id_of(request)
            handler, params = self._find(request.get("method"), request.get("params"))
            first = params[0] if params and isinstance(params[0], str) else ""
            result = await handler(params, await caller_of(first))
        except RpcError as exc:
            return _failure(call_id, exc)
        return {"jsonrpc": "2.0", "id": call_id, "result": result}

    def _find(self, method: Any, params: Any) -> tuple[Method, list[Any]]:
        if not isinstance(method, str) or not isinstance(params, list | dict | None):
            raise RpcError(INVALID_REQUEST, "Invalid Request")
        handler = self._methods.get(method)
        if handler is None:
            raise RpcError(NO_METHOD, f"cannot call {method[:64]!r}: no such method")
        if isinstance(params, dict):  # JSON-RPC 2.0, 4.2: a method may take none by name
            raise RpcError(INVALID_PARAMS, f"cannot call {method}: params must be an array")
        return handler, params or []

    async def _get_me(self, _params: list[Any], _caller: SidecarCaller) -> dict[str, Any]:
        return {
            "nodeId": self._node.node_id,
            "accountId": self._node.account.account_id,
            "name": self._node.name,
            "version": f"v{VERSION}",
            "linkLocalIp": local_address(),
            "supernodeTypeName": SUPERNODE_TYPE,
        }

    async def _get_edge_id_token(self, _params: list[Any], caller: SidecarCaller) -> dict[str, Any]:
        _require(caller, ASSOCIATE)
        return {"id_token": self._node.edge_id_token().reveal()}

    async def _associate_account(self, params: list[Any], caller: SidecarCaller) -> dict[str, Any]:
        _require(caller, ASSOCIATE)
        if len(params) != 1 or not isinstance(params[0], str) or not params[0]:
            raise RpcError(INVALID_PARAMS, "cannot associate account: params must be [token]")
        if self._ports.associate is None:
            raise RpcError(FAILED, "cannot associate account: this node has no cloud")
        try:
            return {"accountId": await self._ports.associate(Secret(params[0]))}
        except UplinkError as exc:
            raise RpcError(FAILED, str(exc)) from exc

    async def _unassociate_account(
        self, _params: list[Any], caller: SidecarCaller
    ) -> dict[str, Any]:
        """Leave the account; the answer names the account that this node was in."""
        if not caller.may(ASSOCIATE):  # a token that lets a node join lets it leave, as in /account
            _require(caller, UNASSOCIATE)
        if self._ports.unassociate is None:
            raise RpcError(FAILED, "cannot unassociate account: this node has no cloud")
        try:
            return {"accountId": await self._ports.unassociate()}
        except AccountError as exc:
            raise RpcError(FAILED, str(exc)) from exc

    async def _update_gps(self, params: list[Any], caller: SidecarCaller) -> dict[str, Any]:
        """Note a position; speed and bearing, which compatible callers add, are not used."""
        _require(caller, UPDATE_GPS)
        match params:
            case [_, first, second] | [_, first, second, _] | [_, first, second, _, _]:
                pass
            case _:
                raise RpcError(
                    INVALID_PARAMS, "cannot update position: params must be [token, lat, lon, …]"
                )
        try:
            position = read_position(first, second, "gps", self._clock())
        except WireError as exc:
            raise RpcError(INVALID_PARAMS, f"cannot update position: {exc}") from exc
        if self._ports.moved is None:
            raise RpcError(
                FAILED,
                "cannot update position: this node has no cloud, which finds the nodes nearby; "
                "set [cloud] url",
            )
        self._ports.moved(position)
        return {"status": "ok"}

    async def _get_edge_hmac_code(self, params: list[Any], caller: SidecarCaller) -> dict[str, Any]:
        _require(caller, ACCOUNT_KEY)
        match params:
            case [_, (str() | int()) as expiry, str() as node_id, str() as operation]:
                pass
            case _:
                raise RpcError(
                    INVALID_PARAMS,
                    "cannot make code: params must be [token, expiry, node id, operation]",
                )
        if not re.fullmatch(r"[0-9]{1,15}", str(expiry)):
            raise RpcError(INVALID_PARAMS, f"cannot make code: {str(expiry)[:32]!r} is no expiry")
        if not NODE_ID.fullmatch(node_id):
            raise RpcError(INVALID_PARAMS, f"cannot make code: {node_id[:64]!r} is no node id")
        if not _OPERATION.fullmatch(operation):
            raise RpcError(INVALID_PARAMS, f"cannot make code: {operation[:64]!r} is no operation")
        if not self._node.account.key:
            raise RpcError(
                FAILED,
                "cannot make code: this node is in no account; join one with `hecate account join`",
            )
        expires = expiry_seconds(int(expiry))
        code = make_code(self._node.account.key, expires, node_id, operation)
        return {"edgeHmacCode": code}

    async def _add_registry_image(self, params: list[Any], caller: SidecarCaller) -> dict[str, Any]:
        _require(caller, MANAGE)
        match params:
            case [_, str() as node_id, str() as image_id, str() as code]:
                pass
            case _:
                raise RpcError(
                    INVALID_PARAMS,
                    "cannot add image: params must be [token, node id, image id, code]",
                )
        if not NODE_ID.fullmatch(node_id) or not _IMAGE_ID.fullmatch(image_id):
            raise RpcError(INVALID_PARAMS, "cannot add image: that is no node id and image id")
        try:
            return await self._images.add(caller.client_id, node_id, image_id, code)
        except (ServicesError, UplinkError) as exc:
            raise RpcError(FAILED, str(exc)) from exc

    async def _request_bep(self, params: list[Any], caller: SidecarCaller) -> dict[str, Any]:
        """Open a BEP to the container that asks, for the visitor whose code it has checked."""
        if not caller.container_id:
            raise RpcError(FORBIDDEN, "cannot open BEP: only a container asks for one to itself")
        match params:
            case [str() as code, str() as base]:
                pass
            case _:
                raise RpcError(INVALID_PARAMS, "cannot open BEP: params must be [code, base]")
        if self._ports.open_bep is None:
            raise RpcError(FAILED, "cannot open BEP: this node has no cloud")
        try:
            return {"href": await self._ports.open_bep(caller.container_id, base, code)}
        except (TokenError, BepError) as exc:
            raise RpcError(FAILED, str(exc)) from exc


def identify(guard: Guard, scope: Scope, caller: SidecarCaller) -> CallerOf:
    """Return who calls a method, by its first param: microservices put an access token there."""
    known = replace(caller, container_id=str(scope.get(CALLER_KEY, "")))

    async def caller_of(first_param: str) -> SidecarCaller:
        if known.has_key or known.scopes:
            return known
        bearer = await guard.bearer(first_param)
        return replace(bearer, container_id=known.container_id) if bearer else known

    return caller_of


def jsonrpc_routes(guard: Guard, rpc: JsonRpc) -> list[ApiRoute]:
    """Return the JSON-RPC route."""

    async def call(request: Request, caller: SidecarCaller) -> Response:
        caller_of = identify(guard, request.scope, caller)
        return SafeJsonResponse(await rpc.answer(await read_body(request), caller_of))

    return [make_route("POST /jsonrpc/v1", guard.container_or_caller, call, _CALL)]


def _failure(call_id: str | float | None, error: RpcError) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": call_id, "error": {"code": error.code, "message": str(error)}}


def _id_of(request: Any) -> str | int | float | None:
    if not isinstance(request, dict):
        raise RpcError(INVALID_REQUEST, "Invalid Request")
    call_id = request.get("id")
    if isinstance(call_id, bool) or not isinstance(call_id, str | int | float | None):
        raise RpcError(INVALID_REQUEST, "Invalid Request")  # JSON-RPC 2.0, 4
    return call_id


def _require(caller: SidecarCaller, scope: str) -> None:
    if not caller.may(scope):
        raise RpcError(FORBIDDEN, f"cannot allow this: the access token lacks scope {scope}")
