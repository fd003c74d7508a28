"""Serves /mcm/v1/images: the list of images, uploads, deletion."""

import contextlib
import time
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.http.body import stream_body
from gateway.http.parameters import PathText
from gateway.http.problems import Problem
from gateway.http.routes import ANY, ApiRoute, Operation, make_route
from gateway.services.api.calls import PREFIX, TAG, ClientCheck, errors_as_problems
from gateway.services.deployments import Deployments
from gateway.services.images.catalogue import StoredImage
from gateway.services.limits import ServiceLimits

if TYPE_CHECKING:  # only an upload needs it in memory
    from starlette.datastructures import UploadFile

FORM_OVERHEAD_BYTES = 16 * 1024  # boundaries and other fields around the image

_IMAGE_ID = PathText("image_id")
_FORM = {
    "type": "object",
    "required": ["image"],
    "properties": {"image": {"type": "string", "format": "binary"}},
}
_LIST = Operation(TAG, "Get Images", answer=ANY)
_UPLOAD = Operation(
    TAG,
    "Post Image",
    body=("multipart/form-data", _FORM),
    status=HTTPStatus.CREATED,
    answer=ANY,
)
_DELETE = Operation(TAG, "Delete Image", parameters=(_IMAGE_ID,), answer=ANY)


def image_routes(
    deployments: Deployments, limits: ServiceLimits, check: ClientCheck
) -> list[ApiRoute]:
    """Return the routes about images."""

    async def get_images(_request: Request, client_id: str) -> Response:
        return JSONResponse({"data": [_fields(i) for i in deployments.images(client_id)]})

    async def post_image(request: Request, client_id: str) -> Response:
        async with _upload(request, limits.image.upload_bytes) as upload:
            with errors_as_problems():
                stored = await deployments.put_image(client_id, upload.file, time.time())
        return JSONResponse(_fields(stored), HTTPStatus.CREATED)

    async def delete_image(request: Request, client_id: str) -> Response:
        with errors_as_problems():
            deleted = await deployments.delete_image(client_id, _IMAGE_ID.read(request))
        return JSONResponse(_fields(deleted))

    return [
        make_route(f"GET {PREFIX}/images", check, get_images, _LIST),
        make_route(f"POST {PREFIX}/images", check, post_image, _UPLOAD),
        make_route(f"DELETE {PREFIX}/images/{{image_id}}", check, delete_image, _DELETE),
    ]


def _fields(image: StoredImage) -> dict[str, Any]:
    return {
        "id": image.image_id,
        "name": image.name,
        "repoTags": list(image.repo_tags),
        "digest": image.digest,
        "created": int(image.created),
        "size": image.size,
    }


@contextlib.asynccontextmanager
async def _upload(request: Request, limit_bytes: int) -> AsyncIterator["UploadFile"]:
    """Yield the form's part "image" as a file on disk."""
    from starlette.datastructures import UploadFile
    from starlette.formparsers import MultiPartException, MultiPartParser

    body = stream_body(request, limit_bytes + FORM_OVERHEAD_BYTES)
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise Problem(HTTPStatus.BAD_REQUEST, "no image received: needs a multipart form")
    try:
        form = await MultiPartParser(request.headers, body, max_files=1, max_fields=8).parse()
    except (MultiPartException, KeyError) as exc:
        raise Problem(HTTPStatus.BAD_REQUEST, f"cannot read form: {exc}") from exc
    except OSError as exc:  # an upload goes to a temporary file
        why = f"cannot store image: {exc.strerror or exc}"
        raise Problem(HTTPStatus.INSUFFICIENT_STORAGE, why) from exc
    part = form.get("image")
    if not isinstance(part, UploadFile):
        raise Problem(HTTPStatus.BAD_REQUEST, "no image received: needs a form part 'image'")
    try:
        yield part
    finally:
        await part.close()
