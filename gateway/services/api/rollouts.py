"""Serves /mcm/v1/rollouts: a container for several nodes of the account, and orders among them."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.errors import UplinkError
from gateway.http.body import stream_body
from gateway.http.parameters import PathText
from gateway.http.problems import Problem
from gateway.http.routes import ANY, ApiRoute, Operation, make_route
from gateway.services.api.calls import PREFIX, TAG, ClientCheck, errors_as_problems, read_object
from gateway.services.api.containers import check_env
from gateway.services.deployments import Deployments
from gateway.services.limits import ServiceLimits
from gateway.services.rollouts.coordinator import Rollouts, plan_for
from gateway.services.rollouts.orders import (
    CODE_HEADER,
    ORDER_LIMIT_BYTES,
    RolloutOrder,
    decode_order,
    encode_progress,
    operation_of,
)
from gateway.services.rollouts.plan import RolloutNodeState, parse_share
from gateway.services.rollouts.receiver import RolloutReceiver
from gateway.services.rollouts.store import Rollout
from protocol.ids import NODE_ID

ALL = "all"
CodeCheck = Callable[[str, str], None]  # raises Problem when a code does not allow an operation
AccountNodes = Callable[[], Awaitable[list[str]]]

_ID = PathText("rollout_id", "[0-9a-f]{24}")
_SHARE = {"oneOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": "^[0-9]+%$"}]}
_WISH = {
    "type": "object",
    "required": ["name", "image", "nodes"],
    "properties": {
        "name": {"type": "string"},
        "image": {"type": "string"},
        "env": {"type": "object", "additionalProperties": {"type": "string"}},
        "nodes": {"oneOf": [{"const": ALL}, {"type": "array", "items": {"type": "string"}}]},
        "wave": {**_SHARE, "default": "20%"},
        "maxFailures": {**_SHARE, "default": 0},
    },
}
_CHANGE = {
    "type": "object",
    "required": ["state"],
    "properties": {"state": {"type": "string", "enum": ["running", "cancelled"]}},
}
_CREATE = Operation(
    TAG,
    "Post Rollout",
    "Run an image of this node in a container on several nodes of the account, in waves.",
    body=("application/json", _WISH),
    status=HTTPStatus.ACCEPTED,
    answer=ANY,
)
_LIST = Operation(TAG, "Get Rollouts", answer=ANY)
_SHOW = Operation(TAG, "Get Rollout", parameters=(_ID,), answer=ANY)
_SET = Operation(
    TAG, "Put Rollout", parameters=(_ID,), body=("application/json", _CHANGE), answer=ANY
)


def rollout_routes(
    deployments: Deployments,
    rollouts: Rollouts,
    account_nodes: AccountNodes,
    limits: ServiceLimits,
    check: ClientCheck,
) -> list[ApiRoute]:
    """Return the routes of the coordinating node; account_nodes asks the cloud."""

    async def post_rollout(request: Request, client_id: str) -> Response:
        fields = await read_object(request, "roll-out")
        name, image = fields.get("name"), fields.get("image")
        if not isinstance(name, str) or not isinstance(image, str):
            raise _bad("needs texts name and image")
        env = check_env(fields.get("env") or {}, limits)
        nodes = await _nodes(fields.get("nodes"), account_nodes)
        try:
            wave = parse_share(fields.get("wave", "20%"), len(nodes))
            failures = parse_share(fields.get("maxFailures", 0), len(nodes))
        except ValueError as exc:
            raise _bad(str(exc)) from exc
        with errors_as_problems():
            stored = deployments.image(f"{client_id}-{image}", client_id)
            rollout = await rollouts.create(
                client_id, name, (stored.image_id, stored.digest), env,
                plan_for(nodes, wave, failures),
            )  # fmt: skip
        return JSONResponse(rollout_fields(rollout), HTTPStatus.ACCEPTED)

    async def get_rollouts(_request: Request, client_id: str) -> Response:
        return JSONResponse({"data": [rollout_fields(r) for r in rollouts.all(client_id)]})

    async def get_rollout(request: Request, client_id: str) -> Response:
        with errors_as_problems():
            return JSONResponse(rollout_fields(rollouts.known(client_id, _ID.read(request))))

    async def put_rollout(request: Request, client_id: str) -> Response:
        state = (await read_object(request, "roll-out")).get("state")
        change = {"running": rollouts.resume, "cancelled": rollouts.cancel}.get(str(state))
        if change is None:
            raise _bad('needs {"state": "running" or "cancelled"}')
        with errors_as_problems():
            return JSONResponse(rollout_fields(await change(client_id, _ID.read(request))))

    several = f"{PREFIX}/rollouts"
    return [
        make_route(f"POST {several}", check, post_rollout, _CREATE),
        make_route(f"GET {several}", check, get_rollouts, _LIST),
        make_route(f"GET {several}/{{rollout_id}}", check, get_rollout, _SHOW),
        make_route(f"PUT {several}/{{rollout_id}}", check, put_rollout, _SET),
    ]


def order_routes(receiver: RolloutReceiver, code: CodeCheck) -> list[ApiRoute]:
    """Return the routes by which other nodes of the account give orders to this one."""

    async def check(request: Request) -> bytes:
        """Return the body of a request that the account's key has authorised."""
        body = b"".join([chunk async for chunk in stream_body(request, ORDER_LIMIT_BYTES)])
        shown = request.headers.get(CODE_HEADER, "")
        code(shown, operation_of(request.method, request.url.path, body))
        return body

    async def put_order(request: Request, body: bytes) -> Response:
        order = _read_order(body)
        if order.rollout_id != _ID.read(request):
            raise _bad("the order is another's")
        code = request.headers.get(CODE_HEADER, "")
        return JSONResponse(encode_progress(await receiver.take(order, code)))

    async def get_order(request: Request, _body: bytes) -> Response:
        progress = receiver.show(_ID.read(request))
        if progress is None:
            raise Problem(HTTPStatus.NOT_FOUND, "cannot find order: it is not known here")
        return JSONResponse(encode_progress(progress))

    one = f"{PREFIX}/rollouts/orders/{{rollout_id}}"
    return [
        make_route(f"PUT {one}", check, put_order, None),
        make_route(f"GET {one}", check, get_order, None),
    ]


