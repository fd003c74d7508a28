"""A child that sends anything: the front answers 500, and goes on."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, MutableMapping
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microservice.info import Info
from microservice.javascript.calls import AsyncCalls, CallTargets
from microservice.javascript.events import EventHub
from microservice.javascript.exchange import RuntimeParts, ScriptExchange, ScriptRequest
from microservice.javascript.faults import Ceilings
from microservice.javascript.processes import EvaluatorProcess, FrameStream
from microservice.javascript.storage import Storage
from microservice.outbound import OutboundClient


class HostileStream:
    """Frames of a child that is somebody else's."""

    def __init__(self, frames: list[str]) -> None:
        self._frames = iter(frames)
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.ended.set_result(0)
        self.sent: list[Any] = []

    async def read(self) -> str | None:
        return next(self._frames, None)

    async def send(self, kind: str, value: Any) -> None:
        self.sent.append((kind, value))

    def close(self) -> None:
        pass


class HostileEvaluator:
    """Forks such a child."""

    def __init__(self, frames: list[str]) -> None:
        self._frames = frames

    @contextlib.asynccontextmanager
    async def fork(self) -> AsyncIterator[FrameStream]:
        yield cast("FrameStream", HostileStream(self._frames))


async def answer(frames: list[str], folder: Path) -> list[MutableMapping[str, Any]]:
    """Return the events of ASGI that a request brings."""
    sent: list[MutableMapping[str, Any]] = []

    async def send(event: MutableMapping[str, Any]) -> None:
        sent.append(event)

    async def publish(*_: Any) -> None:
        pass

    storage = Storage(folder, 1)
    targets = CallTargets(OutboundClient(""), publish, Info())
    parts = RuntimeParts(
        cast("EvaluatorProcess", HostileEvaluator(frames)),
        storage,
        EventHub(is_enabled=True),
        lambda stream, uploads: AsyncCalls(targets, stream, uploads),
        Ceilings(5.0, 16),
        dict,
    )
    try:
        await ScriptExchange(ScriptRequest("GET", "/"), parts, send).run()
    finally:
        await storage.close()
    return sent


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
OPERATIONS = (
    "head", "body", "answer", "end", "log", "fault", "event", "unlock", "lock", "file", "http",
    "http.data", "publish", "edge.nodes", "edge.bep", "form.next", "form.piece", "form.store",
    "form.abort", "storage.get", "storage.set", "storage.page", "storage.write", "storage.delete",
    "storage.remove", "storage.removeTag", "none",
)  # fmt: skip
FIELDS = (
    "id", "status", "headers", "text", "base64", "kind", "type", "message", "name", "path", "key",
    "value", "tag", "after", "isFirst", "isLast", "url", "method", "authorization", "hasData",
    "isStream", "connectMs", "socketMs", "outputFile", "topic", "qos", "retain", "data", "code",
    "level",
)  # fmt: skip


@st.composite
def frames(draw: st.DrawFn) -> str:
    values = draw(st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=8))
    values["op"] = draw(st.sampled_from(OPERATIONS))
    return draw(st.sampled_from("!?")) + json.dumps(values)


@settings(max_examples=60, deadline=None)
@given(st.lists(frames() | st.text(max_size=20), max_size=5))
def test_no_frame_gets_an_exception_out_of_the_front(
    tmp_path_factory: pytest.TempPathFactory, sent: list[str]
) -> None:
    events = asyncio.run(answer(sent, tmp_path_factory.mktemp("data")))
    starts = [one for one in events if one["type"] == "http.response.start"]
    assert len(starts) == 1
    assert starts[0]["status"] in range(200, 600)


@pytest.mark.parametrize(
    "hostile",
    [
        "", "!", "?", "!{", "!null", "![]", '!{"op": 1}', '?{"op": "storage.get"}',
        "!" + "[" * 100_000,
        '!{"op": "head", "status": 99999, "headers": []}',
        '!{"op": "head", "status": 200, "headers": [["a"]]}',
        '!{"op": "answer", "status": 200, "headers": [], "base64": "!"}',
        '!{"op": "publish", "id": {}, "topic": 1}',
    ],
)  # fmt: skip
def test_a_malformed_frame_ends_in_500(hostile: str, tmp_path: Path) -> None:
    events = asyncio.run(answer([hostile], tmp_path))
    assert events[0]["status"] == 500
    assert "hostile" not in str(events)
