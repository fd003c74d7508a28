"""A broker, a service host and its HTTP API on loopback, and independent clients of both."""

import asyncio
import contextlib
import json
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

import httpx
from paho.mqtt.client import Client, MQTTMessage, topic_matches_sub
from paho.mqtt.enums import CallbackAPIVersion
from starlette.requests import Request

from broker import Broker, Credentials, Identity, Limits, Listener, Refusal
from broker.messages.topics import covers
from gateway.http.problems import problem_response
from gateway.http.routes import make_api
from gateway.mqtt.groups import CONTAINER
from gateway.mqtt.hops import HopPolicy
from gateway.services import ContainerRights, NodeInfo, ServiceHost, ServiceLimits
from gateway.services.egress.dialer import is_own_address
from gateway.services.egress.ports import EgressTargets
from gateway.services.egress.targets import OwnNames
from gateway.services.host import DEFAULT_ISOLATION
from gateway.services.images.pack import pack_image
from gateway.services.runtimes.isolation import IsolationPolicy
from tests.aio import until
from tests.programs import PATIENCE
from web import HttpLimits, HttpServer, listen_unix
from web.asgi import App, Receive, Scope, Send

CLIMATE = Path(__file__).resolve().parents[4] / "examples/climate"
CONTAINERS = "containers"


class Access:
    """Lets people do everything, and containers what the host says."""

    def __init__(self) -> None:
        self.host: ServiceHost | None = None
        self.rights: dict[str, ContainerRights] = {}

    async def authenticate(self, credentials: Credentials) -> Identity | Refusal:
        if credentials.listener != CONTAINERS:
            return Identity("person", credentials.client_id)
        name = credentials.username or ""
        rights = self.host.authenticate(name, credentials.password or b"") if self.host else None
        if rights is None:
            return Refusal.BAD_CREDENTIALS
        self.rights[name] = rights
        groups = frozenset({CONTAINER})
        return Identity(name, name, groups, overflow=rights.overflow)

    def may_publish(self, identity: Identity, topic: str) -> bool:
        if identity.name == "person":
            return True
        rights = self.rights[identity.name]
        if topic in rights.own_topics:
            return True
        return any(topic_matches_sub(f, topic) for f in rights.publish)

    def may_subscribe(self, identity: Identity, topic_filter: str) -> bool:
        if identity.name == "person":
            return True
        return any(covers(f, topic_filter) for f in self.rights[identity.name].subscribe)


