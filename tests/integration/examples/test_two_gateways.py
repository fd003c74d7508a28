"""The examples for two gateways of one account, which only a cloud connects."""

import shutil
from pathlib import Path
from typing import Any

import httpx

from tests.integration.examples.developer import EXAMPLES, Developer
from tests.mqtt_peer import Mqtt
from tests.programs import until
from tests.system import Cloud

PNG = b"\x89PNG\r\n\x1a\n"


def test_house_collects_the_rooms_of_both(two: tuple[Developer, Developer]) -> None:
    near, far = two
    near.deploy("house")
    far.deploy("climate")
    with Mqtt(far.gateway.mqtt_port) as client:
        client.publish("devices/attic/readings/temperature", {"value": 20})
    until(lambda: far.get("/climate/v1/rooms")["data"], "climate has the reading")

    def nodes() -> Any:
        return near.get("/house/v1/rooms")["nodes"]

    until(lambda: len(nodes()) == 1, "the account knows the far service", 40)
    room = {"room": "attic", "value": 68.0, "unit": "°F"}
    assert list(nodes().values()) == [[room]]
    assert near.get("/house/v1/rooms/attic") == room
    near.deploy("climate")
    until(lambda: len(nodes()) == 2, "it sees its own node as well")
    assert sorted(map(len, nodes().values())) == [0, 1]


def test_viewer_sees_the_camera_of_another_node(
    two: tuple[Developer, Developer], cloud: Cloud, tmp_path: Path
) -> None:
    near, far = two
    far.deploy("camera", "--set", "frames_per_s=60")
    folder = tmp_path / "viewer"
    shutil.copytree(EXAMPLES / "viewer", folder)
    manifest = folder / "microservice.toml"
    manifest.write_text(manifest.read_text().replace(":8443", f":{cloud.relay_port}"))
    near.deploy(folder)

    def thumbnail() -> httpx.Response:
        return near.gateway.ask("GET", "/api/viewer/v1/thumbnail", "")

    until(lambda: thumbnail().status_code == 200, "the account knows the camera", 40)
    answer = thumbnail()
    assert answer.headers["content-type"] == "image/png"
    assert answer.content.startswith(PNG)
    code = near.hecate("code", far.gateway.node_id).strip()
    # by a service
    seen = near.get("/viewer/v1/measure", params={"code": code, "frames": 5})
    assert seen["frames"] == 5
    assert seen["bytes"] > 5 * 300_000
    # by a person
    sep = f"{cloud.url}/sep/{far.gateway.node_id}/api/camera/v1"
    href = httpx.get(f"{sep}/bep?hmac={code}", trust_env=False, timeout=30).json()["href"]
    url = f"{href}/api/camera/v1/stream?frames=3"
    assert httpx.get(url, trust_env=False, timeout=30).content.count(PNG) == 3
    # a body for the BEP does not pass the SEP
    assert httpx.get(f"{sep}/stream?frames=1", trust_env=False, timeout=30).status_code == 413
