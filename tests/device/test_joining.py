"""A board with a claim token becomes a device; mosquitto is the broker, the test answers joins."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import paho.mqtt.client as paho

from hardware.simulated import SimulatedBoard, write_private
from settings.secret import Secret
from tests.aio import until
from tests.device import boards
from tests.device.boards import DEVICE_ID, PREFIX, ScriptedBroker, settings_for
from tests.device.mosquitto import Application, Mosquitto

CLAIM = "a-claim-token-4711"
ANSWER = {"device_id": DEVICE_ID, "username": DEVICE_ID, "password": "pw-0815", "prefix": PREFIX}


def new_board(directory: Path, port: int) -> SimulatedBoard:
    settings = replace(settings_for(port), claim_token=Secret(CLAIM))
    return SimulatedBoard(directory / "board", settings, limits=boards.QUICK_RESTARTS)


def test_joins_keeps_its_credentials_and_forgets_the_claim(tmp_path: Path) -> None:
    async def script(broker: Mosquitto, application: Application) -> None:
        board = new_board(tmp_path, broker.port)
        await board.start()
        try:
            await until(lambda: application.payloads("/temperature"), "a reading")
            client_id = next(t for t, _ in application.messages if "/join/" in t).split("/")[2]
            assert board.device_id == DEVICE_ID
            assert not (board.directory / "claim").exists()
            stored = board.directory / "credentials.json"
            assert json.loads(stored.read_text()) == ANSWER
            assert stored.stat().st_mode & 0o777 == 0o600
            await board.stop()
            await board.start()
            seen = len(application.payloads("/temperature"))
            await until(lambda: len(application.payloads("/temperature")) > seen, "more readings")
        finally:
            await board.stop()
        request = application.payloads(f"{client_id}/request")
        assert [json.loads(r) for r in request] == [{"name": "attic", "model": "simulated"}]
        told = board.log_path.read_text()
        assert CLAIM not in told
        assert "pw-0815" not in told

    with Mosquitto(tmp_path) as broker, JoinResponder(broker.port, [ANSWER]) as application:
        asyncio.run(script(broker, application))


def test_asks_again_when_it_is_refused(tmp_path: Path) -> None:
    async def script(broker: Mosquitto, application: Application) -> None:
        board = new_board(tmp_path, broker.port)
        await board.start()
        try:
            await until(lambda: application.payloads("/temperature"), "a reading")
        finally:
            await board.stop()
        assert "cannot join: not today" in board.log_path.read_text()
        assert len(application.payloads("/request")) == 2

    answers = [{"error": "cannot join: not today"}, ANSWER]
    with Mosquitto(tmp_path) as broker, JoinResponder(broker.port, answers) as application:
        asyncio.run(script(broker, application))


def test_a_refused_device_joins_and_tries_its_credentials_in_turn(tmp_path: Path) -> None:
    async def refused(with_claim: bool, script: Script) -> None:
        async with ScriptedBroker() as broker:
            broker.connack = boards.CONNACK_NOT_AUTHORISED
            directory = tmp_path / str(with_claim)
            board = boards.joined_board(directory, settings_for(broker.port))
            if with_claim:
                write_private(directory / "claim", CLAIM)
            await board.start()
            try:
                await until(lambda: len(broker.connections) > 3, "four connections")
                await script(broker)
            finally:
                await board.stop()
            assert (directory / "credentials.json").exists()

    async def tries_the_claim(broker: ScriptedBroker) -> None:
        tries = [broker.packets(n, boards.CONNECT)[0].body for n in range(4)]
        assert [CLAIM.encode() in body for body in tries] == [False, True, False, True]

    async def asks_for_approval(broker: ScriptedBroker) -> None:
        tries = [broker.packets(n, boards.CONNECT)[0].body for n in range(4)]
        assert [b"\x00\x04join\x00\x20" in body for body in tries] == [False, True, False, True]
        assert len({body for body in tries if b"join" in body}) == 1  # one secret

    asyncio.run(refused(True, tries_the_claim))
    asyncio.run(refused(False, asks_for_approval))


Script = Callable[[ScriptedBroker], Awaitable[None]]


class JoinResponder(Application):
    """Answers join requests, one answer after the other; hears all that devices say."""

    def __init__(self, port: int, answers: list[dict[str, str]]) -> None:
        self._answers = iter(answers)
        super().__init__(port, "$hec/join/+/request", "devices/#")

    def take(self, client: paho.Client, _: object, message: paho.MQTTMessage) -> None:
        super().take(client, _, message)
        if message.topic.endswith("/request"):
            response = message.topic.replace("/request", "/response")
            client.publish(response, json.dumps(next(self._answers)), qos=1)
