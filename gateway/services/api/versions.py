"""Serves /mcm/v1/containers/{id}/versions and …/rollback."""

from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.http.parameters import PathText
from gateway.http.problems import Problem
from gateway.http.routes import ANY, ApiRoute, Operation, make_route
from gateway.services.api.calls import PREFIX, TAG, ClientCheck, errors_as_problems, read_object
from gateway.services.api.description import Describe
from gateway.services.deployments import Deployed, Deployments
from gateway.services.versions.history import StoredVersion

_CONTAINER_ID = PathText("container_id")
_ROLLBACK = {"type": "object", "properties": {"version": {"type": "integer", "minimum": 1}}}
_LIST = Operation(TAG, "Get Versions", parameters=(_CONTAINER_ID,), answer=ANY)
_ROLL_BACK = Operation(
    TAG,
    "Post Rollback",
    "Run a former version again: the one before, or the one with a number.",
    parameters=(_CONTAINER_ID,),
    body=("application/json", _ROLLBACK),
    answer=ANY,
)


def version_routes(
    deployments: Deployments, describe: Describe, check: ClientCheck
) -> list[ApiRoute]:
    """Return the routes about the versions of a container."""

    async def get_versions(request: Request, client_id: str) -> Response:
        with errors_as_problems():
            deployed = deployments.table.known(client_id, _CONTAINER_ID.read(request))
        versions = [_fields(deployed, version) for version in deployed.history.all()]
        return JSONResponse({"data": versions})

    async def post_rollback(request: Request, client_id: str) -> Response:
        number = await _read_number(request)
        with errors_as_problems():
            container_id = _CONTAINER_ID.read(request)
            deployed = await deployments.roll_back(client_id, container_id, number)
        return JSONResponse(describe(deployed))

    one = f"{PREFIX}/containers/{{container_id}}"
    return [
        make_route(f"GET {one}/versions", check, get_versions, _LIST),
        make_route(f"POST {one}/rollback", check, post_rollback, _ROLL_BACK),
    ]


def _fields(deployed: Deployed, version: StoredVersion) -> dict[str, Any]:
    return {
        "version": version.number,
        "state": version.state.value,
        "good": version.good,
        "image": version.image_id.removeprefix(f"{deployed.stored.client_id}-"),
        "imageId": version.image_id,
        "digest": version.digest,
        "env": dict(version.env),
        "created": int(version.created * 1000),
        "ended": int(version.ended * 1000),
        "error": version.error,
    }


async def _read_number(request: Request) -> int | None:
    """Return the version of a request's body; None without one."""
    fields = await read_object(request, "rollback", empty={})
    number = fields.get("version")
    if number is None:
        return None
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise Problem(
            HTTPStatus.BAD_REQUEST, "cannot read rollback: version must be a whole number from 1"
        )
    return number
