"""Looks at the camera of another node: thumbnails through the SEP, the stream through a BEP."""

from microservice import CallAnswer, HttpError, OutboundError, Request, Response, Service

CAMERA = "api-camera"  # <client id>-<name> of the service that is called
FRAME_HEAD = b"content-type: image/png"

service = Service()


@service.get("/thumbnail")
async def thumbnail(request: Request) -> Response:
    """Answer the camera's present picture; ?node=ID names one of several."""
    answer = await call_camera("/thumbnail", request.query.get("node", ""))
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
    answer = await call_camera(f"/bep?hmac={code}", node)
    return str(answer.json()["href"])


async def call_camera(path: str, node: str) -> CallAnswer:
    """Return the answer of the camera on a node, or on the nearest that has one."""
    try:
        answer = await service.call(CAMERA, path, node=node)
    except OutboundError as exc:
        raise HttpError(502, str(exc)) from exc
    if answer.status != 200:
        raise HttpError(answer.status, f"cannot use camera: {answer.text}")
    return answer
