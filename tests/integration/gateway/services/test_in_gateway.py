"""The promises about messages, as a whole gateway keeps them."""

import base64
from pathlib import Path

from gateway.mqtt.hops import LIMIT
from gateway.services.images.pack import pack_image
from tests.integration.gateway.services.world import write_service
from tests.paho_client import V5, Paho
from tests.programs import until
from tests.system import Gateway

MQTT = '[mqtt]\nsubscribe = ["#"]\npublish = ["#"]\n[retry]\ntries = 2\nfirst_delay_s = 0.05\n'
LETTERS = "/mcm/v1/containers/{}/deadletters"


def deploy(gateway: Gateway, folder: Path, name: str) -> str:
    """Deploy a service; return the container's id."""
    image = gateway.call("POST", "/mcm/v1/images", files={"image": ("i", pack_image(folder))})
    body = {"name": name, "image": image["name"]}
    return str(gateway.call("POST", "/mcm/v1/containers", json=body)["id"])


def passing(source: str, target: str) -> str:
    return f"""
@service.on("{source}")
async def pass_on(message):
    await service.publish("{target}", str(int(message.text()) + 1))
"""


def test_dead_letters_and_cut_chains(tmp_path: Path) -> None:
    folders = {
        "ping": write_service(tmp_path / "ping", passing("x", "y"), name="ping", toml=MQTT),
        "pong": write_service(tmp_path / "pong", passing("y", "x"), name="pong", toml=MQTT),
    }
    with Gateway(tmp_path / "state", HECATE_GATEWAY_BROKER_ANONYMOUS="loopback") as gateway:
        ids = {name: deploy(gateway, folder, name) for name, folder in folders.items()}
        letters = LETTERS.format(ids["ping"])
        with Paho("person", V5) as person:
            person.connect("127.0.0.1", gateway.mqtt_port)
            person.subscribe("$hec/deadletters/#", 1)
            person.subscribe("x", 1)
            person.publish("x", b"0", 1)
            numbers: list[int] = []
            while not numbers or numbers[-1] < LIMIT:
                numbers.append(int(person.take().payload))
            assert numbers == list(range(0, LIMIT + 1, 2))
            person.publish("x", b"no number", 1)
            assert person.take().payload == b"no number"
            announced = person.take()
            assert announced.topic == f"$hec/deadletters/{ids['ping']}"
            assert announced.payload == b"no number"
            assert person.messages.empty(), "the chain was not cut"
        (letter,) = until(lambda: gateway.call("GET", letters)["data"], "the dead letter")
        assert base64.b64decode(letter["payload"]) == b"no number"
        assert "ValueError: invalid literal for int()" in letter["error"]
        metric = f'hecate_container_dead_letters{{container="{ids["ping"]}"}} 1.0'
        assert metric in gateway.ask("GET", "/metrics").text
        log = "".join(gateway.program.lines)
        assert log.count("chain of messages cut") == 1
        assert gateway.stop() == 0
        gateway.start()
        assert gateway.call("GET", letters)["data"] == [letter]
        gateway.until_ready()
        gateway.call("POST", f"{letters}/{letter['id']}/retry")
        again = until(lambda: gateway.call("GET", letters)["data"], "the dead letter again")
        assert again[0]["tries"] == 4
        gateway.call("DELETE", f"/mcm/v1/containers/{ids['ping']}")
        assert gateway.ask("GET", letters).status_code == 404
        assert deploy(gateway, folders["ping"], "ping") == ids["ping"]
        assert gateway.call("GET", letters) == {"data": [], "dropped": 0}, "it is another container"
