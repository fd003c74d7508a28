"""The mCM API: /mcm/v1/images and /mcm/v1/containers."""

import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from gateway.http.problems import Problem
from gateway.services.deployments import BASE_KEY, Deployed, Deployments
from gateway.services.errors import (
    ConflictError,
    DeployError,
    ImageSizeError,
    NotFoundError,
    ServicesError,
    StorageError,
)
from gateway.services.images.catalogue import StoredImage
from gateway.services.limits import ServiceLimits
from gateway.services.log_api import add_log_route
from web import JsonError, parse_json

PREFIX = "/mcm/v1"
FORM_OVERHEAD_BYTES = 16 * 1024  # boundaries and other fields around the image
BODY_LIMIT_BYTES = 128 * 1024  # of a container's JSON

_STATUS = {
    NotFoundError: HTTPStatus.NOT_FOUND,
    ConflictError: HTTPStatus.CONFLICT,
    DeployError: HTTPStatus.UNPROCESSABLE_ENTITY,
    ImageSizeError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    StorageError: HTTPStatus.INSUFFICIENT_STORAGE,
}
_IMAGE_FORM = {
    "requestBody": {
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["image"],
                    "properties": {"image": {"type": "string", "format": "binary"}},
                }
            }
        }
    }
}
_CONTAINER_JSON = {
    "requestBody": {
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["name", "image"],
                    "properties": {
                        "name": {"type": "string"},
                        "image": {"type": "string"},
                        "env": {"type": "object", "additionalProperties": {"type": "string"}},
                    },
                }
            }
        }
    }
}


_STATE_JSON = {
    "requestBody": {
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["state"],
                    "properties": {
                        "state": {"type": "string", "enum": ["started", "stopped", "restarted"]}
                    },
                }
            }
        }
    }
}


def make_router(
    deployments: Deployments, limits: ServiceLimits, client_id_of: Callable[..., Any]
) -> APIRouter:
    """Return the routes; client_id_of is a dependency that says whose request it is, or raises."""
    router = APIRouter(prefix=PREFIX, tags=["microservices"])
    _add_image_routes(router, deployments, limits, client_id_of)
    _add_container_routes(router, deployments, limits, client_id_of)
    add_log_route(router, deployments, limits, client_id_of)
    return router


def _add_image_routes(
    router: APIRouter,
    deployments: Deployments,
    limits: ServiceLimits,
    client_id_of: Callable[..., Any],
) -> None:
    client = Annotated[str, Depends(client_id_of)]

    @router.get("/images")
    async def get_images(client_id: client) -> JSONResponse:
        return JSONResponse({"data": [_image(i) for i in deployments.images(client_id)]})

    @router.post("/images", openapi_extra=_IMAGE_FORM, status_code=HTTPStatus.CREATED)
    async def post_image(request: Request, client_id: client) -> JSONResponse:
        async with _upload(request, limits.image.upload_bytes) as upload:
            try:
                stored = await deployments.put_image(client_id, upload.file, time.time())
            except ServicesError as exc:
                raise _problem(exc) from exc
        return JSONResponse(_image(stored), HTTPStatus.CREATED)

    @router.delete("/images/{image_id}")
    async def delete_image(image_id: str, client_id: client) -> JSONResponse:
        try:
            return JSONResponse(_image(await deployments.delete_image(client_id, image_id)))
        except ServicesError as exc:
            raise _problem(exc) from exc


def _add_container_routes(
    router: APIRouter,
    deployments: Deployments,
    limits: ServiceLimits,
    client_id_of: Callable[..., Any],
) -> None:
    client = Annotated[str, Depends(client_id_of)]

    @router.get("/containers")
    async def get_containers(client_id: client) -> JSONResponse:
        return JSONResponse({"data": [_container(c) for c in deployments.containers(client_id)]})

    @router.post("/containers", openapi_extra=_CONTAINER_JSON, status_code=HTTPStatus.CREATED)
    async def post_container(request: Request, client_id: client) -> JSONResponse:
        name, image, env = await _container_request(request, limits)
        known = {one.stored.container_id for one in deployments.containers(client_id)}
        try:
            deployed = await deployments.put_container(client_id, name, image, env, time.time())
        except ServicesError as exc:
            raise _problem(exc) from exc
        is_new = deployed.stored.container_id not in known
        return JSONResponse(_container(deployed), HTTPStatus.CREATED if is_new else HTTPStatus.OK)

    @router.get("/containers/{container_id}")
    async def get_container(container_id: str, client_id: client) -> JSONResponse:
        try:
            return JSONResponse(_container(deployments.known(client_id, container_id)))
        except ServicesError as exc:
            raise _problem(exc) from exc

    @router.put("/containers/{container_id}", openapi_extra=_STATE_JSON)
    async def put_container(container_id: str, request: Request, client_id: client) -> JSONResponse:
        change = {
            "started": deployments.start_container,
            "stopped": deployments.stop_container,
            "restarted": deployments.restart_container,
        }[await _wanted_state(request)]
        try:
            return JSONResponse(_container(await change(client_id, container_id)))
        except ServicesError as exc:
            raise _problem(exc) from exc

    @router.delete("/containers/{container_id}")
    async def delete_container(container_id: str, client_id: client) -> JSONResponse:
        try:
            return JSONResponse(
                _container(await deployments.delete_container(client_id, container_id))
            )
        except ServicesError as exc:
            raise _problem(exc) from exc


