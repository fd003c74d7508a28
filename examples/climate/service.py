"""Rooms and their temperatures: from MQTT readings in Celsius to Fahrenheit, on MQTT and HTTP."""

import hashlib
from collections.abc import AsyncIterator

from microservice import HttpError, Message, Request, Response, Service

CHUNK = bytes(range(256)) * 256  # 64 KiB
BLOB_LIMIT_BYTES = 10**12

service = Service()
rooms: dict[str, dict[str, object]] = {}  # latest of each, as long as this process lives


@service.on("devices/{device}/readings/temperature")
async def convert(message: Message) -> None:
    """Publish a reading in Fahrenheit and keep it."""
    reading = message.json()
    latest = {"value": round(reading["value"] * 1.8 + 32, 2), "unit": "°F"}
    if "seq" in reading:
        latest["seq"] = reading["seq"]
    await service.publish(f"rooms/{message['device']}/fahrenheit", latest)
    rooms[message["device"]] = latest


@service.get("/rooms")
async def all_rooms(_: Request) -> dict[str, object]:
    """Answer the latest reading of every room."""
    return {"data": [{"room": room, **latest} for room, latest in rooms.items()]}


@service.get("/rooms/{room}")
async def one_room(request: Request) -> dict[str, object]:
    """Answer the latest reading of a room."""
    room = request["room"]
    if room not in rooms:
        raise HttpError(404, f"cannot find room {room}: no reading of it yet")
    return {"room": room, **rooms[room]}


@service.get("/blob/{size}")
async def blob(request: Request) -> Response:
    """Stream so many bytes: what a BEP is for."""
    if not request["size"].isdecimal() or int(request["size"]) > BLOB_LIMIT_BYTES:
        raise HttpError(400, "cannot send blob: its size must be a number of bytes")
    size = int(request["size"])
    return Response(pattern(size), headers={"content-length": str(size)})


@service.post("/echo")
async def echo(request: Request) -> Response | dict[str, object]:
    """Stream the body back; with ?digest answer its sha256 and size instead."""
    if "digest" not in request.query:
        kind = request.headers.get("content-type", "application/octet-stream")
        return Response(request.stream(), headers={"content-type": kind})
    digest, size = hashlib.sha256(), 0
    async for chunk in request.stream():
        digest.update(chunk)
        size += len(chunk)
    return {"sha256": digest.hexdigest(), "size": size}


async def pattern(size: int) -> AsyncIterator[bytes]:
    """Yield bytes that tell where they belong: 0 to 255, again and again."""
    while size > 0:
        yield CHUNK[:size]
        size -= len(CHUNK)
