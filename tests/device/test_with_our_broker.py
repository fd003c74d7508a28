"""The simulated device against our own broker, embedded as the gateway embeds it."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from broker import Broker, Credentials, Identity, Listener, Message, Refusal
from hardware.simulated import SimulatedBoard
from protocol.ids import DEVICE_ID as DEVICE_ID_FORM
from protocol.topics import JOIN_REQUESTS, device_prefix, join_response
from settings.secret import Secret
from tests.aio import until
from tests.device.boards import DEVICE_ID, PREFIX, QUICK_RESTARTS, settings_for

CLAIM = "a-claim-token-4711"
PASSWORD = "pw-0815"
LATER = '{"id": "later", "on": true}'


class Gate:
    """Knows one claim token and one device, as the gateway's devices part does."""

    async def authenticate(self, credentials: Credentials) -> Identity | Refusal:
        login = (credentials.username, credentials.password)
        if login == ("claim", CLAIM.encode()):
            return Identity("claim", credentials.client_id)
        if login == (DEVICE_ID, PASSWORD.encode()) and credentials.client_id == DEVICE_ID:
            return Identity(DEVICE_ID, DEVICE_ID)
        return Refusal.BAD_CREDENTIALS

    def may_publish(self, identity: Identity, topic: str) -> bool:
        if identity.name == "claim":
            return topic == f"$hec/join/{identity.client_id}/request"
        return topic.startswith(f"{device_prefix(identity.name)}/")

    def may_subscribe(self, identity: Identity, topic_filter: str) -> bool:
        if identity.name == "claim":
            return topic_filter == join_response(identity.client_id)
        return topic_filter.startswith(f"{device_prefix(identity.name)}/")


class Node:
    """A broker and what it heard; answers joins."""

    def __init__(self, port: int = 0) -> None:
        self.messages: list[Message] = []
        self.broker = Broker([Listener(port=port)], Gate(), Gate())
        self.local = self.broker.local_client("test")
        self.local.subscribe("devices/#", self.messages.append)
        self.local.subscribe(JOIN_REQUESTS, self._answer_join)

    @property
    def port(self) -> int:
        """The port it listens on."""
        address = self.broker.addresses[0]
        assert not isinstance(address, Path)
        return address[1]

    def payloads(self, topic_end: str) -> list[bytes]:
        """Return what came on topics that end so."""
        return [m.payload for m in self.messages if m.topic.endswith(topic_end)]

    def _answer_join(self, message: Message) -> None:
        answer = {
            "device_id": DEVICE_ID,
            "username": DEVICE_ID,
            "password": PASSWORD,
            "prefix": PREFIX,
        }
        client_id = message.topic.split("/")[2]
        self.local.publish(join_response(client_id), json.dumps(answer).encode(), qos=1)


Script = Callable[[Node, SimulatedBoard], Awaitable[None]]


def play(directory: Path, script: Script) -> None:
    """Run a script with a board that joins a node of its own."""

    async def stage() -> None:
        node = Node()
        await node.broker.start()
        settings = replace(settings_for(node.port), claim_token=Secret(CLAIM))
        board = SimulatedBoard(directory / "board", settings, limits=QUICK_RESTARTS)
        await board.start()
        try:
            await script(node, board)
        finally:
            await board.stop()
            await node.broker.stop()

    asyncio.run(stage())


def test_joins_publishes_and_answers_a_command(tmp_path: Path) -> None:
    async def script(node: Node, board: SimulatedBoard) -> None:
        await until(lambda: len(node.payloads("/readings/temperature")) >= 5, "five readings")
        assert DEVICE_ID_FORM.fullmatch(board.device_id or "")
        assert node.payloads("/status") == [b"online"]
        readings = [json.loads(p) for p in node.payloads("/readings/temperature")]
        assert [reading["seq"] for reading in readings[:5]] == [1, 2, 3, 4, 5]
        assert {m.qos for m in node.messages if not m.topic.endswith("/attributes")} == {1}
        assert {m.sender for m in node.messages} == {DEVICE_ID}
        command = b'{"id": "c1", "on": true}'
        node.local.publish(f"{PREFIX}/commands/light", command, qos=1)
        await until(lambda: node.payloads("/replies/light"), "a reply")
        reply = json.loads(node.payloads("/replies/light")[0])
        assert reply == {"id": "c1", "ok": True, "on": True}

    play(tmp_path, script)


def test_a_reading_that_is_not_acknowledged_comes_again(tmp_path: Path) -> None:
    """The broker withholds PUBACK, as the gateway does until what must survive is committed."""

    async def script(node: Node, _: SimulatedBoard) -> None:
        held: list[Message] = []

        def hold(message: Message) -> None:
            if message.hold is not None and len(held) < 4:
                message.hold.keep()
                held.append(message)

        node.local.subscribe(f"{PREFIX}/readings/+", hold)
        await until(lambda: len(held) == 4, "a full window of readings")
        payloads = [m.payload for m in held]
        before = len(node.messages)
        node.broker.disconnect(DEVICE_ID)
        await until(lambda: len(node.messages) > before + 5, "the device comes back")
        again = [m.payload for m in node.messages[before:] if "/readings/" in m.topic]
        assert again[:4] == payloads

    play(tmp_path, script)


def test_a_command_waits_for_a_device_that_is_away(tmp_path: Path) -> None:
    async def script(node: Node, board: SimulatedBoard) -> None:
        await until(lambda: node.payloads("/status") == [b"online"], "online")
        await board.stop()
        await until(lambda: node.payloads("/status")[-1] == b"offline", "the will")
        node.local.publish(f"{PREFIX}/commands/light", LATER.encode(), qos=1)
        await board.start()
        await until(lambda: node.payloads("/replies/light"), "a reply")
        assert json.loads(node.payloads("/replies/light")[0])["id"] == "later"

    play(tmp_path, script)
