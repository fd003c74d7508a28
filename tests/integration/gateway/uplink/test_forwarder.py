"""Messages from the spool to a broker that does not take each of them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from broker import AllowAll, Broker, Identity, Limits, Listener, Message
from gateway.errors import MqttVersionUnsupported, UplinkLost
from gateway.spool.spool import Spool
from gateway.uplink.connection import (
    MISC_INTERVAL_S,
    SLEPT_S,
    CloudConnection,
    ConnectionCallbacks,
    ConnectionEnd,
)
from gateway.uplink.downlinks import Downlinks
from gateway.uplink.endpoint import Endpoint
from gateway.uplink.forwarder import Forwarder
from gateway.uplink.rules import Rules, TopicRule
from protocol.mqtt_limits import MqttLimits
from settings.secret import Secret
from tests.aio import until
from tests.programs import PATIENCE

NODE = "n" * 56
WAIT_S = 20.0 * PATIENCE


class Picky(AllowAll):
    """Denies what a node may not write, and does not say so beforehand."""

    def may_publish(self, identity: Identity, topic: str) -> bool:  # noqa: ARG002
        return "/denied/" not in topic


class Cloud:
    """A broker that remembers what came, and takes nothing on the topics in `full`."""

    def __init__(self, limits: Limits) -> None:
        policy = Picky()
        self.broker = Broker([Listener(port=0)], policy, policy, limits, sys_interval_s=0)
        self.payloads: list[bytes] = []
        self.full: set[str] = set()
        self.refusals = 0

    def keep(self, message: Message) -> None:
        if message.topic.rpartition("/")[2] in self.full:
            self.refusals += 1
            assert message.hold is not None
            message.hold.keep()
            message.hold.refuse()
        else:
            self.payloads.append(message.payload)

    def set_of_payloads(self) -> set[bytes]:
        return set(self.payloads)


@asynccontextmanager
async def running(limits: Limits) -> AsyncIterator[Cloud]:
    cloud = Cloud(limits)
    async with cloud.broker:
        cloud.broker.local_client("cloud").subscribe("nodes/#", cloud.keep)
        yield cloud


async def forward(
    forwarder: Forwarder, port: int, is_done: Callable[[], bool], *, five: bool = True
) -> int:
    """Connect again and again, as the driver does; return how often it took."""
    connections = 0
    async with asyncio.timeout(WAIT_S):
        while not is_done():
            connections += 1
            endpoint = Endpoint("127.0.0.1", port, None)
            callbacks = ConnectionCallbacks(on_puback=forwarder.on_puback)
            connection = CloudConnection(NODE, Secret("x"), endpoint, callbacks, five=five)
            await connection.open()
            forwarder.begin(connection, MqttLimits())
            run = asyncio.create_task(forwarder.run())
            done = asyncio.create_task(until(is_done))
            ended = connection.closed
            watched: set[asyncio.Future[Any]] = {run, done, ended}
            await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
            closed: ConnectionEnd | None = ended.result() if ended.done() else None
            for task in (run, done):
                task.cancel()
            (fault, _) = await asyncio.gather(run, done, return_exceptions=True)
            assert isinstance(fault, UplinkLost | asyncio.CancelledError), fault
            forwarder.end(closed)
            await connection.close()
    return connections


def store(spool: Spool, *messages: tuple[str, bytes]) -> None:
    for topic, payload in messages:
        spool.append(topic, payload, lambda _stored: None, retain=False)


def run_with(
    folder: Path, limits: Limits, body: Callable[[Cloud, Spool, Forwarder], Awaitable[None]]
) -> None:
    async def run() -> None:
        spool = Spool(folder / "spool.db", 1_000_000)
        await spool.open()
        async with running(limits) as cloud:
            await body(cloud, spool, Forwarder(NODE, spool))
        await spool.close()

    asyncio.run(run())


def port_of(cloud: Cloud) -> int:
    (address,) = cloud.broker.addresses
    assert isinstance(address, tuple)
    return int(address[1])


# case G1
@pytest.mark.parametrize("five", [True, False])
def test_a_row_that_breaks_the_connection_twice_is_set_aside(tmp_path: Path, *, five: bool) -> None:
    async def body(cloud: Cloud, spool: Spool, forwarder: Forwarder) -> None:
        good = [(f"a/{n}", b"%d" % n) for n in range(30)]
        # deeper than this cloud takes, which it does not announce
        store(spool, *good[:10], ("1/2/3/4/5", b"bad"), *good[10:], ("1/2/3/4/6", b"bad too"))
        expected = {payload for _, payload in good}

        def is_done() -> bool:
            # emptied by the last acknowledgement, which needs the connection
            status = spool.status()
            is_through = cloud.set_of_payloads() == expected and status.set_aside == 2
            return is_through and status.messages == 0

        connections = await forward(forwarder, port_of(cloud), is_done, five=five)
        assert connections <= (5 if five else 6), "few breaks, and one connection that lasts"
        latest = {a.topic: a.reason for a in spool.status().latest}
        assert set(latest) == {"1/2/3/4/5", "1/2/3/4/6"}
        assert all(reason.startswith("broke the connection") for reason in latest.values())
        if five:
            assert all("Topic name invalid" in reason for reason in latest.values())

    run_with(tmp_path, Limits(topic_levels=4), body)


# case G1
def test_a_row_that_the_cloud_refuses_is_set_aside_and_holds_up_nothing(tmp_path: Path) -> None:
    async def body(cloud: Cloud, spool: Spool, forwarder: Forwarder) -> None:
        store(spool, ("a/1", b"1"), ("denied/x", b"bad"), ("a/2", b"2"))

        def is_done() -> bool:
            return cloud.set_of_payloads() == {b"1", b"2"} and spool.status().set_aside == 1

        assert await forward(forwarder, port_of(cloud), is_done) == 1
        assert spool.status().latest[0].topic == "denied/x"
        assert "Not authorized" in spool.status().latest[0].reason

    run_with(tmp_path, Limits(), body)


# case G1
def test_a_row_that_is_no_mqtt_is_set_aside(tmp_path: Path) -> None:
    async def body(cloud: Cloud, spool: Spool, forwarder: Forwarder) -> None:
        store(spool, ("a/+", b"bad"), ("a/1", b"1"), ("a/\0", b"bad"), ("a/2", b"2"))

        def is_done() -> bool:
            return cloud.set_of_payloads() == {b"1", b"2"} and spool.status().set_aside == 2

        await forward(forwarder, port_of(cloud), is_done)

    run_with(tmp_path, Limits(), body)


# case G1, G3
def test_the_packet_size_in_a_connack_is_a_limit(tmp_path: Path) -> None:
    async def body(cloud: Cloud, spool: Spool, forwarder: Forwarder) -> None:
        store(spool, ("a/1", b"1"), ("a/large", bytes(20_000)), ("a/2", b"2"))

        def is_done() -> bool:
            return cloud.set_of_payloads() == {b"1", b"2"} and spool.status().set_aside == 1

        assert await forward(forwarder, port_of(cloud), is_done) == 1
        assert "the cloud takes 10000" in spool.status().latest[0].reason

    run_with(tmp_path, Limits(packet_bytes=10_000), body)


# case G2: the cloud's fullness is no fault of a row
def test_a_cloud_that_is_full_for_all_gets_everything_later(tmp_path: Path) -> None:
    async def body(cloud: Cloud, spool: Spool, forwarder: Forwarder) -> None:
        cloud.full = {"1", "2", "3"}
        store(spool, *((f"a/{n}", b"%d" % n) for n in (1, 2, 3)))
        await forward(forwarder, port_of(cloud), lambda: cloud.refusals >= 20)
        assert spool.status().set_aside_total == 0
        cloud.full.clear()
        done = {b"1", b"2", b"3"}
        await forward(forwarder, port_of(cloud), lambda: cloud.set_of_payloads() == done)

    run_with(tmp_path, Limits(), body)


# case G1
def test_a_row_that_alone_is_refused_for_now_is_set_aside(tmp_path: Path) -> None:
    async def body(cloud: Cloud, spool: Spool, forwarder: Forwarder) -> None:
        cloud.full = {"2"}
        store(spool, *((f"a/{n}", b"%d" % n) for n in (1, 2, 3, 4)))

        def is_done() -> bool:
            status = spool.status()
            is_through = cloud.set_of_payloads() == {b"1", b"3", b"4"} and status.set_aside == 1
            return is_through and status.messages == 0

        await forward(forwarder, port_of(cloud), is_done)
        assert spool.status().latest[0].topic == "a/2"

    run_with(tmp_path, Limits(), body)


def test_a_receive_maximum_is_kept(tmp_path: Path) -> None:
    async def body(cloud: Cloud, spool: Spool, forwarder: Forwarder) -> None:
        store(spool, *(("a", b"%d" % n) for n in range(200)))
        connections = await forward(forwarder, port_of(cloud), lambda: len(cloud.payloads) == 200)
        assert connections == 1
        assert cloud.payloads == [b"%d" % n for n in range(200)]

    run_with(tmp_path, Limits(holds=3), body)


async def old_broker(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer as MQTT 3.1.1, 3.2.2.3 wants it for a protocol level that is not known."""
    await reader.readuntil(b"MQTT")
    if await reader.readexactly(1) == b"\x04":
        writer.write(b"\x20\x02\x00\x00")
        await reader.read()
    else:
        writer.write(b"\x20\x02\x00\x01")
    writer.close()


