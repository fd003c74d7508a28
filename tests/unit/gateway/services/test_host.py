"""The whole of microservices through a fake runtime, as broker and sidecar see it."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request

from broker import Overflow, OverflowRule
from gateway.http.inprocess import call
from gateway.http.routes import make_api
from gateway.services import ContainerRights, NodeInfo, ServiceHost
from gateway.services.images.pack import pack_image
from protocol.http_body import HttpRequest, HttpResponse
from tests.aio import until
from tests.unit.gateway.services.fake_runtime import LIMITS, FakeRuntime

TOML = """
name = "probe"
[http]
base = "/probe/v1"
[mqtt]
subscribe = ["a/+"]
publish = ["b"]
"""


async def client_id(_request: Request) -> str:
    return "api"


class Bench:
    """A host, its API, and the calls of its listeners."""

    def __init__(self, folder: Path) -> None:
        self.runtime = FakeRuntime()
        self.changes = 0
        self.deleted: list[str] = []
        node = NodeInfo("0" * 56, lambda: "account")
        self.host = ServiceHost(
            folder / "state", folder, folder / "broker.sock", node, LIMITS, [self.runtime]
        )
        self.host.add_listener(self._note_change, self.deleted.append)
        self.api = make_api(self.host.mcm_routes(client_id))
        (folder / "source").mkdir()
        (folder / "source/service.py").write_text("")
        (folder / "source/microservice.toml").write_text(TOML)
        self._image = pack_image(folder / "source")

    def _note_change(self) -> None:
        self.changes += 1

    async def ask(self, method: str, path: str, body: Any = None) -> HttpResponse:
        content = b"" if body is None else json.dumps(body).encode()
        return await self._send(HttpRequest(method, f"/mcm/v1{path}", (), content))

    async def upload(self) -> HttpResponse:
        head = b'--b\r\ncontent-disposition: form-data; name="image"; filename="i"\r\n\r\n'
        form = head + self._image + b"\r\n--b--\r\n"
        headers = (("content-type", "multipart/form-data; boundary=b"),)
        return await self._send(HttpRequest("POST", "/mcm/v1/images", headers, form))

    async def _send(self, request: HttpRequest) -> HttpResponse:
        return await call(self.api, request, "loopback", 100_000, 10)


def test_a_container_from_its_upload_to_its_end(tmp_path: Path) -> None:
    async def scenario() -> None:
        bench = Bench(tmp_path)
        host = bench.host
        await host.start()
        assert host.is_loaded
        assert (await bench.upload()).status == 201
        body = {"name": "one", "image": "probe-v1"}
        assert (await bench.ask("POST", "/containers", body)).status == 201
        assert (await bench.ask("POST", "/containers", body)).status == 200

        (status,) = host.containers()
        assert (status.id, status.state, status.path) == ("api-one", "started", "/api/probe/v1")
        (offered,) = host.services()
        assert (offered.service_id, offered.path) == ("api-one", "/api/probe/v1")

        password = bench.runtime.processes[0].password.reveal().encode()
        rights = ContainerRights(
            "api-one",
            ("a/+", "responses/api-one"),
            ("b", "responses/+"),
            ("$hec/deadletters/api-one",),
            OverflowRule(Overflow.SLOW),
        )
        assert host.authenticate("container:api-one", password) == rights
        for name, shown in (
            ("container:api-one", b"guess"),
            ("api-one", password),
            ("container:x", password),
        ):
            assert host.authenticate(name, shown) is None

        changed = await bench.ask("PUT", "/containers/api-one", {"state": "stopped"})
        assert json.loads(changed.body)["state"] == "stopped"
        assert host.services() == ()
        assert (await bench.ask("DELETE", "/containers/api-one")).status == 200
        assert bench.deleted[-1] == "container:api-one"
        assert bench.changes >= 3
        await host.stop()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("fails", "why"),
    [(False, "it is stopped; `hecate start api-one` starts it"),
     (True, "it is failed; `hecate ps` says why")],
)  # fmt: skip
def test_a_container_without_a_process_answers_503(fails: bool, why: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        bench = Bench(tmp_path)
        if fails:
            bench.runtime.failures = {f"prepared {number}": "broken" for number in range(100)}
        await bench.host.start()
        await bench.upload()
        await bench.ask("POST", "/containers", {"name": "one", "image": "probe-v1"})
        if not fails:
            await bench.ask("PUT", "/containers/api-one", {"state": "stopped"})
        route = bench.host.find("/api/probe/v1/rooms")
        assert route is not None

        async def serve(scope: Any, receive: Any, send: Any) -> None:
            await bench.host.serve(route, scope, receive, send)

        answer = await call(serve, HttpRequest("GET", route.base, ()), "loopback", 1000, 5)
        assert answer.status == 503
        assert why in answer.body.decode()
        await bench.host.stop()

    asyncio.run(scenario())


def test_errors_of_services_are_problem_documents(tmp_path: Path) -> None:
    async def scenario() -> None:
        bench = Bench(tmp_path)
        await bench.host.start()
        await bench.upload()
        bench.runtime.failures["go 0"] = "no broker"
        body = {"name": "one", "image": "probe-v1"}
        for method, path, asked, status in (
            ("GET", "/containers/none", None, 404),
            ("DELETE", "/images/none", None, 404),
            ("POST", "/containers", {"name": "../x", "image": "probe-v1"}, 400),
            ("POST", "/containers", body, 422),
            ("POST", "/containers", {"name": "two", "image": "probe-v1"}, 409),
            ("DELETE", "/images/api-probe-v1", None, 409),
            ("PUT", "/containers/api-one", {"state": "gone"}, 400),
        ):
            answer = await bench.ask(method, path, asked)
            assert answer.status == status, (path, answer.body)
            assert dict(answer.headers)["content-type"] == "application/problem+json"
        await until(lambda: bench.host.containers()[0].state == "started")
        await bench.host.stop()

    asyncio.run(scenario())
