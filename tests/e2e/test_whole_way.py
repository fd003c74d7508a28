"""The whole way on real input: device, broker, microservice, gateway, cloud, SEP, BEP.

Independent clients look on: paho-mqtt and mosquitto_sub on both brokers, curl on SEP and BEP.
The device runs in the real MicroPython interpreter.
"""

import asyncio
import hashlib
import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from hardware.simulated import DeviceSettings, SimulatedBoard
from settings.secret import Secret
from tests.e2e.listener import Listener, account_of
from tests.peers import require
from tests.programs import run, until
from tests.system import Cloud, Gateway

BULK_BYTES = 100_000_000
ROOMS = "/api/climate/v1/rooms"


@pytest.fixture(scope="module")
def device_id(gateway: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the id of a device that joined with a claim token, from a real interpreter."""
    claim = gateway.call("POST", "/devices/v1/claims", json={"uses": 1})["token"]
    settings = DeviceSettings(
        name="attic", model="simulated", host="127.0.0.1", port=gateway.mqtt_port,
        claim_token=Secret(claim), interval_s=0.5,
    )  # fmt: skip
    board = SimulatedBoard(tmp_path_factory.mktemp("board"), settings)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)  # it copies what the board prints
    thread.start()
    asyncio.run_coroutine_threadsafe(board.start(), loop).result(30)
    try:
        joined = until(lambda: gateway.status()["devices"], "the device joins")
        yield str(joined[0]["id"])
    finally:
        asyncio.run_coroutine_threadsafe(board.stop(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def curl(*args: str) -> str:
    """Run curl as a person would; fail on HTTP errors."""
    require("curl")
    return run(("curl", "-sS", "--fail-with-body", "--max-time", "60", *args))


def test_readings_reach_any_client_of_the_gateway(gateway: Gateway, device_id: str) -> None:
    command = [require("mosquitto_sub"), "-p", str(gateway.mqtt_port), "-t"]
    topic = f"devices/{device_id}/readings/temperature"
    result = subprocess.run(
        [*command, topic, "-q", "1", "-C", "3", "-W", "30"],
        capture_output=True, text=True, check=True, timeout=40,
    )  # fmt: skip
    readings = [json.loads(line) for line in result.stdout.splitlines()]
    assert all(isinstance(reading["value"], float) for reading in readings)
    numbers = [reading["seq"] for reading in readings]
    assert numbers == list(range(numbers[0], numbers[0] + 3))


def test_a_command_reaches_the_device_and_is_answered(gateway: Gateway, device_id: str) -> None:
    listener = Listener(gateway.mqtt_port, f"devices/{device_id}/replies/#")
    listener.publish(f"devices/{device_id}/commands/light", '{"id": "c1", "on": true}')
    reply = listener.wait_for("/replies/light")
    listener.close()
    assert reply["id"] == "c1"
    assert reply["ok"] is True


def test_the_microservice_reacts(gateway: Gateway, device_id: str) -> None:
    listener = Listener(gateway.mqtt_port, "#")
    celsius = listener.wait_for(f"devices/{device_id}/readings/temperature")["value"]
    fahrenheit = listener.wait_for(f"rooms/{device_id}/fahrenheit")["value"]
    listener.close()
    assert fahrenheit == pytest.approx(celsius * 1.8 + 32, abs=2)  # readings may interleave
    rooms = httpx.get(gateway.url + ROOMS).raise_for_status().json()
    assert device_id in json.dumps(rooms)


def test_a_node_alone_is_its_own_supernode(gateway: Gateway) -> None:
    (record,) = gateway.call("GET", "/mds/v1/nodes?clusters=linkLocal")["data"]
    assert record["id"] == record["supernodeId"] == gateway.node_id
    assert record["rolesInCluster"] == ["superNodeLocalLinkNetwork"]


def test_a_plain_curl_reaches_the_microservice_through_the_sep(
    cloud: Cloud, gateway: Gateway, device_id: str
) -> None:
    answer = curl(f"{cloud.url}/sep/{gateway.node_id}{ROOMS}/{device_id}")
    assert device_id in answer


def test_the_sep_shows_strangers_nothing_else(cloud: Cloud, gateway: Gateway) -> None:
    for path in ("/status/v1", "/mcm/v1/images", "/devices/v1/devices", "/mds/v1/nodes"):
        answer = httpx.get(f"{cloud.url}/sep/{gateway.node_id}{path}")
        assert answer.status_code in (401, 403), path


def test_bulk_data_does_not_fit_the_sep(cloud: Cloud, gateway: Gateway) -> None:
    answer = httpx.get(f"{cloud.url}/sep/{gateway.node_id}/api/climate/v1/blob/1000000")
    assert answer.status_code == 413
    assert "BEP" in answer.json()["detail"]


def test_a_topic_rule_mirrors_readings_to_the_cloud(
    cloud: Cloud, gateway: Gateway, device_id: str
) -> None:
    token = cloud.log_in()
    account = account_of(token)
    topic = f"nodes/{gateway.node_id}/devices/#"
    listener = Listener(cloud.mqtt_port, topic, account, token)
    reading = listener.wait_for(f"devices/{device_id}/readings/temperature")
    listener.publish(f"nodes/{gateway.node_id}/down/devices/{device_id}/commands/light",
                     '{"id": "from afar", "on": false}')  # fmt: skip
    reply = listener.wait_for(f"devices/{device_id}/replies/light")
    listener.close()
    assert isinstance(reading["value"], float)
    assert reply["id"] == "from afar"
    heard = run([require("mosquitto_sub"), "-p", str(cloud.mqtt_port), "-u", account, "-P", token,
                 "-t", topic, "-C", "1", "-W", "20"])  # fmt: skip
    assert heard.strip()


def test_the_same_route_answers_through_a_bep_and_100_mb_pass_byte_exact(
    cloud: Cloud, gateway: Gateway, device_id: str, tmp_path: Path
) -> None:
    token = cloud.log_in(edge_id_token=gateway.rpc("getEdgeIdToken")["id_token"])
    expiry = str(int(time.time()) + 3600)
    code = gateway.rpc("getEdgeHmacCode", token, expiry, gateway.node_id, "jsapi://requestBep")
    sep = f"{cloud.url}/sep/{gateway.node_id}/api/climate/v1"
    href = json.loads(curl(f"{sep}/bep?hmac={code['edgeHmacCode']}"))["href"]

    assert device_id in curl(f"{href}{ROOMS}/{device_id}")
    down = tmp_path / "down"
    curl("-o", str(down), f"{href}/api/climate/v1/blob/{BULK_BYTES}")
    local = tmp_path / "local"
    curl("-o", str(local), f"{gateway.url}/api/climate/v1/blob/{BULK_BYTES}")
    assert down.stat().st_size == BULK_BYTES
    assert digest_of(down) == digest_of(local)

    up = tmp_path / "up"
    up.write_bytes(os.urandom(BULK_BYTES))
    back = tmp_path / "back"
    curl("-o", str(back), "--data-binary", f"@{up}", f"{href}/api/climate/v1/echo")
    assert digest_of(back) == digest_of(up)


def test_a_bep_opens_for_nobody_without_a_code(cloud: Cloud, gateway: Gateway) -> None:
    sep = f"{cloud.url}/sep/{gateway.node_id}/api/climate/v1/bep"
    assert httpx.get(sep).status_code in (400, 401, 403)
    assert httpx.get(sep, params={"hmac": f"{int(time.time()) + 60}.{'A' * 43}"}).status_code == 403


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
