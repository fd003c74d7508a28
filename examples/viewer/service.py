"""Looks at the camera of another node: thumbnails through the SEP, the stream through a BEP."""

from microservice import HttpError, Request, Response, Service

CAMERA = "api-camera"  # <client id>-<name> of the service that is called
FRAME_HEAD = b"content-type: image/png"

service = Service()


@service.get("/thumbnail")
async def thumbnail(request: Request) -> Response:
    """Answer the camera's present picture; ?node=ID names one of several."""
    answer = await service.call(CAMERA, "/thumbnail", node=request.query.get("node", ""))
    if answer.status != 200:
        raise HttpError(502, f"cannot show picture: the camera answers {answer.status}")
    return Response(answer.body, headers={"content-type": answer.headers["content-type"]})


@service.get("/measure")
async def measure(request: Request) -> dict[str, object]:
    """Read ?frames= of the stream through a BEP, opened with ?code=; answer what came."""
    url = await open_bep(request.query.get("code", ""), request.query.get("node", ""))
    frames, size, window = 0, 0, b""
    path = f"/api/camera/v1/stream?frames={request.query.get('frames', '20')}"
    async with service.http.request("GET", url + path) as response:
        if response.status != 200:
            raise HttpError(502, f"cannot watch: the camera answers {response.status}")
        async for piece in response:  # never the whole of it in memory
            size += len(piece)
            window = window[1 - len(FRAME_HEAD) :] + piece  # a head may lie in two pieces
            frames += window.count(FRAME_HEAD)
    return {"frames": frames, "bytes": size}


async def open_bep(code: str, node: str) -> str:
    """Return the URL of a tunnel to the node of the camera; it takes any amount of bytes."""
    answer = await service.call(CAMERA, f"/bep?hmac={code}", node=node)
    if answer.status != 200:
        raise HttpError(answer.status, f"cannot open BEP: {answer.text}")
    return str(answer.json()["href"])
