"""Serves /mcm/v1/images: the list of images, uploads, deletion, and archives for other nodes."""

import asyncio
import re
import time
from collections import OrderedDict
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from gateway.http.parameters import PathText, QueryFlag
from gateway.http.problems import Problem
from gateway.http.routes import ANY, ApiRoute, Operation
from gateway.services.api.calls import PREFIX, TAG, McmAccess, errors_as_problems, mcm_route
from gateway.services.api.uploads import ImageUploads
from gateway.services.deployments import Deployments
from gateway.services.images.catalogue import StoredImage
from gateway.services.images.signature import describe_signers

if TYPE_CHECKING:  # few gateways send images
    from gateway.services.images.tarball import Tarball

TARBALLS_KEPT = 2  # of the list of parts, between the requests for ranges of one archive
WITH_CODE = ""  # the client id of a caller with a code

_RANGE = re.compile(r"bytes=(\d{1,12})-(\d{0,12})")
_IMAGE_ID = PathText("image_id")
_FORM = {
    "type": "object",
    "required": ["image"],
    "properties": {"image": {"type": "string", "format": "binary"}},
}
_LIST = Operation(TAG, "Get Images", answer=ANY)
_STORE_ONLY = QueryFlag("storeOnly")
_UPLOAD = Operation(
    TAG,
    "Post Image",
    "Takes a form with the part `image`, the archive itself, or JSON with `base64Image` or `url`. "
    "The containers that run the image take it at once, unless it is only to be stored.",
    parameters=(_STORE_ONLY,),
    body=("multipart/form-data", _FORM),
    status=HTTPStatus.CREATED,
    answer=ANY,
)
_SHOW = Operation(TAG, "Get Image", parameters=(_IMAGE_ID,), answer=ANY)
_PACK = Operation(
    TAG,
    "Get Image Tarball",
    "Needs the rights of the image's client, or `?hmac=` with a code from getEdgeHmacCode.",
    parameters=(_IMAGE_ID,),
)
_DELETE = Operation(TAG, "Delete Image", parameters=(_IMAGE_ID,), answer=ANY)


def image_routes(
    deployments: Deployments, uploads: ImageUploads, access: McmAccess
) -> list[ApiRoute]:
    """Return the routes about images."""
    tarballs = _Tarballs(deployments)

    async def get_images(_request: Request, client_id: str) -> Response:
        return JSONResponse({"data": [image_fields(i) for i in deployments.images(client_id)]})

    async def post_image(request: Request, client_id: str) -> Response:
        store_only = _STORE_ONLY.read(request)
        async with uploads.receive(request) as archive:
            stored = await deployments.put_image(
                client_id, archive, time.time(), store_only=store_only
            )
        return JSONResponse(image_fields(stored), HTTPStatus.CREATED)

    async def get_image(request: Request, client_id: str) -> Response:
        with errors_as_problems():
            return JSONResponse(image_fields(deployments.image(_IMAGE_ID.read(request), client_id)))

    async def delete_image(request: Request, client_id: str) -> Response:
        with errors_as_problems():
            deleted = await deployments.delete_image(client_id, _IMAGE_ID.read(request))
        return JSONResponse(image_fields(deleted))

    async def reader(request: Request) -> str:
        codes = request.query_params.getlist("hmac")
        if len(codes) != 1:
            return await access.client(request)
        access.code(codes[0], tarball_path(_IMAGE_ID.read(request)))
        return WITH_CODE

    async def get_image_tarball(request: Request, client_id: str) -> Response:
        with errors_as_problems():
            image = deployments.image(_IMAGE_ID.read(request), client_id or None)
            tarball = await tarballs.get(image)
        return _send_range(tarball, image, request.headers.get("range", ""))

    client, one = access.client, f"{PREFIX}/images/{{image_id}}"
    return [
        mcm_route(f"GET {PREFIX}/images", client, get_images, _LIST),
        mcm_route(f"POST {PREFIX}/images", client, post_image, _UPLOAD),
        mcm_route(f"GET {one}", client, get_image, _SHOW),
        mcm_route(f"DELETE {one}", client, delete_image, _DELETE),
        mcm_route(f"GET {one}/tarball", reader, get_image_tarball, _PACK),
    ]


def tarball_path(image_id: str) -> str:
    """Return the path of an image's archive, which is also the operation of its codes."""
    return f"{PREFIX}/images/{image_id}/tarball"


def image_fields(image: StoredImage) -> dict[str, Any]:
    """Return an image as the API shows it; created is in seconds, that of containers is not."""
    return {
        "id": image.image_id,
        "name": image.name,
        "repoTags": list(image.repo_tags),
        "digest": image.digest,
        "created": int(image.created),
        "size": image.size,
        "signedBy": describe_signers(image.signature),
    }


class _Tarballs:
    """The archives that were read last."""

    def __init__(self, deployments: Deployments) -> None:
        self._deployments = deployments
        self._kept: OrderedDict[StoredImage, Tarball] = OrderedDict()

    async def get(self, image: StoredImage) -> "Tarball":
        """Return the archive of an image; ImageError when it cannot be read."""
        from gateway.services.images.tarball import pack_stored

        tarball = self._kept.get(image)
        if tarball is None:
            folder = self._deployments.content(image)
            tarball = await asyncio.to_thread(pack_stored, image, folder)
        self._kept[image] = tarball
        self._kept.move_to_end(image)
        while len(self._kept) > TARBALLS_KEPT:
            self._kept.popitem(last=False)
        return tarball


def _send_range(tarball: "Tarball", image: StoredImage, wanted: str) -> Response:
    headers = {
        "Accept-Ranges": "bytes",
        "Content-Disposition": f'attachment; filename="{image.name}.tar"',
        "ETag": f'"{image.digest}-{tarball.size}"',
    }
    start, end, status = 0, tarball.size, HTTPStatus.OK
    match = _RANGE.fullmatch(wanted.strip())
    if match is not None:  # other forms are ignored, as RFC 9110, 14.2, allows
        start = int(match[1])
        end = min(int(match[2]) + 1 if match[2] else end, end)
        if start >= end:
            raise Problem(
                HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
                f"cannot send range: the archive has {tarball.size} bytes",
                {"Content-Range": f"bytes */{tarball.size}"},
            )
        status = HTTPStatus.PARTIAL_CONTENT
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{tarball.size}"
    headers["Content-Length"] = str(end - start)
    return StreamingResponse(tarball.read(start, end), status, headers, "application/x-tar")
