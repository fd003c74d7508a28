"""The promises about messages: acknowledged when handled, in order, unharmed, without loops."""

import asyncio
import base64
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import pytest
from paho.mqtt.properties import Properties

from gateway.mqtt.hops import LIMIT
from microservice.mqtt.dead_letters import HOPS
from tests.aio import until
from tests.integration.gateway.services.world import Person, World, world, write_service
from tests.paho_client import V5, Paho

MQTT = '[mqtt]\nsubscribe = ["#"]\npublish = ["#"]\n'
RETRY = "[retry]\ntries = 3\nfirst_delay_s = 0.05\n"
LETTERS = "/mcm/v1/containers/api-probe/deadletters"
ECHO = """
@service.on("in/#")
async def echo(message):
    await service.publish("out" + message.topic[2:], message.payload)
"""
PARSE = """
calls = 0
@service.on("in/json")
async def parse(message):
    global calls
    calls += 1
    await service.publish("out", {"seq": message.json()["seq"]})
@service.get("/calls")
async def count(_): return {"calls": calls}
"""


@contextlib.asynccontextmanager
async def client(here: World) -> AsyncIterator[Paho]:
    """Connect a client of raw payloads."""
    made = Paho("raw", V5)
    made.client.max_inflight_messages_set(200)
    await asyncio.to_thread(made.connect, "127.0.0.1", here.mqtt_port)
    try:
        yield made
    finally:
        await asyncio.to_thread(made.close)


# case S7
def test_a_payload_comes_out_as_it_went_in(tmp_path: Path) -> None:
    payloads = [
        b'{"id":1724442618569203714}',
        b'{"at":9007199254740991, "x": 1.0}',
        bytes(range(256)) * 40,
        b"",
        "å\u2028\U0001f600".encode(),
    ]

    async def run() -> None:
        async with world(tmp_path) as here:
            await here.deploy(write_service(tmp_path / "v1", ECHO, toml=MQTT), "probe")
            async with client(here) as raw:
                await asyncio.to_thread(raw.subscribe, "out/#", 1)
                for number, payload in enumerate(payloads):
                    await asyncio.to_thread(raw.publish, f"in/{number}", payload, 1)
                got = [await asyncio.to_thread(raw.take) for _ in payloads]
                assert {m.topic: bytes(m.payload) for m in got} == {
                    f"out/{number}": payload for number, payload in enumerate(payloads)
                }

    asyncio.run(run())


