"""The examples for one gateway, deployed to a real one and used by independent clients."""

import contextlib
import hashlib
import hmac
import json
import shutil
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from examples.modbus.meter import open_line, serve
from tests.integration.examples.developer import EXAMPLES, Developer
from tests.mqtt_peer import Mqtt
from tests.programs import until
from tests.wheels import pip_environ, repack_installed

READINGS = "devices/attic/readings/temperature"


@pytest.fixture
def client(alone: Developer) -> Iterator[Mqtt]:
    with Mqtt(alone.gateway.mqtt_port) as client:
        yield client


def test_climate_converts_units(alone: Developer, client: Mqtt) -> None:
    alone.deploy("climate")
    client.subscribe("rooms/#")
    client.publish(READINGS, {"value": 21.5})
    until(lambda: client.payloads("rooms/attic/fahrenheit") == [{"value": 70.7, "unit": "°F"}])
    assert alone.get("/climate/v1/rooms/attic")["value"] == 70.7


def test_alarm_remembers_and_takes_another_limit(alone: Developer, client: Mqtt) -> None:
    alone.deploy("alarm", "--set", "limit=25")
    client.subscribe("alarms/#")

    def states() -> list[str]:
        return [alarm["state"] for alarm in client.payloads("alarms/kitchen")]

    for value in (26, 24, 26, 22):  # 24 is within the hysteresis
        client.publish("devices/kitchen/readings/temperature", {"value": value})
    until(lambda: states() == ["alarm", "ok"], "two changes")
    client.publish("devices/kitchen/readings/temperature", {"value": 30})
    until(lambda: len(states()) == 3, "a third change")
    alone.hecate("restart", "alarm")
    assert alone.get("/alarm/v1/rooms") == {"kitchen": "alarm"}
    client.publish("devices/kitchen/readings/temperature", {"value": 31})  # nothing new
    before = alone.gateway.call("GET", "/mcm/v1/containers/api-alarm/versions")
    alone.hecate("settings", "alarm", "limit=40", "hysteresis=5")
    client.publish("devices/kitchen/readings/temperature", {"value": 31})
    until(lambda: states() == ["alarm", "ok", "alarm", "ok"], "it is well by the new limit")
    assert alone.gateway.call("GET", "/mcm/v1/containers/api-alarm/versions") == before


def test_hourly_publishes_hours_and_corrects_them(alone: Developer, client: Mqtt) -> None:
    alone.deploy("hourly")
    until(lambda: time.time() % 3600 < 3540, "an hour that does not end meanwhile", 30)
    an_hour_ago = time.time() - 3600
    topic = "devices/cellar/readings/humidity"
    for value in (40, 50):
        client.publish(topic, {"value": value, "time": an_hour_ago})
    client.publish(topic, {"value": 60})
    until(lambda: len(alone.get("/hourly/v1/hours")["data"]) == 2, "both hours are counted")
    alone.hecate("restart", "hourly")
    alone.hecate("invoke", "hourly", "/close", "-X", "POST")
    client.subscribe("hourly/#")  # the retained messages come now
    until(lambda: client.payloads("hourly/cellar/humidity"), "the hour that is over")
    client.publish(topic, {"value": 60, "time": an_hour_ago})
    until(lambda: len(client.payloads("hourly/cellar/humidity")) == 2, "the corrected hour")
    first, second = client.payloads("hourly/cellar/humidity")
    assert (first["count"], first["mean"]) == (2, 45.0)
    assert (second["count"], second["max"], second["hour"]) == (3, 60, first["hour"])


@pytest.fixture
def serial_line() -> str:
    """Give a line with the simulated meter at its other end."""
    line, path = open_line()

    def run() -> None:
        with contextlib.suppress(OSError):  # nobody closes it: the thread ends with the tests
            serve(line)

    threading.Thread(target=run, daemon=True).start()
    return path


