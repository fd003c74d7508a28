"""Requests of real containers: with the kit, and with libraries that know HTTP proxies."""

import asyncio
import json
from pathlib import Path
from typing import Any

from tests.integration.gateway.services.egress.harness import answering, target
from tests.integration.gateway.services.world import World, world, write_service

CODE = """
import json
from microservice.errors import MicroserviceError

@service.get("/fetch")
async def fetch(request):
    try:
        async with service.http.request("GET", request.query["url"]) as response:
            return {"status": response.status, "text": await response.text()}
    except MicroserviceError as exc:
        return {"error": str(exc), "kind": type(exc).__name__}

@service.get("/who")
async def who(request):
    return {"caller": request.headers.get("x-hecate-caller", ""), "id": service.info.container_id}

@service.get("/depth/{n}")
async def depth(request):
    n = int(request["n"])
    if not n:
        return {"deepest": service.info.container_id}
    other = "api-one" if service.info.container_id == "api-two" else "api-two"
    url = f"http://{other}.service.hecate/depth/{n - 1}"
    async with service.http.request("GET", url) as response:
        return json.loads(await response.read())

@service.get("/urllib")
async def by_urllib(request):
    import urllib.error, urllib.request
    try:  # it blocks the event loop
        with urllib.request.urlopen(request.query["url"], timeout=20) as response:
            return {"status": response.status, "text": response.read().decode()}
    except urllib.error.HTTPError as exc:
        return {"status": exc.code, "text": exc.read().decode()}

@service.get("/tcp")
async def by_tcp(request):
    reader, writer = await asyncio.open_connection(*service.forwards["plc"])
    writer.write(b"ping")
    writer.write_eof()
    return {"text": (await reader.read()).decode()}

@service.get("/proxy")
async def proxy(request):
    return {"proxy": os.environ.get("HTTP_PROXY", ""), "path": request.headers.get("traceparent")}
"""
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\noutside"


async def ask(here: World, path: str, **query: str) -> Any:
    answer = await here.http.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def deploy(here: World, folder: Path, name: str, toml: str = "") -> None:
    await here.deploy(write_service(folder / name, CODE, name=name, toml=toml), name)


def test_containers_call_each_other_themselves_and_the_gateway(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            await deploy(here, tmp_path, "one")
            await deploy(here, tmp_path, "two")
            url = "http://api-two.service.hecate/who"
            seen = await ask(here, "/api/one/v1/fetch", url=url)
            assert json.loads(seen["text"]) == {"caller": "api-one", "id": "api-two"}
            # by path, as compatible images call a microservice of their node
            url = "http://localhost:8083/api/two/v1/who"
            seen = await ask(here, "/api/one/v1/fetch", url=url)
            assert json.loads(seen["text"])["caller"] == "api-one"
            # one that calls back, and back again
            assert await ask(here, "/api/one/v1/depth/9") == {"deepest": "api-two"}
            url = "http://api-one.service.hecate/fetch?url=http://api-one.service.hecate/who"
            seen = await ask(here, "/api/one/v1/fetch", url=url)
            assert json.loads(json.loads(seen["text"])["text"])["caller"] == "api-one"
            # nobody else can claim to be a container
            claims = {"X-Hecate-Caller": "api-two"}
            answer = await here.http.get("/api/one/v1/who", headers=claims)
            assert answer.json()["caller"] == ""

    asyncio.run(run())


def test_the_outside_is_what_the_manifest_declares(tmp_path: Path) -> None:
    async def run() -> None:
        async with (
            world(tmp_path) as here,
            target(answering(OK)) as port,
            target(echo) as plc,
        ):
            await deploy(here, tmp_path, "none")
            url = f"http://127.0.0.1:{port}/"
            seen = await ask(here, "/api/none/v1/fetch", url=url)
            assert seen["kind"] == "OutboundRefusedError"
            assert "add it to [network] allow in microservice.toml" in seen["error"]
            assert (await ask(here, "/api/none/v1/proxy"))["proxy"] == ""
            toml = (
                f'[network]\nallow = ["127.0.0.1:{port}"]\nforward = {{plc = "127.0.0.1:{plc}"}}\n'
            )
            await deploy(here, tmp_path, "some", toml)
            assert (await ask(here, "/api/some/v1/fetch", url=url))["text"] == "outside"
            # a library that reads HTTP_PROXY
            assert (await ask(here, "/api/some/v1/urllib", url=url))["text"] == "outside"
            url = "http://localhost:8083/api/none/v1/who"
            seen = await ask(here, "/api/some/v1/urllib", url=url)
            assert json.loads(seen["text"])["caller"] == "api-some"
            seen = await ask(here, "/api/some/v1/urllib", url=f"http://127.0.0.1:{plc + 1}/")
            assert seen["status"] == 403
            # a library that knows TCP only
            assert (await ask(here, "/api/some/v1/tcp"))["text"] == "gnip"

    asyncio.run(run())


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write((await reader.read())[::-1])
    await writer.drain()
