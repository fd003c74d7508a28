"""A test refuses what a deployment would refuse: the microservice.toml beside the code decides."""

import asyncio
import importlib.util
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from microservice import Service
from microservice.errors import PublishError, ServiceError
from microservice.testing.harness import TestBench

TOML = """
name = "probe"
[mqtt]
subscribe = ["a/+", "deep/#"]
publish = ["out/+"]
[settings.limit]
type = "integer"
minimum = 1
[secrets]
names = ["key"]
"""
CODE = """
from microservice import Message, Service
service = Service()
@service.on("FILTER")
async def handle(message: Message) -> object:
    await service.publish(message.text(), 1)
    return "done"
@service.get("/limit")
async def limit(_) -> int:
    return service.settings["limit"]
"""


def load(folder: Path, topic_filter: str = "a/{x}") -> Service:
    (folder / "microservice.toml").write_text(TOML)
    path = folder / "service.py"
    path.write_text(CODE.replace("FILTER", topic_filter))
    spec = importlib.util.spec_from_file_location("tested_service", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    service: Service = module.service
    return service


def run(service: Service, use: Callable[[TestBench], Awaitable[None]], **given: Any) -> None:
    async def main() -> None:
        async with service.test(**given) as t:
            await use(t)

    asyncio.run(main())


async def use_nothing(_: TestBench) -> None:
    """It has started: that is all."""


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"settings": {"limit": "x"}}, "cannot use settings: setting limit must be a whole number"),
        ({"settings": {"limit": 0}}, "cannot use settings: setting limit must be at least 1"),
        ({"settings": {"limt": 3}}, "declares limit, not limt"),
        ({"secrets": {"kay": "v"}}, "cannot use secrets: microservice.toml declares key, not kay"),
    ],
)
def test_values_are_those_that_are_declared(
    given: dict[str, Any], why: str, tmp_path: Path
) -> None:
    with pytest.raises(ServiceError) as caught:
        load(tmp_path).test(**given)
    assert why in str(caught.value)


@pytest.mark.parametrize(
    ("topic_filter", "is_covered"),
    [("a/b", True), ("a/{x}", True), ("deep", True), ("deep/#", True), ("deep/+/x", True),
     ("a/#", False), ("b/+", False), ("a", False), ("a/b/c", False), ("#", False)],
)  # fmt: skip
def test_handlers_need_their_topics_in_subscribe(
    topic_filter: str, is_covered: bool, tmp_path: Path
) -> None:
    service = load(tmp_path, topic_filter)
    if is_covered:
        run(service, use_nothing)
        return
    shown = topic_filter.replace("{x}", "+")
    with pytest.raises(ServiceError) as caught:
        service.test()
    assert str(caught.value) == (
        f"cannot start: {shown} is not in [mqtt] subscribe of microservice.toml"
    )


def test_a_service_publishes_what_it_may(tmp_path: Path) -> None:
    async def use(t: TestBench) -> None:
        await t.publish("a/1", "out/1")
        assert t.published == [("out/1", 1)]
        assert await t.request("a/1", "out/2") == "done"  # its answers need no word
        await t.publish("a/1", "elsewhere")
        (letter,) = t.dead_letters
        assert "cannot publish to elsewhere: not in [mqtt] publish" in letter.error
        with pytest.raises(PublishError, match="it is no topic of a message"):
            await t.publish("a/+", "out/1")

    run(load(tmp_path), use)


def test_a_setting_without_a_value_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def use(t: TestBench) -> None:
        assert (await t.get("/limit")).status == 500
        assert "cannot read setting 'limit': it has no value" in caplog.text

    run(load(tmp_path), use)
