"""Simulates a camera: publishes small pictures, and streams large ones on request."""

import asyncio
from collections.abc import AsyncIterator

from picture import draw

from microservice import HttpError, Request, Response, Service

THUMBNAIL, FRAME = (160, 120), (640, 480)  # about 20 KB and 300 KB
FRAMES_LIMIT = 1_000_000
BOUNDARY = "frame"

service = Service()
sent = service.counter("camera_frames", "Large pictures sent")


@service.get("/thumbnail")
async def thumbnail(_: Request) -> Response:
    """Answer the present picture, small enough for the SEP."""
    return Response(draw(frame_number(), *THUMBNAIL), headers={"content-type": "image/png"})


@service.get("/stream")
async def stream(request: Request) -> Response:
    """Stream large pictures, as browsers show them; ?frames=N ends after N."""
    text = request.query.get("frames", str(FRAMES_LIMIT))
    if not text.isdecimal() or not 0 < int(text) <= FRAMES_LIMIT:
        raise HttpError(400, f"cannot stream: frames must be 1 to {FRAMES_LIMIT}")
    kind = f"multipart/x-mixed-replace; boundary={BOUNDARY}"
    return Response(frames(int(text)), headers={"content-type": kind})


async def frames(count: int) -> AsyncIterator[bytes]:
    """Yield pictures in their parts; a viewer that takes them slowly gets fewer per second."""
    for _ in range(count):
        picture = await asyncio.to_thread(draw, frame_number(), *FRAME)
        head = f"--{BOUNDARY}\r\ncontent-type: image/png\r\ncontent-length: {len(picture)}"
        yield f"{head}\r\n\r\n".encode() + picture + b"\r\n"
        sent.add()
        await asyncio.sleep(1 / service.settings["frames_per_s"])
    yield f"--{BOUNDARY}--\r\n".encode()


def frame_number() -> int:
    """Return the number of the present picture: two a second."""
    return int(service.now() * 2)