def rollout_fields(rollout: Rollout) -> dict[str, Any]:
    """Return a roll-out as the API shows it."""
    plan = rollout.plan
    counts = {state.value: 0 for state in RolloutNodeState}
    for node in plan.nodes:
        counts[node.state.value] += 1
    return {
        "id": rollout.rollout_id,
        "state": plan.state.value,
        "name": rollout.name,
        "image": rollout.image_id.removeprefix(f"{rollout.client_id}-"),
        "digest": rollout.digest,
        "created": int(rollout.created * 1000),
        "wave": plan.wave,
        "maxFailures": int(plan.failures_allowed),
        "counts": counts,
        "nodes": [
            {
                "id": node.node_id,
                "state": node.state.value,
                "error": node.error,
                "changed": int(node.changed * 1000),
            }
            for node in plan.nodes
        ],
    }


async def _nodes(nodes: Any, account_nodes: AccountNodes) -> list[str]:
    if nodes == ALL:
        try:
            return await account_nodes()
        except UplinkError as exc:
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, str(exc), {"Retry-After": "5"}) from exc
    if not isinstance(nodes, list) or not nodes:
        raise _bad('nodes must be "all" or a list of node ids')
    for node in nodes:
        if not isinstance(node, str) or not NODE_ID.fullmatch(node):
            raise _bad(f"{node!r:.70} is no node id; `hecate nodes` lists them")
    return list(dict.fromkeys(nodes))


def _read_order(body: bytes) -> RolloutOrder:
    try:
        return decode_order(body)
    except ValueError as exc:
        raise Problem(HTTPStatus.BAD_REQUEST, f"cannot read order: {exc}") from exc


def _bad(why: str) -> Problem:
    return Problem(HTTPStatus.BAD_REQUEST, f"cannot read roll-out: {why}")