async def mute_broker(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Close on what it does not know."""
    await reader.readuntil(b"MQTT")
    if await reader.readexactly(1) == b"\x04":
        writer.write(b"\x20\x02\x00\x00")
        await reader.read()
    writer.close()


@pytest.mark.parametrize("broker", [old_broker, mute_broker])
def test_a_broker_that_knows_no_mqtt_5_is_noticed(
    broker: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> None:
    async def run() -> None:
        server = await asyncio.start_server(broker, "127.0.0.1", 0)
        endpoint = Endpoint("127.0.0.1", server.sockets[0].getsockname()[1], None)
        new = CloudConnection(NODE, Secret("x"), endpoint, five=True)
        with pytest.raises(MqttVersionUnsupported):
            await new.open()
        await new.close()
        old = CloudConnection(NODE, Secret("x"), endpoint, five=False)
        await old.open()
        await old.close()
        server.close()

    asyncio.run(run())


# case G18
def test_a_filter_that_the_cloud_denies_is_named_and_keeps_no_other_away() -> None:
    class Denying(AllowAll):
        def may_subscribe(self, identity: Identity, topic_filter: str) -> bool:  # noqa: ARG002
            return not topic_filter.endswith("/secret/#")

    async def run() -> None:
        policy = Denying()
        rules = Rules([TopicRule("secret/#", "down"), TopicRule("fine/#", "down")])
        async with Broker([Listener(port=0)], policy, policy, sys_interval_s=0) as broker:
            local = broker.local_client("local")
            downlinks = Downlinks(NODE, rules, local, lambda _payload: None)
            heard: list[str] = []
            local.subscribe("fine/#", lambda message: heard.append(message.topic))
            (address,) = broker.addresses
            assert isinstance(address, tuple)
            for five in (True, False):
                endpoint = Endpoint("127.0.0.1", int(address[1]), None)
                callbacks = ConnectionCallbacks(downlinks.take)
                connection = CloudConnection(NODE, Secret("x"), endpoint, callbacks, five=five)
                downlinks.begin(connection)
                await connection.open()
                await downlinks.subscribe(connection, MqttLimits())
                assert list(downlinks.denied) == ["secret/#"]
                heard.clear()
                local.publish(f"nodes/{NODE}/down/fine/x", b"1")
                await until(lambda: heard == ["fine/x"])
                await connection.close()

    asyncio.run(run())


@pytest.mark.parametrize("slept_s", [SLEPT_S - 5.0, SLEPT_S + 5.0])
def test_a_connection_ends_when_the_machine_has_slept_longer_than_the_broker_waits(
    slept_s: float,
) -> None:
    async def run() -> None:
        policy, slept = AllowAll(), [100.0]
        async with Broker([Listener(port=0)], policy, policy, sys_interval_s=0) as broker:
            (address,) = broker.addresses
            assert isinstance(address, tuple)
            loop = asyncio.get_running_loop()
            endpoint = Endpoint("127.0.0.1", int(address[1]), None)
            connection = CloudConnection(
                NODE, Secret("x"), endpoint, clock=lambda: loop.time() + slept[0]
            )
            await connection.open()
            slept[0] += slept_s
            if slept_s < SLEPT_S:
                await asyncio.sleep(1.2 * MISC_INTERVAL_S)
                assert not connection.closed.done()
            else:
                end = await asyncio.wait_for(connection.closed, 10)
                assert end.why == "the connection to the cloud's broker was lost: slept for 20 s"
            await connection.close()

    asyncio.run(run())
