"""Publishers slow down, or messages are dropped, when a container cannot keep up."""

import asyncio
import logging
import os
import signal
from pathlib import Path

import pytest

from broker.messages import overflow
from tests.aio import until
from tests.integration.gateway.services.world import Person, World, world, write_service

NAME = "container:api-probe"
CODE = """
@service.on("in", retained="never")
async def slow(message):
    await asyncio.sleep(0.002)
    await service.publish("out", {"seq": message.json()["seq"]})
"""


def manifest(rule: str) -> str:
    return f'[mqtt]\nsubscribe = ["in"]\npublish = ["out"]\noverflow = "{rule}"\nslow_s = 1.0\n'


@pytest.fixture(autouse=True)
def _small_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overflow, "HIGH", 40)
    monkeypatch.setattr(overflow, "LOW", 20)


def flow(here: World) -> str:
    queue = here.broker.queue(NAME)
    return queue.state if queue is not None else "none"


def test_publishers_of_a_slow_container_get_their_acknowledgements_later(tmp_path: Path) -> None:
    count = 400

    async def run() -> None:
        async with world(tmp_path, queue=16) as here:
            await here.deploy(write_service(tmp_path / "v1", CODE, toml=manifest("slow")), "probe")
            with Person(here.mqtt_port) as person:
                await person.subscribe("out")
                for seq in range(count):
                    person.publish("in", {"seq": seq})
                longest = 0
                async with asyncio.timeout(60):
                    while len(person.seqs("out")) < count:
                        queue = here.broker.queue(NAME)
                        assert queue is not None
                        longest = max(longest, queue.waiting)
                        await asyncio.sleep(0.005)
                assert person.seqs("out") == list(range(count))
                # 100 are in flight from the publisher; those of one read may come before it waits
                assert 40 <= longest <= 40 + 2 * 100
                await until(lambda: flow(here) == "flowing")
                status = here.host.containers()[0]
                assert status.dropped == 0

    asyncio.run(run())


def test_a_dead_container_stops_no_publisher(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    count = 300

    async def run() -> None:
        async with world(tmp_path, queue=16, liveness_s=600.0) as here:
            await here.deploy(write_service(tmp_path / "v1", CODE, toml=manifest("slow")), "probe")
            pid = here.pid("api-probe")
            with Person(here.mqtt_port) as person, caplog.at_level(logging.WARNING):
                await person.subscribe("out")
                os.kill(pid, signal.SIGSTOP)
                for seq in range(count):
                    person.publish("in", {"seq": seq})
                await until(lambda: flow(here) == "holding")
                await until(lambda: here.broker.queue(NAME).waiting >= count - 16)  # type: ignore[union-attr]
                assert flow(here) == "dropping"
                os.kill(pid, signal.SIGCONT)
                await until(lambda: person.seqs("out") == list(range(count)))
                await until(lambda: flow(here) == "flowing")
            assert [r for r in caplog.records if "does not keep up" in r.getMessage()]

    asyncio.run(run())


@pytest.mark.parametrize("rule", ["drop_oldest", "drop_newest"])
def test_messages_beyond_the_queue_are_dropped_and_counted(tmp_path: Path, rule: str) -> None:
    count, kept = 300, 64

    async def run() -> None:
        async with world(tmp_path, queue=16, broker_queue=kept, liveness_s=600.0) as here:
            await here.deploy(write_service(tmp_path / "v1", CODE, toml=manifest(rule)), "probe")
            pid = here.pid("api-probe")
            with Person(here.mqtt_port) as person:
                await person.subscribe("out")
                os.kill(pid, signal.SIGSTOP)
                for seq in range(count):
                    person.publish("in", {"seq": seq})
                dropped = count - kept - 16
                await until(lambda: here.broker.queue(NAME).dropped == dropped)  # type: ignore[union-attr]
                os.kill(pid, signal.SIGCONT)
                await until(lambda: len(person.seqs("out")) == kept + 16)
                seqs = person.seqs("out")
            if rule == "drop_oldest":
                assert seqs == [*range(16), *range(count - kept, count)]
            else:
                assert seqs == list(range(kept + 16))
            assert here.host.containers()[0].dropped == dropped
            shown = (await here.http.get("/mcm/v1/containers/api-probe")).json()
            assert shown["dropped"] == dropped

    asyncio.run(run())
