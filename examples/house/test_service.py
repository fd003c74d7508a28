"""Tests of house; `pytest examples/house` runs them without a gateway and other nodes."""

import asyncio

from service import service

ATTIC = {"room": "attic", "value": 70.7, "unit": "°F"}


def node(name):
    offered = [{"serviceType": "api-climate", "self": "/api/climate/v1"}]
    return {"id": name * 8, "name": name, "services": offered}


def test_the_rooms_of_all_nodes_are_collected():
    async def main():
        async with service.test() as t:
            other = {"id": "x", "name": "x", "services": []}
            nodes = {"data": [node("barn"), node("shed"), other]}
            t.answer("/mds/v1/nodes?clusters=account", nodes)
            t.answer("api-climate/rooms", {"data": [ATTIC]}, node="barn" * 8)
            answer = (await t.get("/rooms")).json()["nodes"]
            assert answer["barn (barnbarn)"] == [ATTIC]
            assert "cannot reach" in answer["shed (shedshed)"]["error"]

    asyncio.run(main())


def test_a_room_is_asked_of_the_nearest_node():
    async def main():
        async with service.test() as t:
            t.answer("api-climate/rooms/attic", ATTIC)
            t.answer("api-climate/rooms/cellar", {}, status=404)
            assert (await t.get("/rooms/attic")).json() == ATTIC
            assert (await t.get("/rooms/cellar")).status == 404

    asyncio.run(main())