class World:
    """One node's broker and microservices."""

    def __init__(
        self,
        directory: Path,
        limits: ServiceLimits,
        isolation: IsolationPolicy = DEFAULT_ISOLATION,
        broker_limits: Limits | None = None,
    ) -> None:
        self._directory, self._limits, self._isolation = directory, limits, isolation
        access = Access()
        tcp = Listener(port=0)
        unix = Listener(path=directory / "b.sock", name=CONTAINERS)
        self.broker = Broker([tcp, unix], access, access, broker_limits)
        hops = HopPolicy(self.broker.in_flight, time.monotonic)
        self.broker.hooks.on_connect(hops.admit)
        self.broker.hooks.on_publish("#", hops.check, between=CONTAINER)
        self._access = access
        self.host = self._make_host()

    def _make_host(self) -> ServiceHost:
        runtime = self._directory / "run"
        runtime.mkdir(exist_ok=True)
        host = ServiceHost(
            self._directory / "state",
            runtime,
            self._directory / "b.sock",
            NodeInfo("0" * 56, lambda: "account"),
            self._limits,
            isolation=self._isolation,
        )
        host.add_listener(self.broker.rights_changed, self.broker.disconnect)
        host.attach(self.broker.local_client("containers"), self.broker.queue)
        self._access.host = host
        return host

    @property
    def api_socket(self) -> Path:
        return self._directory / "api.sock"

    @property
    def mqtt_port(self) -> int:
        address = self.broker.addresses[0]
        assert isinstance(address, tuple)
        return address[1]

    async def start(self) -> None:
        await self.broker.start()
        self._api = self._make_api()

        async def serve_api(scope: Scope, receive: Receive, send: Send) -> None:
            await self._api(scope, receive, send)  # of the present host

        self._targets = EgressTargets(
            api=serve_api,
            own=OwnNames(lambda: frozenset({"me"}), lambda: frozenset({8083}), is_own_address),
            node_id="0" * 56,
            closed_ports=lambda: frozenset({8083}),
        )
        await self.host.start(self._targets)
        self._server = HttpServer(serve_api, HttpLimits())
        listener = listen_unix(self._directory / "api.sock")
        self._serving = asyncio.create_task(self._server.run_on(listener))
        await self._server.listening.wait()
        self.http = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(uds=str(self._directory / "api.sock")),
            base_url="http://gateway",
            timeout=30 * PATIENCE,
        )

    async def stop(self) -> None:
        await self.http.aclose()
        self._server.stop()
        await self.host.stop()
        await self._serving
        await self.broker.stop()

    async def restart_host(self) -> None:
        await self.host.stop()
        fresh = self._make_host()
        await fresh.start(self._targets)
        self.host = fresh
        self._api = self._make_api()

    def _make_api(self) -> App:
        return make_api(self.host.mcm_routes(_client_id), self._microservices)

    async def _microservices(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self.host.find(scope["path"])
        if route is None:
            await problem_response(404, "cannot find it")(scope, receive, send)
        else:
            await self.host.serve(route, scope, receive, send)

    async def upload(self, directory: Path, client_id: str = "api") -> httpx.Response:
        files = {"image": ("image.tar", pack_image(directory))}
        return await self.http.post("/mcm/v1/images", files=files, headers=_as(client_id))

    async def create(
        self, name: str, image: str, env: dict[str, str] | None = None, client_id: str = "api"
    ) -> httpx.Response:
        body = {"name": name, "image": image, "env": env or {}}
        return await self.http.post("/mcm/v1/containers", json=body, headers=_as(client_id))

    async def deploy(self, directory: Path, name: str) -> None:
        """Deploy a service directory and see that it runs."""
        uploaded = await self.upload(directory)
        assert uploaded.status_code == 201, uploaded.text
        created = await self.create(name, uploaded.json()["name"])
        assert created.status_code in (200, 201), created.text

    def is_running(self, name: str) -> bool:
        return self.state(name) == "started" and self._find(name) is not None

    def pid(self, name: str) -> int:
        """Return the process id of a container, as the system knows it."""
        pid = self._find(name)
        assert pid is not None, f"{name} has no process"
        return pid

    def _find(self, name: str) -> int | None:
        log = str(self._directory / "state" / "containers" / name)
        for process in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if process.name.isdecimal() and str((process / "cwd").readlink()).startswith(log):
                    return int(process.name)
        return None

    def log(self, name: str) -> str:
        return (self._directory / "state/containers" / name / "output.log").read_text()

    def state(self, name: str) -> str:
        return next(c.state for c in self.host.containers() if c.id == name)


def host_pid(namespace: str, pid: int) -> int:
    """Return the number that the machine gives to a process of a pid namespace."""
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if process.name.isdecimal() and str((process / "ns/pid").readlink()) == namespace:
                numbers = re.search(r"NSpid:\s+(.*)", (process / "status").read_text())
                if numbers and numbers[1].split()[-1] == str(pid):
                    return int(process.name)
    raise AssertionError(f"{namespace} has no process {pid}")


class Person:
    """An MQTT client over TCP that remembers what it gets."""

    def __init__(self, port: int) -> None:
        self.got: list[tuple[str, Any]] = []
        self._client = Client(CallbackAPIVersion.VERSION2, client_id="person")
        self._client.on_message = self._message
        self._subscribed = False
        self._client.on_subscribe = self._on_subscribe
        self._client.max_inflight_messages_set(100)
        self._client.connect("127.0.0.1", port)

    def __enter__(self) -> Self:
        self._client.loop_start()
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _message(self, _: Client, __: Any, message: MQTTMessage) -> None:
        self.got.append((message.topic, json.loads(message.payload)))

    def _on_subscribe(self, *_: Any) -> None:
        self._subscribed = True

    async def subscribe(self, topic: str) -> None:
        self._client.subscribe(topic, qos=1)
        await until(lambda: self._subscribed)

    def publish(self, topic: str, value: Any) -> None:
        self._client.publish(topic, json.dumps(value), qos=1)

    def seqs(self, topic: str) -> list[int]:
        return [value["seq"] for at, value in list(self.got) if at == topic]


@contextlib.asynccontextmanager
async def world(
    directory: Path,
    isolation: IsolationPolicy = DEFAULT_ISOLATION,
    *,
    broker_queue: int = 10_000,
    **limits: Any,
) -> AsyncIterator[World]:
    """Run a world; it is gone afterwards."""
    broker_limits = Limits(queued_messages=broker_queue)
    made = World(directory, ServiceLimits(**limits), isolation, broker_limits)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


def write_service(directory: Path, code: str, *, name: str = "probe", toml: str = "") -> Path:
    """Write a microservice that answers below /<name>/v1."""
    directory.mkdir(parents=True, exist_ok=True)
    head = "import asyncio, os, sys, time\nfrom microservice import *\nservice = Service()\n"
    (directory / "service.py").write_text(head + code)
    (directory / "microservice.toml").write_text(
        f'name = "{name}"\n[http]\nbase = "/{name}/v1"\n{toml}'
    )
    return directory


async def _client_id(request: Request) -> str:
    return request.headers.get("x-client-id", "api")


def _as(client_id: str) -> dict[str, str]:
    return {"x-client-id": client_id}
