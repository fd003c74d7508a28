"""Collects the rooms of all nodes of the account: calls the service climate of each by its type."""

import asyncio

from microservice import HttpError, OutboundError, Request, Service

CLIMATE = "api-climate"  # <client id>-<name>
TIMEOUT_S = 10

service = Service()


@service.get("/rooms/{room}")
async def one_room(request: Request) -> object:
    """Answer a room of the nearest node that has climate: this one, else another."""
    answer = await service.call(CLIMATE, f"/rooms/{request['room']}", timeout=TIMEOUT_S)
    if answer.status != 200:
        raise HttpError(answer.status, f"cannot find room {request['room']}")
    return answer.json()


@service.get("/rooms")
async def all_rooms(_: Request) -> dict[str, object]:
    """Answer the rooms of every node; one that does not answer is named, and delays nobody."""
    async with service.http.request("GET", "/mds/v1/nodes?clusters=account") as response:
        nodes = (await response.json())["data"]
    offering = [
        node for node in nodes if any(s["serviceType"] == CLIMATE for s in node["services"])
    ]
    parts = await asyncio.gather(*(rooms_of(node["id"]) for node in offering))
    names = (f"{node['name']} ({node['id'][:8]})" for node in offering)
    return {"nodes": dict(zip(names, parts, strict=True))}


async def rooms_of(node: str) -> object:
    """Return the rooms of a node, or why there are none."""
    try:
        answer = await service.call(CLIMATE, "/rooms", node=node, timeout=TIMEOUT_S)
    except OutboundError as exc:
        return {"error": str(exc)}
    return answer.json()["data"] if answer.status == 200 else {"error": f"HTTP {answer.status}"}
