"""Runs clients of a cluster that note what they were told: callers of services, MQTT publishers."""

import queue
import random
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from tests.hosts.gateways import HostGateway
from tests.hosts.history import Acknowledged, Called, Event, Executed, Outcome
from tests.integration.gateway.services.world import write_service
from tests.mqtt_peer import Mqtt
from tests.programs import HECATE, run

COUNTER = """
@service.post("/run")
async def run(request):
    await request.body()
    times = await service.state.update(request.query["id"], lambda times: times + 1, default=0)
    return {"node": service.info.node_id, "times": times}

@service.get("/ran")
async def ran(request):
    return {key: value async for key, value in service.state.items()}
"""
PATH = "/api/counted/v1"
CALL_S = 40.0
Note = Callable[[Event], None]


def deploy_counter(gateway: HostGateway, folder: Path) -> None:
    """Give a node the service that counts how often it carries out each request."""
    code = write_service(
        folder / f"{gateway.host.name}-counted", COUNTER, name="counted", toml='expose = "public"\n'
    )
    command = gateway.host.command(*HECATE, "deploy", str(code))
    run(command, HECATE_URL=gateway.url, HECATE_API_KEY=gateway.key)


def executed(gateway: HostGateway) -> list[Event]:
    """Return the requests that a node has carried out; one that was twice is in it twice."""
    counts: dict[str, int] = gateway.call("GET", f"{PATH}/ran")
    node, now = gateway.node_id[:12], time.monotonic()
    return [Executed(now, request, node) for request, n in counts.items() for _ in range(n)]


class BackgroundClient:
    """Repeats its work until the end of its context, with a pause between."""

    def __init__(self, pause_s: float) -> None:
        self._pause_s = pause_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._repeat)

    def work(self) -> None:
        """Do the work once."""
        raise NotImplementedError

    def _repeat(self) -> None:
        while not self._ended.wait(self._pause_s):
            self.work()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()


class Caller(BackgroundClient):
    """Sends requests that are not safe from any node to any other."""

    def __init__(
        self, gateways: Sequence[HostGateway], chance: random.Random, note: Note, name: str
    ) -> None:
        super().__init__(pause_s=0.05)
        self._gateways, self._chance, self._note, self._name = gateways, chance, note, name
        self._count = 0

    def work(self) -> None:
        asker, target = self._chance.sample(list(self._gateways), 2)
        self._count += 1
        request = f"{self._name}-{self._count}"
        outcome, by = call_counter(asker, target, request)
        self._note(Called(time.monotonic(), request, target.node_id[:12], outcome, by))


def call_counter(asker: HostGateway, target: HostGateway, request: str) -> tuple[Outcome, str]:
    """Send a request from one node to another; return the outcome and the node that answered."""
    path = f"/nodes/{target.node_id}{PATH}/run"
    try:
        answer = asker.ask("POST", path, params={"id": request}, timeout=CALL_S)
    except (httpx.HTTPError, OSError):
        return Outcome.UNKNOWN, ""  # the node that was asked is gone
    if answer.status_code == 200:
        return Outcome.ANSWERED, str(answer.json()["node"])[:12]
    detail = str(answer.json().get("detail", ""))
    is_unsent = answer.status_code in (403, 404) or detail.startswith("cannot reach node")
    return (Outcome.NOT_SENT if is_unsent else Outcome.UNKNOWN), ""


class Publisher(BackgroundClient):
    """Publishes at one node, and notes what it has acknowledged; connects again when it is cut."""

    def __init__(self, gateway: HostGateway, note: Note, qos: int = 1) -> None:
        super().__init__(pause_s=0.05)
        self._gateway, self._note, self._qos = gateway, note, qos
        self._client: Mqtt | None = None
        self._count = 0

    def work(self) -> None:
        try:
            if self._client is None or self._client.lost.is_set():
                self._connect()
            self._count += 1
            message = f"{self._gateway.host.name}-{self._count}"
            if self._client is not None and self._client.publish("plant/level", message, self._qos):
                self._note(Acknowledged(time.monotonic(), message, self._qos))
        except (OSError, AssertionError, ValueError, queue.Empty):
            self._close()  # it does not run now; the message was not acknowledged

    def _connect(self) -> None:
        self._close()
        with self._gateway.host.inside():
            self._client = Mqtt(self._gateway.mqtt_port, client_id=self._gateway.host.name)

    def _close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, trace)
        self._close()
