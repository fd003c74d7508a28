"""The uplink of a node whose role changes: it forwards as a supernode only, and loses nothing."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from broker import AllowAll, Broker, Listener
from gateway.cluster.election.heartbeat import Role
from gateway.roles import RoleController, RolePart
from gateway.spool.spool import Spool
from gateway.uplink.endpoint import Endpoint
from gateway.uplink.link import CloudLinkState
from gateway.uplink.rules import Rules, TopicRule
from gateway.uplink.uplink import NodePorts, Uplink, UplinkParts
from protocol.mqtt_limits import MqttLimits
from protocol.topics import sep_request
from settings.secret import Secret

NODE = "n" * 56


class CloudApi:
    """Stands for the HTTP API of the cloud."""

    def __init__(self, renews_in_s: float = 3600.0) -> None:
        self.renews_in_s, self.tokens = renews_in_s, 0

    async def access_token(self) -> Secret:
        self.tokens += 1
        return Secret("token")

    async def register(self, _record: str) -> Any:
        return SimpleNamespace(account_id="")

    async def mqtt_limits(self, known: MqttLimits) -> MqttLimits:
        return known


class Account:
    account_id = ""
    key = b""

    async def become(self, _account_id: str) -> None: ...


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  # of several parts
            await asyncio.sleep(0.005)


def test_a_node_forwards_as_a_supernode_only(tmp_path: Path) -> None:
    async def run() -> None:
        policy = AllowAll()
        roles: asyncio.Queue[Role] = asyncio.Queue()
        spool = Spool(tmp_path / "spool.db", 1_000_000)
        await spool.open()
        received: list[bytes] = []
        requests: list[bytes] = []
        async with (
            Broker([Listener(port=0)], policy, policy, sys_interval_s=0) as cloud,
            Broker([], policy, policy, sys_interval_s=0) as local,
        ):
            in_cloud, here = cloud.local_client("test"), local.local_client("test")
            in_cloud.subscribe("nodes/#", lambda message: received.append(message.payload))
            (address,) = cloud.addresses
            assert isinstance(address, tuple)
            uplink = Uplink(
                Endpoint("127.0.0.1", int(address[1]), None),
                NodePorts(NODE, lambda: "", lambda _record: None),
                UplinkParts(
                    api=CloudApi(),  # type: ignore[arg-type]
                    account=Account(),  # type: ignore[arg-type]
                    rules=Rules([TopicRule("a/#", "up")]),
                    spool=spool,
                    local=local.local_client("uplink"),
                ),
            )
            uplink.attach()

            async def serve() -> None:
                await uplink.run(lambda payload, _supernode, _send: requests.append(payload))

            controller = RoleController(
                [RolePart("uplink", frozenset({Role.SUPERNODE}), serve)],
                lambda _known: roles.get(),
            )
            following = asyncio.create_task(controller.run())
            expected: list[bytes] = []
            for number, role in enumerate([Role.MEMBER, Role.SUPERNODE] * 3 + [Role.MEMBER]):
                payload = b"%d" % number
                roles.put_nowait(role)
                is_supernode = role is Role.SUPERNODE
                state = CloudLinkState.ONLINE if is_supernode else CloudLinkState.OFFLINE
                await until(lambda state=state: uplink.link.state is state)  # type: ignore[misc]
                await until(lambda on=is_supernode: bool(controller.running) is on)  # type: ignore[misc]
                here.publish("a/x", payload, qos=1)
                expected.append(payload)
                if is_supernode:
                    await until(lambda: received == expected)
                    in_cloud.publish(sep_request(NODE, NODE), payload, qos=1)
                    await until(lambda payload=payload: requests[-1:] == [payload])  # type: ignore[misc]
                else:
                    await until(lambda: spool.status().messages > 0)
                    assert received == expected[:-1]
                    assert uplink.link.error == ""
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
        await spool.close()

    asyncio.run(run())


def test_the_uplink_continues_on_a_new_connection_when_its_token_is_renewed(tmp_path: Path) -> None:
    async def run() -> None:
        policy = AllowAll()
        spool = Spool(tmp_path / "spool.db", 1_000_000)
        await spool.open()
        async with (
            Broker([Listener(port=0)], policy, policy, sys_interval_s=0) as cloud,
            Broker([], policy, policy, sys_interval_s=0) as local,
        ):
            (address,) = cloud.addresses
            assert isinstance(address, tuple)
            api = CloudApi(renews_in_s=0.02)
            uplink = Uplink(
                Endpoint("127.0.0.1", int(address[1]), None),
                NodePorts(NODE, lambda: "", lambda _record: None),
                UplinkParts(
                    api=api,  # type: ignore[arg-type]
                    account=Account(),  # type: ignore[arg-type]
                    rules=Rules([]),
                    spool=spool,
                    local=local.local_client("uplink"),
                ),
            )
            running = asyncio.create_task(uplink.run(lambda *_: None))
            await until(lambda: api.tokens >= 8)  # two for each connection
            assert not running.done()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        await spool.close()

    asyncio.run(run())
