"""Serves /mcm/v1/containers: the list of containers, deployment, start and stop, deletion."""

import time
from collections.abc import Callable
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
from gateway.services.deployments import BASE_KEY, Deployed, Deployments
from gateway.services.images.catalogue import StoredContainer
from gateway.services.limits import ServiceLimits
from gateway.services.messages import ContainerMessages

_CONTAINER_ID = PathText("container_id")
_CONTAINER = {
    "type": "object",
    "required": ["name", "image"],
    "properties": {
        "name": {"type": "string"},
        "image": {"type": "string"},
        "env": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}
STATES = ("started", "stopped", "restarted")
_CHANGES = {
    "type": "object",
    "properties": {
        "state": {"type": "string", "enum": list(STATES)},
        "image": {"type": "string"},
        "env": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}
_FOREIGN_DEFAULTS = {"MCM.WEBSOCKET_SUPPORT": "false", "MCM.DB_ENCRYPTION_SUPPORT": "false"}
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
    messages: Callable[[str], ContainerMessages],
    limits: ServiceLimits,
    access: McmAccess,
    noun: str,
) -> list[ApiRoute]:
    """Return the routes about containers; others call them mims: the noun is part of the path."""

    def fields(deployed: Deployed) -> dict[str, Any]:
        return container_fields(deployed, messages(deployed.stored.container_id))

    async def get_containers(_request: Request, client_id: str) -> Response:
        return JSONResponse({"data": [fields(c) for c in deployments.containers(client_id)]})

    async def post_container(request: Request, client_id: str) -> Response:
        body = await read_object(request)
        name, image, env = _read_container(body, limits)
        if "clientId" in body:
            client_id = await access.named(request, str(body["clientId"]))
        known = {one.stored.container_id for one in deployments.containers(client_id)}
        with errors_as_problems():
            deployed = await deployments.put_container(client_id, name, image, env, time.time())
        is_new = deployed.stored.container_id not in known
        return JSONResponse(fields(deployed), HTTPStatus.CREATED if is_new else HTTPStatus.OK)

    async def get_container(request: Request, client_id: str) -> Response:
        with errors_as_problems():
            deployed = deployments.known(client_id, _CONTAINER_ID.read(request))
        return JSONResponse(fields(deployed))

    async def put_container(request: Request, client_id: str) -> Response:
        state, image, env = await _read_changes(request, limits)
        container_id = _CONTAINER_ID.read(request)
        with errors_as_problems():
            if image is not None or env is not None:
                await deployments.change_container(client_id, container_id, image, env)
            await _enter(deployments, client_id, container_id, state)
            changed = deployments.known(client_id, container_id)
        return JSONResponse(fields(changed))

    async def delete_container(request: Request, client_id: str) -> Response:
        with errors_as_problems():
            deleted = await deployments.delete_container(client_id, _CONTAINER_ID.read(request))
        return JSONResponse(fields(deleted))

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


def container_fields(deployed: Deployed, messages: ContainerMessages) -> dict[str, Any]:
    """Return the container object of the API."""
    stored, supervisor = deployed.stored, deployed.supervisor
    counts, last_end, history = supervisor.counts, supervisor.last_end, deployed.history
    running, waiting = history.running, history.waiting
    return {
        "id": stored.container_id,
        "clientId": stored.client_id,
        "name": stored.name,
        "image": stored.image_id.removeprefix(f"{stored.client_id}-"),
        "imageId": stored.image_id,
        "created": int(stored.created * 1000),
        "env": _echoed_env(stored, supervisor.version.base),
        "state": supervisor.state.value,
        "error": supervisor.error,
        "version": running.number if running else 0,
        "waiting": waiting.number if waiting else 0,
        "note": history.note,
        "startedAt": int(supervisor.started_at * 1000),
        "restarts": supervisor.restarts,
        "nextTry": int(supervisor.next_try * 1000),
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


def _echoed_env(stored: StoredContainer, base: str) -> dict[str, str]:
    """Return the environment as known clients expect it back: the base with the client id."""
    defaults = dict(_FOREIGN_DEFAULTS) if stored.runtime != "python" else {}
    if defaults:
        defaults["MCM.RUNTIME"] = stored.runtime
    return defaults | dict(stored.env) | {BASE_KEY: base}


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


async def _read_changes(
    request: Request, limits: ServiceLimits
) -> tuple[str | None, str | None, dict[str, str] | None]:
    """Return the state, the image and the env to change; None for what stays."""
    fields = await read_object(request)
    state, image, env = fields.get("state"), fields.get("image"), fields.get("env")
    if not {"state", "image", "env"} & set(fields) or state not in (None, *STATES):
        raise Problem(
            HTTPStatus.BAD_REQUEST,
            'cannot read container: needs {"state": "started", "stopped" or "restarted"}, '
            '{"image": …} or {"env": {…}}',
        )
    if not isinstance(image, str | None):
        raise Problem(HTTPStatus.BAD_REQUEST, "cannot read container: image must be a text")
    return state, image, None if env is None else check_env(env, limits)