def _image(image: StoredImage) -> dict[str, Any]:
    return {
        "id": image.image_id,
        "name": image.name,
        "repoTags": list(image.repo_tags),
        "digest": image.digest,
        "created": int(image.created),
        "size": image.size,
    }


def _container(deployed: Deployed) -> dict[str, Any]:
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
        "dropped": counts.dropped,
    }


@contextlib.asynccontextmanager
async def _upload(request: Request, limit_bytes: int) -> AsyncIterator[UploadFile]:
    """Lend the form's part "image" as a file on disk."""
    body = _bounded(request, limit_bytes + FORM_OVERHEAD_BYTES)
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise Problem(HTTPStatus.BAD_REQUEST, "no image received: needs a multipart form")
    try:
        form = await MultiPartParser(request.headers, body, max_files=1, max_fields=8).parse()
    except (MultiPartException, KeyError) as exc:
        raise Problem(HTTPStatus.BAD_REQUEST, f"cannot read form: {exc}") from exc
    except OSError as exc:  # what is uploaded goes to a temporary file
        why = f"cannot store image: {exc.strerror or exc}"
        raise Problem(HTTPStatus.INSUFFICIENT_STORAGE, why) from exc
    part = form.get("image")
    if not isinstance(part, UploadFile):
        raise Problem(HTTPStatus.BAD_REQUEST, "no image received: needs a form part 'image'")
    try:
        yield part
    finally:
        await part.close()


async def _bounded(request: Request, limit_bytes: int) -> AsyncGenerator[bytes, None]:
    total = 0
    async for chunk in request.stream():
        total += len(chunk)
        if total > limit_bytes:
            raise Problem(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"cannot read body: over {limit_bytes} bytes"
            )
        yield chunk


async def _container_request(
    request: Request, limits: ServiceLimits
) -> tuple[str, str, dict[str, str]]:
    """Return name, image and env of a request's body."""
    fields = await _container_fields(request)
    name, image, env = fields.get("name"), fields.get("image"), fields.get("env") or {}
    if not isinstance(name, str) or not isinstance(image, str):
        raise Problem(HTTPStatus.BAD_REQUEST, "cannot read container: needs texts name and image")
    if not isinstance(env, dict) or not all(isinstance(v, str) for v in env.values()):
        raise Problem(HTTPStatus.BAD_REQUEST, "cannot read container: env must hold texts")
    size = sum(len(key) + len(value) for key, value in env.items())
    if len(env) > limits.env_keys or size > limits.env_bytes:
        raise Problem(HTTPStatus.BAD_REQUEST, "cannot read container: env is too long")
    return name, image, env


async def _wanted_state(request: Request) -> str:
    state = (await _container_fields(request)).get("state")
    if state not in ("started", "stopped", "restarted"):
        raise Problem(
            HTTPStatus.BAD_REQUEST,
            'cannot read container: needs {"state": "started", "stopped" or "restarted"}',
        )
    return str(state)


async def _container_fields(request: Request) -> dict[str, Any]:
    """Return the object in a JSON body, whatever its content type says."""
    body = b"".join([chunk async for chunk in _bounded(request, BODY_LIMIT_BYTES)])
    try:
        fields = parse_json(body)
    except JsonError as exc:
        raise Problem(HTTPStatus.BAD_REQUEST, f"cannot read container: {exc}") from exc
    if not isinstance(fields, dict):
        raise Problem(HTTPStatus.BAD_REQUEST, "cannot read container: not an object")
    return fields


def _problem(exc: ServicesError) -> Problem:
    status = _STATUS.get(type(exc), HTTPStatus.BAD_REQUEST)
    return Problem(status, str(exc))
