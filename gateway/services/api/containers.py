"""Serves /mcm/v1/containers: the list of containers, deployment, start and stop, deletion."""

import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.http.parameters import PathText
from gateway.http.problems import Problem
from gateway.http.routes import ANY, ApiRoute, Operation, make_route
from gateway.services.api.calls import PREFIX, TAG, ClientCheck, errors_as_problems, read_object
from gateway.services.deployments import BASE_KEY, Deployed, Deployments
from gateway.services.limits import ServiceLimits
from gateway.services.messages import ContainerMessages

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
_STATE = {
    "type": "object",
    "properties": {
        "state": {"type": "string", "enum": ["started", "stopped", "restarted"]},
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
    body=("application/json", _STATE),
    answer=ANY,
)
_DELETE = Operation(TAG, "Delete Container", parameters=(_CONTAINER_ID,), answer=ANY)


def container_routes(
    deployments: Deployments,
    messages: Callable[[str], ContainerMessages],
    limits: ServiceLimits,
    check: ClientCheck,
) -> list[ApiRoute]:
    """Return the routes about containers."""

    def fields_of(deployed: Deployed) -> dict[str, Any]:
        fields = _fields(deployed, messages(deployed.stored.container_id))
        return fields | _value_fields(deployed, deployments)

    async def get_containers(_request: Request, client_id: str) -> Response:
        return JSONResponse({"data": [fields_of(c) for c in deployments.containers(client_id)]})

    async def post_container(request: Request, client_id: str) -> Response:
        fields = await read_object(request)
        name, image, env = _read_container(fields, limits)
        given = _read_values(fields)
        known = {one.stored.container_id for one in deployments.containers(client_id)}
        with errors_as_problems():
            deployed = await deployments.put_container(
                client_id, name, image, env, time.time(), given
            )
        is_new = deployed.stored.container_id not in known
        return JSONResponse(fields_of(deployed), HTTPStatus.CREATED if is_new else HTTPStatus.OK)

    async def get_container(request: Request, client_id: str) -> Response:
        with errors_as_problems():
            deployed = deployments.known(client_id, _CONTAINER_ID.read(request))
        return JSONResponse(fields_of(deployed))

    async def put_container(request: Request, client_id: str) -> Response:
        fields, container_id = await read_object(request), _CONTAINER_ID.read(request)
        given = _read_values(fields)
        with errors_as_problems():
            if given:
                changed = await deployments.change_values(client_id, container_id, given)
            if "state" in fields or not given:
                change = {
                    "started": deployments.start_container,
                    "stopped": deployments.stop_container,
                    "restarted": deployments.restart_container,
                }[_read_state(fields)]
                changed = await change(client_id, container_id)
        return JSONResponse(fields_of(changed))

    async def delete_container(request: Request, client_id: str) -> Response:
        with errors_as_problems():
            deleted = await deployments.delete_container(client_id, _CONTAINER_ID.read(request))
        return JSONResponse(fields_of(deleted))

    one = f"{PREFIX}/containers/{{container_id}}"
    return [
        make_route(f"GET {PREFIX}/containers", check, get_containers, _LIST),
        make_route(f"POST {PREFIX}/containers", check, post_container, _DEPLOY),
        make_route(f"GET {one}", check, get_container, _SHOW),
        make_route(f"PUT {one}", check, put_container, _CHANGE),
        make_route(f"DELETE {one}", check, delete_container, _DELETE),
    ]


def _fields(deployed: Deployed, messages: ContainerMessages) -> dict[str, Any]:
    stored, supervisor = deployed.stored, deployed.supervisor
    counts, last_end = supervisor.counts, supervisor.last_end
    return {
        "id": stored.container_id,
        "clientId": stored.client_id,
        "name": stored.name,
        "image": stored.image_id.removeprefix(f"{stored.client_id}-"),
        "imageId": stored.image_id,
        "created": int(stored.created * 1000),
        "env": dict(stored.env) | {BASE_KEY: supervisor.version.base},
        "state": supervisor.state.value,
        "error": supervisor.error,
        "startedAt": int(supervisor.started_at * 1000),
        "restarts": supervisor.restarts,
        "lastEnd": {"reason": last_end.reason, "at": int(last_end.at * 1000)},
        "handled": counts.handled,
        "failed": counts.failed,
        "dropped": counts.dropped + messages.dropped,
        "retried": counts.retried,
        "overdue": counts.overdue,
        "messages": {
            "waiting": messages.waiting,
            "inFlight": messages.in_flight,
            "held": messages.held,
            "flow": messages.flow,
        },
        "deadLetters": {"kept": messages.dead_letters, "dropped": messages.dead_letters_dropped},
    }


def _value_fields(deployed: Deployed, deployments: Deployments) -> dict[str, Any]:
    """Return the settings that a container has, and the names of the secrets that it was given."""
    manifest = deployed.supervisor.version.manifest
    given = deployments.given_values(deployed.stored.container_id)
    settings = {n: given.settings.get(n, spec.default) for n, spec in manifest.settings.items()}
    return {"settings": settings, "secrets": sorted(given.secrets)}


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
    name, image, env = fields.get("name"), fields.get("image"), fields.get("env") or {}
    if not isinstance(name, str) or not isinstance(image, str):
        raise Problem(HTTPStatus.BAD_REQUEST, "cannot read container: needs texts name and image")
    if not isinstance(env, dict) or not all(isinstance(v, str) for v in env.values()):
        raise Problem(HTTPStatus.BAD_REQUEST, "cannot read container: env must hold texts")
    size = sum(len(key) + len(value) for key, value in env.items())
    if len(env) > limits.env_keys or size > limits.env_bytes:
        raise Problem(HTTPStatus.BAD_REQUEST, "cannot read container: env is too long")
    return name, image, env


def _read_state(fields: dict[str, Any]) -> str:
    state = fields.get("state")
    if state not in ("started", "stopped", "restarted"):
        raise Problem(
            HTTPStatus.BAD_REQUEST,
            'cannot read container: needs {"state": "started", "stopped" or "restarted"}',
        )
    return str(state)
