"""Serves /mcm/v1/containers: the list of containers, deployment, start and stop, deletion."""

import time
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.http.parameters import PathText
from gateway.http.problems import Problem
from gateway.http.routes import ANY, ApiRoute, Operation
from gateway.services.api.calls import (
    PREFIX,
    TAG,
    McmAccess,
    errors_as_problems,
    mcm_route,
    read_object,
)
from gateway.services.api.description import Describe
from gateway.services.deployments import Deployments
from gateway.services.limits import ServiceLimits

_CONTAINER_ID = PathText("container_id")
_VALUES = {
    "settings": {"type": "object"},
    "secrets": {"type": "object", "additionalProperties": {"type": "string"}},
}
_CONTAINER = {
    "type": "object",
    "required": ["name", "image"],
    "properties": {
        "name": {"type": "string"},
        "image": {"type": "string"},
        "env": {"type": "object", "additionalProperties": {"type": "string"}},
        **_VALUES,
    },
}
STATES = ("started", "stopped", "restarted")
_CHANGES = {
    "type": "object",
    "properties": {
        "state": {"type": "string", "enum": list(STATES)},
        "image": {"type": "string"},
        "env": {"type": "object", "additionalProperties": {"type": "string"}},
        **_VALUES,
    },
}
_LIST = Operation(TAG, "Get Containers", answer=ANY)
_DEPLOY = Operation(
    TAG,
    "Post Container",
    body=("application/json", _CONTAINER),
    status=HTTPStatus.CREATED,
    answer=ANY,
)
_SHOW = Operation(TAG, "Get Container", parameters=(_CONTAINER_ID,), answer=ANY)
_CHANGE = Operation(
    TAG,
    "Put Container",
    parameters=(_CONTAINER_ID,),
    body=("application/json", _CHANGES),
    answer=ANY,
)
_DELETE = Operation(TAG, "Delete Container", parameters=(_CONTAINER_ID,), answer=ANY)


def container_routes(
    deployments: Deployments,
    describe: Describe,
    limits: ServiceLimits,
    access: McmAccess,
    noun: str,
) -> list[ApiRoute]:
    """Return the routes about containers; others call them mims: the noun is part of the path."""

    async def get_containers(_request: Request, client_id: str) -> Response:
        return JSONResponse({"data": [describe(c) for c in deployments.table.all(client_id)]})

    async def post_container(request: Request, client_id: str) -> Response:
        fields = await read_object(request)
        name, image, env = _read_container(fields, limits)
        given = _read_values(fields)
        if "clientId" in fields:
            client_id = await access.named(request, str(fields["clientId"]))
        known = {one.stored.container_id for one in deployments.table.all(client_id)}
        with errors_as_problems():
            deployed = await deployments.put_container(
                client_id, name, image, env, time.time(), given
            )
        is_new = deployed.stored.container_id not in known
        return JSONResponse(describe(deployed), HTTPStatus.CREATED if is_new else HTTPStatus.OK)

    async def get_container(request: Request, client_id: str) -> Response:
        with errors_as_problems():
            deployed = deployments.table.known(client_id, _CONTAINER_ID.read(request))
        return JSONResponse(describe(deployed))

    async def put_container(request: Request, client_id: str) -> Response:
        fields, container_id = await read_object(request), _CONTAINER_ID.read(request)
        state, image, env = _read_changes(fields, limits)
        given = _read_values(fields)
        with errors_as_problems():
            if given:
                await deployments.change_values(client_id, container_id, given)
            if image is not None or env is not None:
                await deployments.change_container(client_id, container_id, image, env)
            await _enter(deployments, client_id, container_id, state)
            changed = deployments.table.known(client_id, container_id)
        return JSONResponse(describe(changed))

    async def delete_container(request: Request, client_id: str) -> Response:
        with errors_as_problems():
            deleted = await deployments.delete_container(client_id, _CONTAINER_ID.read(request))
        return JSONResponse(describe(deleted))

    check, several = access.client, f"{PREFIX}/{noun}"
    one = f"{several}/{{container_id}}"
    routes = [
        mcm_route(f"GET {several}", check, get_containers, _LIST),
        mcm_route(f"POST {several}", check, post_container, _DEPLOY),
        mcm_route(f"GET {one}", check, get_container, _SHOW),
        mcm_route(f"PUT {one}", check, put_container, _CHANGE),
        mcm_route(f"DELETE {one}", check, delete_container, _DELETE),
    ]
    if noun == "mims":
        routes.append(mcm_route(f"POST {one}/dataStore", check, _post_data_store, None))
    return routes


async def _post_data_store(_request: Request, _client_id: str) -> Response:
    raise Problem(
        HTTPStatus.NOT_IMPLEMENTED,
        "cannot back up or restore a data store: this gateway does not offer it; copy the "
        "folder of the container while it is stopped",
    )


async def _enter(
    deployments: Deployments, client_id: str, container_id: str, state: str | None
) -> None:
    """Let a container enter a state; None leaves it as it is."""
    if state == "started":
        await deployments.start_container(client_id, container_id)
    elif state == "stopped":
        await deployments.stop_container(client_id, container_id)
    elif state == "restarted":
        await deployments.restart_container(client_id, container_id)


def _read_values(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the settings and secrets of a request's body, as far as they are in it."""
    given = {name: fields[name] for name in _VALUES if fields.get(name) is not None}
    for name, values in given.items():
        if not isinstance(values, dict):
            raise Problem(HTTPStatus.BAD_REQUEST, f"cannot read container: {name} is not an object")
    return given


def _read_container(
    fields: dict[str, Any], limits: ServiceLimits
) -> tuple[str, str, dict[str, str]]:
    """Return name, image and env of a request's body."""
    name, image = fields.get("name"), fields.get("image")
    if not isinstance(name, str) or not isinstance(image, str):
        raise Problem(HTTPStatus.BAD_REQUEST, "cannot read container: needs texts name and image")
    return name, image, check_env(fields.get("env") or {}, limits)


def check_env(env: Any, limits: ServiceLimits) -> dict[str, str]:
    """Return the env of a request; Problem when it cannot be one."""
    if not isinstance(env, dict) or not all(isinstance(v, str) for v in env.values()):
        raise Problem(HTTPStatus.BAD_REQUEST, "cannot read container: env must hold texts")
    size = sum(len(key) + len(value) for key, value in env.items())
    if len(env) > limits.env_keys or size > limits.env_bytes:
        raise Problem(HTTPStatus.BAD_REQUEST, "cannot read container: env is too long")
    return env


def _read_changes(
    fields: dict[str, Any], limits: ServiceLimits
) -> tuple[str | None, str | None, dict[str, str] | None]:
    """Return the state, the image and the env to change; None for what stays."""
    state, image, env = fields.get("state"), fields.get("image"), fields.get("env")
    if not {"state", "image", "env", *_VALUES} & set(fields) or state not in (None, *STATES):
        raise Problem(
            HTTPStatus.BAD_REQUEST,
            'cannot read container: needs {"state": "started", "stopped" or "restarted"}, '
            '{"image": …}, {"env": {…}}, {"settings": {…}} or {"secrets": {…}}',
        )
    if not isinstance(image, str | None):
        raise Problem(HTTPStatus.BAD_REQUEST, "cannot read container: image must be a text")
    return state, image, None if env is None else check_env(env, limits)