# case S9
def test_a_message_that_no_try_can_handle_becomes_a_dead_letter(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            await here.deploy(write_service(tmp_path / "v1", PARSE, toml=MQTT + RETRY), "probe")
            async with client(here) as raw:
                with Person(here.mqtt_port) as person:
                    await person.subscribe("out")
                    with_note = Properties(3)  # type: ignore[no-untyped-call]  # paho's; of PUBLISH
                    with_note.UserProperty = [("unit", "°C")]
                    sent = raw.client.publish("in/json", b"{\xff", 1, properties=with_note)
                    await asyncio.to_thread(raw.answer, sent.mid)
                    for seq in range(100):
                        person.publish("in/json", {"seq": seq})
                    await until(lambda: len(person.seqs("out")) == 100)
                    assert person.seqs("out") == list(range(100))
            calls = (await here.http.get("/api/probe/v1/calls")).json()["calls"]
            assert calls == 3 + 100
            (letter,) = (await here.http.get(LETTERS)).json()["data"]
            assert base64.b64decode(letter["payload"]) == b"{\xff"
            assert letter["topic"] == "in/json"
            assert letter["error"].startswith("MicroserviceError: cannot read message on in/json")
            assert "(service.py, line 10)" in letter["error"]
            assert "service.py" in letter["trace"]
            assert (letter["tries"], letter["qos"], letter["retain"]) == (3, 1, False)
            assert letter["userProperties"] == [["unit", "°C"]]
            queue = here.broker.queue("container:api-probe")
            assert queue is not None
            await until(lambda: here.broker.queue("container:api-probe").in_flight == 0)  # type: ignore[union-attr]  # it is there
            await until(lambda: here.host.containers()[0].failed == 1)
            assert here.host.containers()[0].messages.dead_letters == 1

    asyncio.run(run())


def test_dead_letters_are_retried_to_the_container_alone_and_discarded(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as here:
            await here.deploy(write_service(tmp_path / "v1", PARSE, toml=MQTT + RETRY), "probe")
            async with client(here) as raw:
                with Person(here.mqtt_port) as person:
                    await person.subscribe("out")
                    for payload in (b"{", b'{"no":1}'):
                        await asyncio.to_thread(raw.publish, "in/json", payload, 1)

                    async def letters() -> list[dict[str, object]]:
                        data: list[dict[str, object]] = (await here.http.get(LETTERS)).json()[
                            "data"
                        ]
                        return data

                    async with asyncio.timeout(30):
                        while len(await letters()) < 2:  # noqa: ASYNC110  # over HTTP
                            await asyncio.sleep(0.05)
                    await here.restart_host()  # they survive the gateway
                    await until(lambda: here.state("api-probe") == "started")
                    first, second = await letters()
                    assert (first["tries"], second["tries"]) == (3, 3)
                    await asyncio.to_thread(raw.subscribe, "in/#", 1)
                    # a version that takes anything handles what the first could not
                    write_service(
                        tmp_path / "v2", PARSE.replace('["seq"]', '.get("no")'), toml=MQTT
                    )
                    assert (await here.upload(tmp_path / "v2")).status_code == 201
                    retried = await here.http.post(f"{LETTERS}/{second['id']}/retry")
                    assert retried.status_code == 200, retried.text
                    await until(lambda: person.seqs("out") == [1])
                    assert raw.messages.empty(), "another subscriber got the retried message"
                    # one that fails again is a dead letter again, and counts all its tries
                    again = await here.http.post(f"{LETTERS}/{first['id']}/retry")
                    assert again.status_code == 200
                    async with asyncio.timeout(30):
                        while [each["tries"] for each in await letters()] != [6]:  # noqa: ASYNC110
                            await asyncio.sleep(0.05)
                    assert (
                        await here.http.post(f"{LETTERS}/{first['id']}/retry")
                    ).status_code == 404
                    (left,) = await letters()
                    one = f"{LETTERS}/{left['id']}"
                    assert (await here.http.delete(one)).status_code == 204
                    assert (await here.http.delete(one)).status_code == 404
                    assert (await here.http.delete(LETTERS)).json() == {"discarded": 0}

    asyncio.run(run())


# case S8
def test_a_container_does_not_trigger_itself(tmp_path: Path) -> None:
    code = """
@service.on("t/#")
async def again(message):
    await service.publish("t/out", {"seq": message.json()["seq"] + 1})
"""

    async def run() -> None:
        async with world(tmp_path) as here:
            await here.deploy(write_service(tmp_path / "v1", code, toml=MQTT), "probe")
            with Person(here.mqtt_port) as person:
                await person.subscribe("t/out")
                person.publish("t/in", {"seq": 0})
                person.publish("t/in", {"seq": 10})
                await until(lambda: set(person.seqs("t/out")) == {1, 11})
                echoing = MQTT + "echo = true\n"
                write_service(tmp_path / "v2", code, toml=echoing)
                assert (await here.upload(tmp_path / "v2")).status_code == 201
                person.publish("t/in", {"seq": 100})
                await until(lambda: 100 + LIMIT in person.seqs("t/out"))
                await until(lambda: here.host.containers()[0].handled >= 2 + LIMIT)
            assert max(person.seqs("t/out")) == 100 + LIMIT, "the chain was not cut"

    asyncio.run(run())


# case S8
def test_a_circle_of_containers_is_cut_with_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def code(source: str, target: str) -> str:
        return f"""
@service.on("{source}")
async def pass_on(message):
    await service.publish("{target}", {{"seq": message.json()["seq"] + 1}})
"""

    async def run() -> None:
        async with world(tmp_path) as here:
            for name, source, target in (("ping", "x", "y"), ("pong", "y", "x")):
                write_service(tmp_path / name, code(source, target), name=name, toml=MQTT)
                await here.deploy(tmp_path / name, name)
            with Person(here.mqtt_port) as person, caplog.at_level(logging.WARNING):
                await person.subscribe("x")
                for start in (0, 1000):
                    person.publish("x", {"seq": start})
                    await until(lambda start=start: start + LIMIT in person.seqs("x"))  # type: ignore[misc]
                person.publish("x", {"seq": 5000})  # messages go on
                await until(lambda: 5000 + LIMIT in person.seqs("x"))
            assert {seq for seq in person.seqs("x") if seq % 1000 > LIMIT} == set()
            warnings = [r.getMessage() for r in caplog.records if "chain of messages" in r.message]
            assert len(warnings) == 1, warnings
            assert "api-ping, api-pong" in warnings[0]

    asyncio.run(run())


# case S8
def test_a_container_cannot_forge_its_count(tmp_path: Path) -> None:
    """Its messages are counted from those that are in flight to it."""
    code = """
from microservice.mqtt.current import current_message
@service.on("x")
async def pass_on(message):
    current_message.set(None)
    await service.publish("x", {"seq": message.json()["seq"] + 1})
"""

    async def run() -> None:
        async with world(tmp_path) as here:
            toml = MQTT + "echo = true\n"
            await here.deploy(write_service(tmp_path / "v1", code, toml=toml), "probe")
            with Person(here.mqtt_port) as person:
                await person.subscribe("x")
                person.publish("x", {"seq": 0})
                await until(lambda: LIMIT in person.seqs("x"))
                await until(lambda: here.host.containers()[0].handled == LIMIT + 1)
            assert max(person.seqs("x")) == LIMIT

    asyncio.run(run())


# case S10
@pytest.mark.parametrize("cut", ["told", "aborted"])
def test_a_cut_connection_loses_no_message_and_no_subscription(tmp_path: Path, cut: str) -> None:
    code = """
@service.on("in/{n}")
async def slow(message):
    seq = int(message["n"])
    await service.publish("started", {"seq": seq})
    await asyncio.sleep(1.5 if seq == 0 else 0)
    await service.publish("out", {"seq": seq})
"""

    async def run() -> None:
        async with world(tmp_path) as here:
            await here.deploy(write_service(tmp_path / "v1", code, toml=MQTT), "probe")
            with Person(here.mqtt_port) as person:
                await person.subscribe("out")
                await person.subscribe("started")
                person.publish("in/0", None)
                await until(lambda: person.seqs("started") == [0])
                if cut == "told":
                    assert here.broker.cut("container:api-probe") == 1
                else:
                    clients = here.broker._core._clients
                    (one,) = [each for each in clients if each.name == "container:api-probe"]
                    one.link.abort()
                person.publish("in/1", None)
                async with asyncio.timeout(30):
                    await until(lambda: person.seqs("out") == [1])
                await until(lambda: person.seqs("out") == [1, 0])
                queue = "container:api-probe"
                await until(lambda: here.broker.queue(queue).in_flight == 0)  # type: ignore[union-attr]
            assert person.seqs("started") == [0, 1], "a running message was handled twice"

    asyncio.run(run())


# case S11
@pytest.mark.parametrize("concurrency", [1, 50])
def test_messages_of_a_topic_are_handled_in_order_unless_told_otherwise(
    tmp_path: Path, concurrency: int
) -> None:
    count = 50
    code = f"""
@service.on("in", concurrency={concurrency})
async def slow(message):
    seq = message.json()["seq"]
    await asyncio.sleep(({count} - seq) * 0.002)
    await service.publish("out", {{"seq": seq}})
"""

    async def run() -> None:
        async with world(tmp_path, concurrency=count) as here:
            await here.deploy(write_service(tmp_path / "v1", code, toml=MQTT), "probe")
            with Person(here.mqtt_port) as person:
                await person.subscribe("out")
                for seq in range(count):
                    person.publish("in", {"seq": seq})
                await until(lambda: len(person.seqs("out")) == count)
            in_order = person.seqs("out") == list(range(count))
            assert in_order == (concurrency == 1)
            assert sorted(person.seqs("out")) == list(range(count))

    asyncio.run(run())


# case S12
def test_retained_messages_come_by_choice_and_a_resumed_session_repeats_none(
    tmp_path: Path,
) -> None:
    code = "".join(
        f"""
@service.on("{kind}/door", retained="{kind}")
async def {kind}(message):
    await service.publish("out", {{"seq": "{kind} %d" % message.retained}})
"""
        for kind in ("all", "new", "never")
    )

    queue = "container:api-probe"

    def seen(person: Person) -> list[str]:
        return [str(value["seq"]) for topic, value in list(person.got) if topic == "out"]

    def has_started(here: World, person: Person, times: int) -> bool:
        # a message that is handled but not acknowledged would come again to the next process
        status = here.broker.queue(queue)
        is_settled = status is not None and (status.waiting, status.in_flight) == (0, 0)
        return is_settled and seen(person).count("all 1") == times

    @contextlib.contextmanager
    def telling(here: World, person: Person) -> Iterator[None]:
        try:
            yield
        except AssertionError as exc:
            exc.add_note(
                f"seen: {seen(person)}; {here.broker.queue(queue)}; {here.log('api-probe')}"
            )
            raise

    async def run() -> None:
        async with world(tmp_path) as here:
            async with client(here) as raw:
                with Person(here.mqtt_port) as person, telling(here, person):
                    for kind in ("all", "new", "never"):
                        sent = raw.client.publish(f"{kind}/door", b"open", 1, retain=True)
                        await asyncio.to_thread(raw.answer, sent.mid)
                    await person.subscribe("out")
                    await here.deploy(write_service(tmp_path / "v1", code, toml=MQTT), "probe")
                    await until(lambda: set(seen(person)) == {"all 1", "new 1"})
                    await until(partial(has_started, here, person, 1))
                    for starts in (2, 3, 4):
                        restarted = await here.http.put(
                            "/mcm/v1/containers/api-probe", json={"state": "restarted"}
                        )
                        assert restarted.status_code == 200
                        await until(partial(has_started, here, person, starts))
                    here.broker.cut(queue)
                    await until(lambda: here.broker.is_connected(queue))
                    for kind in ("all", "new", "never"):
                        person.publish(f"{kind}/door", None)
                    await until(lambda: "never 0" in seen(person))
                    await until(lambda: "new 0" in seen(person))
                    await until(lambda: "all 0" in seen(person))
            assert sorted(seen(person)) == [
                "all 0", *["all 1"] * 4, "never 0", "new 0", "new 1",
            ]  # fmt: skip

    asyncio.run(run())


def test_the_count_of_a_chain_is_hidden_from_nobody(tmp_path: Path) -> None:
    """It arrives as a user property, so that a bridge can carry it on."""

    async def run() -> None:
        async with world(tmp_path) as here:
            write_service(tmp_path / "a", ECHO, name="a", toml=MQTT)
            await here.deploy(tmp_path / "a", "a")
            code = ECHO.replace('"in/#"', '"out/#"').replace('"out" +', '"end" +')
            write_service(tmp_path / "b", code.replace("[2:]", "[3:]"), name="b", toml=MQTT)
            await here.deploy(tmp_path / "b", "b")
            async with client(here) as raw:
                await asyncio.to_thread(raw.subscribe, "end/#", 1)
                await asyncio.to_thread(raw.publish, "in/1", b"x", 1)
                got = await asyncio.to_thread(raw.take)
                pairs = dict(getattr(got.properties, "UserProperty", []))
                assert pairs.get(HOPS) == "1", "the count of the message that was handled"

    asyncio.run(run())


def test_a_message_between_two_tries_is_handled_by_the_version_that_takes_over(
    tmp_path: Path,
) -> None:
    """Neither its pause nor its tries so far go over to the new process; the message does."""
    broken = """
@service.on("in")
async def parse(message):
    raise ValueError("not yet")
"""

    async def run() -> None:
        async with world(tmp_path) as here:
            slow_retry = "[retry]\ntries = 5\nfirst_delay_s = 50\nmax_delay_s = 50\n"
            await here.deploy(
                write_service(tmp_path / "v1", broken, toml=MQTT + slow_retry), "probe"
            )
            with Person(here.mqtt_port) as person:
                await person.subscribe("out")
                person.publish("in", {"seq": 1})
                person.publish("in", {"seq": 2})
                await until(lambda: here.host.containers()[0].retried == 1)
                mended = broken.replace(
                    'raise ValueError("not yet")',
                    'await service.publish("out", {"seq": message.json()["seq"]})',
                )
                write_service(tmp_path / "v2", mended, toml=MQTT)
                assert (await here.upload(tmp_path / "v2")).status_code == 201
                await until(lambda: person.seqs("out") == [1, 2])
            assert (await here.http.get(LETTERS)).json()["data"] == []

    asyncio.run(run())
