"""Runs an index.js as a container's front process does, without a gateway around it."""

import asyncio
import contextlib
import json
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from microservice.control import Launch
from microservice.handling import ServiceCounters
from microservice.info import Info
from microservice.javascript.host import load_javascript
from microservice.javascript.processes import EvaluatorProcess
from microservice.message import Message
from microservice.mqtt.wire import MessageProperties
from microservice.outbound import ContainerNetwork
from microservice.service import Service
from tests.aio import until

App = Callable[[Any, Any, Any], Coroutine[Any, Any, None]]
INFO = Info("api-probe", "api-probe", "/api/probe/v1", "a" * 56, "account-1")


@dataclass
class Answer:
    """An answer as its client sees it."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    pieces: list[bytes] = field(default_factory=list)
    is_complete: bool = False

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Published:
    """Messages that a script has published, in place of a broker."""

    messages: list[tuple[str, bytes, int, bool]] = field(default_factory=list)

    async def publish(  # as PublishSink has it
        self, topic: str, payload: bytes, qos: int, retain: bool, properties: MessageProperties
    ) -> None:
        assert properties is not None
        self.messages.append((topic, payload, qos, retain))

    async def request(
        self, topic: str, payload: bytes, properties: MessageProperties, timeout_s: float
    ) -> Message:
        raise AssertionError((topic, payload, properties, timeout_s))


class Script:
    """A running index.js."""

    def __init__(self, service: Service, launch: Launch) -> None:
        make = service.triggers.make_application
        assert make is not None
        self.service, self.counters, self.broker = service, ServiceCounters(), Published()
        self.app: App = cast("App", make(self.counters))
        settings, secrets = launch.settings, launch.secrets
        service.attach(self.broker, launch.env, launch.info, settings, secrets)
        service.attach_network(ContainerNetwork(launch.gateway_socket))

    @property
    def service_pid(self) -> int:
        """The process id of the evaluator."""
        return self._evaluator.pid

    def kill_evaluator(self) -> None:
        os.kill(self.service_pid, signal.SIGKILL)

    @property
    def _evaluator(self) -> EvaluatorProcess:
        evaluator: EvaluatorProcess = self.app._parts.evaluator  # type: ignore[attr-defined]
        return evaluator

    async def close(self) -> None:
        for close in self.service.triggers.closed:
            await close()

    async def call(
        self,
        method: str,
        target: str = "/",
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        chunks: list[bytes] | None = None,
    ) -> Answer:
        path, _, query = target.partition("?")
        sent = {name.lower(): value for name, value in (headers or {}).items()}
        pieces = chunks if chunks is not None else [body]
        if body or chunks:
            sent.setdefault("content-length", str(sum(len(one) for one in pieces)))
        scope = {
            "type": "http", "method": method, "path": path, "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(n.encode(), v.encode("latin-1")) for n, v in sent.items()],
        }  # fmt: skip
        events = [
            {"type": "http.request", "body": one, "more_body": i < len(pieces) - 1}
            for i, one in enumerate(pieces)
        ]
        return await exchange(self.app, scope, events if sent.get("content-length") else [])

    async def get(self, target: str = "/", **headers: str) -> Answer:
        return await self.call("GET", target, headers=headers)

    async def post(self, target: str, value: Any, **headers: str) -> Answer:
        given = {"content-type": "application/json"} | headers
        return await self.call("POST", target, json.dumps(value).encode(), given)

    async def message(self, topic: str, payload: bytes, **more: Any) -> Any:
        """Bring a message to the trigger as the dispatcher does."""
        (trigger, *_) = self.service.triggers.messages
        return await trigger.handler(Message(topic, payload, **more))


async def exchange(app: App, scope: Any, events: list[Any], gone: Any = None) -> Answer:
    """Call an ASGI application; its client hangs up when the event gone is set."""
    answer, left = Answer(), list(events)

    async def receive() -> Any:
        if left:
            return left.pop(0)
        await (gone or asyncio.Event()).wait()
        return {"type": "http.disconnect"}

    async def send(event: MutableMapping[str, Any]) -> None:
        if event["type"] == "http.response.start":
            answer.status = event["status"]
            answer.headers = {
                n.decode("latin-1").lower(): v.decode("latin-1") for n, v in event["headers"]
            }
            return
        answer.body += event.get("body", b"")
        if event.get("body"):
            answer.pieces.append(event["body"])
        answer.is_complete = not event.get("more_body", False)

    await app(scope, receive, send)
    return answer


@contextlib.asynccontextmanager
async def script(
    directory: Path,
    code: str,
    env: Mapping[str, str] | None = None,
    **launch: Any,
) -> AsyncIterator[Script]:
    """Run an index.js in a directory of its own; it is gone afterwards."""
    (directory / "code").mkdir(exist_ok=True)
    (directory / "data").mkdir(exist_ok=True)
    (directory / "code/index.js").write_text(code, encoding="utf-8")
    given = Launch(code=str(directory / "code"), http_fd=-1, info=INFO, runtime="js")
    given = replace(given, env=dict(env or {}), **launch)
    before = Path.cwd()
    os.chdir(directory / "data")
    try:
        service = await load_javascript(given)
    finally:
        os.chdir(before)
    running = Script(service, given)
    try:
        yield running
    finally:
        await running.close()


def run(
    directory: Path, code: str, use: Callable[[Script], Coroutine[Any, Any, None]], **given: Any
) -> None:
    """Run an index.js for as long as a test uses it."""

    async def main() -> None:
        async with script(directory, code, **given) as running:
            await use(running)

    asyncio.run(main())


def handler(body: str) -> str:
    """Return an index.js whose handler has a body; its second line is the body's first."""
    head = "mimikModule.exports = async function (context, request, response)"
    return f"{head} {{\n{body}\n}};"


def children_of(pid: int) -> set[int]:
    """Return the processes that a process has started and that live."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                state, parent = (entry / "stat").read_bytes().rpartition(b")")[2].split()[:2]
                if int(parent) == pid and state not in (b"Z", b"X"):
                    found.add(int(entry.name))
    return found


def alive(pid: int) -> bool:
    """Return whether a process is there, and no zombie."""
    with contextlib.suppress(OSError):
        stat = Path(f"/proc/{pid}/stat").read_bytes()
        return stat.rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    return False


async def children_gone(pid: int) -> None:
    """Return when an evaluator has no children but the one that waits for the next request."""
    await until(lambda: len(children_of(pid)) <= 1)


def log_of(records: list[logging.LogRecord]) -> str:
    """Return the texts of log records."""
    return "\n".join(record.getMessage() for record in records)
