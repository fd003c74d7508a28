"""The example, as a developer deploys it, with readings from an independent MQTT client."""

import asyncio
import hashlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

from tests.aio import until
from tests.integration.gateway.services.world import CLIMATE, Person, world, write_service

READINGS = "devices/attic/readings/temperature"
FAHRENHEIT = "rooms/attic/fahrenheit"


def test_readings_become_fahrenheit_on_mqtt_and_http(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            await here.deploy(CLIMATE, "climate")
            with Person(here.mqtt_port) as person:
                await person.subscribe("rooms/#")
                person.publish(READINGS, {"value": 21.5, "unit": "°C", "seq": 1})
                await until(lambda: person.got)
            assert person.got == [(FAHRENHEIT, {"value": 70.7, "unit": "°F", "seq": 1})]
            rooms = await here.http.get("/api/climate/v1/rooms")
            attic = await here.http.get("/api/climate/v1/rooms/attic")
            none = await here.http.get("/api/climate/v1/rooms/cellar")
            assert rooms.json() == {"data": [attic.json()]}
            assert attic.json() == {"room": "attic", "value": 70.7, "unit": "°F", "seq": 1}
            assert none.status_code == 404
            assert none.headers["content-type"] == "application/problem+json"
            await until(lambda: here.host.containers()[0].handled == 4)

    asyncio.run(run())


def test_no_reading_is_lost_when_its_process_is_killed(tmp_path: Path) -> None:
    count = 300

    async def run() -> None:
        async with world(tmp_path) as here:
            await here.deploy(CLIMATE, "climate")
            with Person(here.mqtt_port) as person:
                await person.subscribe("rooms/#")
                for seq in range(count):
                    person.publish(READINGS, {"value": seq, "seq": seq})
                    if seq in (100, 101, 200):
                        await until(lambda: here.is_running("api-climate"))
                        os.kill(here.pid("api-climate"), signal.SIGKILL)
                        await until(lambda: not here.is_running("api-climate"))
                    await asyncio.sleep(0.002)
                await until(lambda: set(person.seqs(FAHRENHEIT)) == set(range(count)), timeout_s=20)
                first = list(dict.fromkeys(person.seqs(FAHRENHEIT)))
                assert first == sorted(first), "out of order"

    asyncio.run(run())


def test_a_malformed_reading_blocks_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            await here.deploy(CLIMATE, "climate")
            with Person(here.mqtt_port) as person:
                await person.subscribe("rooms/#")
                person.publish(READINGS, "warm")
                person.publish(READINGS, {"value": 0, "seq": 2})
                await until(lambda: person.seqs(FAHRENHEIT) == [2])
            await until(lambda: here.host.containers()[0].failed == 1)
            await until(lambda: "Traceback" in here.log("api-climate"))
            assert f"cannot handle message on {READINGS} (try 3 of 3)" in here.log("api-climate")

    asyncio.run(run())


def test_bulk_goes_down_and_up_in_little_memory(tmp_path: Path) -> None:
    size = 100_000_000

    async def run() -> None:
        async with world(tmp_path) as here:
            await here.deploy(CLIMATE, "climate")
            pid = here.pid("api-climate")
            before = rss(os.getpid()), rss(pid)
            digest, received = hashlib.sha256(), 0
            async with here.http.stream("GET", f"/api/climate/v1/blob/{size}") as response:
                assert response.headers["content-length"] == str(size)
                async for chunk in response.aiter_raw():
                    digest.update(chunk)
                    received += len(chunk)
            assert received == size
            whole = hashlib.sha256((bytes(range(256)) * (size // 256 + 1))[:size]).hexdigest()
            assert digest.hexdigest() == whole
            echoed = await here.http.post("/api/climate/v1/echo?digest", content=pattern(size))
            assert echoed.json() == {"sha256": whole, "size": size}
            peak = rss_peak(pid)
            assert peak - before[1] < 16_000_000, "the service held the body"
            assert rss(os.getpid()) - before[0] < 64_000_000, "the gateway held the body"

    asyncio.run(run())


def test_a_body_is_echoed_while_it_is_still_being_sent(tmp_path: Path) -> None:
    size, piece = 20_000_000, bytes(range(250)) * 400

    async def run() -> None:
        async with world(tmp_path) as here:
            await here.deploy(CLIMATE, "climate")
            reader, writer = await asyncio.open_unix_connection(tmp_path / "api.sock")
            writer.write(
                b"POST /api/climate/v1/echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                b"Content-Length: %d\r\n\r\n" % size
            )

            async def send() -> None:
                for _ in range(size // len(piece)):
                    writer.write(piece)
                    await writer.drain()

            sending = asyncio.create_task(send())
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            received = 0
            while chunk := await reader.read(1_000_000):
                received += len(chunk)
            await sending
            writer.close()
            assert received > size  # the body and the lengths of its chunks

    asyncio.run(run())


STREAMS = """
sent = 0

@service.post("/slow")
async def slow(request):
    while not os.path.exists("go on"):
        await asyncio.sleep(0.01)
    return {"size": sum([len(chunk) async for chunk in request.stream()])}

@service.get("/flood")
async def flood(_):
    async def chunks():
        global sent
        while True:
            sent += 100_000
            yield bytes(100_000)
    return Response(chunks())

@service.get("/sent")
async def how_much(_): return {"sent": sent}
"""


def test_a_slow_side_slows_the_other(tmp_path: Path) -> None:
    size, read_ahead = 50_000_000, 8_000_000
    given = 0

    async def upload() -> AsyncIterator[bytes]:
        nonlocal given
        async for chunk in pattern(size):
            given += len(chunk)
            yield chunk

    async def run() -> None:
        async with world(tmp_path) as here:
            await here.deploy(write_service(tmp_path / "src", STREAMS), "probe")
            posting = asyncio.create_task(here.http.post("/api/probe/v1/slow", content=upload()))
            last = -1
            while last != given or not given:  # until it stands still
                last = given
                await asyncio.sleep(0.2)
            assert given < read_ahead
            (tmp_path / "state/containers/api-probe/data/go on").touch(0o644)
            assert (await posting).json() == {"size": size}
            async with here.http.stream("GET", "/api/probe/v1/flood") as response:
                chunks = response.aiter_raw()
                await anext(chunks)
                await asyncio.sleep(0.5)
                sent = (await here.http.get("/api/probe/v1/sent")).json()["sent"]
                assert 0 < sent < read_ahead
            # the flood had nobody left to wait for: it must have ended, not run on
            assert (await here.http.get("/api/probe/v1/sent")).status_code == 200

    asyncio.run(run())


async def pattern(size: int) -> AsyncIterator[bytes]:
    chunk = bytes(range(256)) * 256
    while size > 0:
        yield chunk[:size]
        size -= len(chunk)


def rss(pid: int) -> int:
    return _status(pid, "VmRSS")


def rss_peak(pid: int) -> int:
    return _status(pid, "VmHWM")


def _status(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))