def test_modbus_polls_a_meter_over_a_serial_line(
    alone: Developer, client: Mqtt, serial_line: str, tmp_path: Path
) -> None:
    folder = tmp_path / "modbus"
    shutil.copytree(EXAMPLES / "modbus", folder, ignore=shutil.ignore_patterns("*.lock"))
    for name in ("pymodbus", "pyserial"):
        repack_installed(tmp_path / "index", name)
    pip = pip_environ(tmp_path / "index", tmp_path)
    alone.deploy(folder, "--set", f"port={serial_line}", **pip)
    assert (folder / "requirements.lock").exists()
    client.subscribe("meters/#")
    until(lambda: client.payloads("meters/1/energy"), "it has polled the meter")
    assert client.payloads("meters/1/voltage")[0] == {"value": 230.5, "unit": "V"}
    assert client.payloads("meters/1/energy")[0] == {"value": 123.456, "unit": "kWh"}
    assert alone.get("/modbus/v1/latest")["error"] == ""


def sign(body: bytes, secret: bytes) -> dict[str, str]:
    digest = hmac.new(secret, body, hashlib.sha256).hexdigest()
    return {"content-type": "application/json", "x-hub-signature-256": f"sha256={digest}"}


def test_webhook_takes_what_is_signed(alone: Developer, client: Mqtt, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("s3cret")
    alone.deploy("webhook", "--secret", f"hook_secret=@{tmp_path / 'key'}")
    client.subscribe("hooks/#")
    body = json.dumps({"ref": "häuser"}).encode()

    def post(name: str, headers: dict[str, str]) -> int:
        path = f"/api/webhook/v1/hooks/{name}"
        return alone.gateway.ask("POST", path, "", content=body, headers=headers).status_code

    assert post("git", sign(body, b"s3cret")) == 200
    until(lambda: client.payloads("hooks/git") == [{"ref": "häuser"}], "the hook is published")
    assert post("git", sign(body, b"other")) == 401
    assert post("git", sign(body + b" ", b"s3cret")) == 401
    assert post("git", {"content-type": "application/json"}) == 401
    assert post("a+b", sign(body, b"s3cret")) == 404
    assert len(client.payloads("hooks/git")) == 1


class Receiver(BaseHTTPRequestHandler):
    """Keeps the bodies of requests."""

    got: list[Any]

    def do_POST(self) -> None:
        self.got.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:  # it must not write
        return


@pytest.fixture
def receiver() -> Iterator[tuple[int, list[Any]]]:
    """Give the port of somebody's webhook, and what it gets."""
    kept: list[Any] = []
    server = HTTPServer(("127.0.0.1", 0), type("Keeping", (Receiver,), {"got": kept}))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port, kept
    server.shutdown()
    thread.join()
    server.server_close()


def test_webhook_sends_alarms_to_where_the_network_allows(
    alone: Developer, client: Mqtt, receiver: tuple[int, list[Any]], tmp_path: Path
) -> None:
    port, got = receiver
    (tmp_path / "key").write_text("s3cret")
    secret = ("--secret", f"hook_secret=@{tmp_path / 'key'}")
    folder = tmp_path / "webhook"
    shutil.copytree(EXAMPLES / "webhook", folder)
    manifest = folder / "microservice.toml"
    manifest.write_text(manifest.read_text().replace("hooks.example.com:443", f"127.0.0.1:{port}"))
    alone.deploy(folder, *secret, "--set", f"target=http://127.0.0.1:{port}/in")
    client.publish("alarms/attic", {"state": "alarm"})
    until(lambda: got == [{"topic": "alarms/attic", "alarm": {"state": "alarm"}}], "the POST")


def test_alarm_and_webhook_work_together(alone: Developer, client: Mqtt, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("s3cret")
    key = f"@{tmp_path / 'key'}"
    alone.deploy("webhook", "--secret", f"hook_secret={key}")
    url = "webhook=http://api-webhook.service.hecate/hooks/alarm"
    alone.deploy("alarm", "--set", "limit=25", "--set", url, "--secret", f"webhook_secret={key}")
    client.subscribe("hooks/#")
    client.publish("devices/oven/readings/temperature", {"value": 200})
    until(lambda: client.payloads("hooks/alarm"), "the alarm came by HTTP")
    assert client.payloads("hooks/alarm")[0]["device"] == "oven"
