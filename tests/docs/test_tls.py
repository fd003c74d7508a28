"""docs/tls.md: its files are written, its commands run, and the whole way goes over TLS."""

import json
import re
import socket
import ssl
import stat
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from cloud.config import load_cloud_config
from gateway.config import load_gateway_config
from settings.errors import SettingsError
from tests.mqtt_peer import Mqtt
from tests.peers import require
from tests.programs import HECATE, ROOT, Program, run, until

TEXT = (ROOT / "docs" / "tls.md").read_text()
BLOB_BYTES = 8_000_000
NODE_SCOPES = "edge:mcm edge:clusters edge:account:associate edge:read:accountkey hec:data"


def blocks(section: str, kind: str) -> list[str]:
    body = re.search(rf"^## {section}\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL)
    assert body, section
    return re.findall(rf"^```{kind}\n(.*?)^```", body[1], re.MULTILINE | re.DOTALL)


@dataclass
class Chain:
    """Cloud and gateway, as the page starts them."""

    folder: Path
    cloud_program: Program
    cloud: str
    cloud_mqtt: int
    gateway_program: Program
    sidecar: str
    gateway_mqtt: int

    @property
    def ca(self) -> Path:
        return self.folder / "tls" / "authority.crt"

    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.ca)

    def ask(self, method: str, url: str, **more: Any) -> httpx.Response:
        return httpx.request(
            method, url, verify=self.trust(), timeout=30, trust_env=False, **more
        ).raise_for_status()

    @property
    def key(self) -> str:
        return (self.folder / "gateway" / "api-key").read_text().strip()

    def local(self, method: str, path: str, **more: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.key}"}
        return self.ask(method, self.sidecar + path, headers=headers, **more).json()

    def rpc(self, method: str, *params: str) -> dict[str, Any]:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
        result: dict[str, Any] = self.local("POST", "/jsonrpc/v1", json=body)["result"]
        return result

    def log_in(self) -> str:
        """Return an access token of the development user, bound to the node."""
        password = (self.folder / "cloud" / "dev-password").read_text().strip()
        person = {"username": "dev", "password": password}
        login = self.ask("POST", f"{self.cloud}/mid/v1/dev/login", data=person)
        form = {
            "grant_type": "id_token_signin",
            "id_token": login.json()["id_token"],
            "edge_id_token": self.rpc("getEdgeIdToken")["id_token"],
            "scope": NODE_SCOPES,
        }
        return str(self.ask("POST", f"{self.cloud}/mid/v1/token", data=form).json()["access_token"])


def adapt(text: str, folder: Path) -> str:
    """Return a block of the page for a folder, this machine and free ports."""
    for old, new in (
        ("/etc/hecate/tls", str(folder / "tls")), ("hecate.example.com", "localhost"),
        ("0.0.0.0", "127.0.0.1"), ("port = 8443", "port = 0"), ("port = 8080", "port = 0"),
        ("\nport = 1884", "\nport = 0"), ("port = 1883", "port = 0"), ("port = 8883", "port = 0"),
        ("port = 8083", "port = 0"),
    ):  # fmt: skip
        text = text.replace(old, new)
    return text


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    folder = tmp_path_factory.mktemp("tls")
    (make,) = blocks("Certificates", "sh")
    run((*HECATE, *adapt(make, folder).split()[1:]))
    with ExitStack() as stack:
        (settings,) = blocks("The cloud", "toml")
        settings = settings.replace(":8080", ":0").replace('public_url = "https://h', '# "')
        (folder / "cloud.toml").write_text(
            adapt(settings, folder) + "\n[mid]\ndevelopment = true\n"
        )
        cloud = stack.enter_context(
            Program((*HECATE, "cloud", "--config", str(folder / "cloud.toml"),
                     "--state", str(folder / "cloud")))
        )  # fmt: skip
        ready = cloud.wait_for(
            r"cloud ready: API https://127.0.0.1:(\d+), MQTT mqtts://127.0.0.1:(\d+), "
            r"relay https://127.0.0.1:(\d+)"
        )
        (settings,) = blocks("The gateway", "toml")
        settings = settings.replace(":8080", f":{ready[1]}").replace(
            "mqtt_port = 1884", f"mqtt_port = {ready[2]}"
        )
        state = folder / "gateway"
        (folder / "gateway.toml").write_text(
            adapt(settings, folder) + f'\n[node]\nstate = "{state}"\n'
        )
        gateway = stack.enter_context(
            Program((*HECATE, "gateway", "--config", str(folder / "gateway.toml")))
        )
        told = gateway.wait_for(r"gateway ready: .* API https://127.0.0.1:(\d+),")
        chain = Chain(folder, cloud, f"https://localhost:{ready[1]}", int(ready[2]), gateway,
                      f"https://localhost:{told[1]}", 0)  # fmt: skip
        until(lambda: not chain.local("GET", "/status/v1")["reasons"], "the gateway is ready")
        listeners = chain.local("GET", "/status/v1")["broker"]["listeners"]
        chain.gateway_mqtt = int(listeners[1].rpartition(":")[2])
        yield chain
        for program in (gateway, cloud):
            program.stop()
            assert "Traceback" not in "".join(program.lines), "".join(program.lines)


# case CL8
def test_the_whole_way_goes_over_tls(chain: Chain, tmp_path: Path) -> None:
    status = chain.local("GET", "/status/v1")
    node_id = status["node"]["id"]
    assert status["sep"]["url"].startswith(f"{chain.cloud.replace('localhost', '127.0.0.1')}/sep/")
    token = chain.log_in()
    account = chain.rpc("associateAccount", token)["accountId"]
    deploy = (*HECATE, "deploy", "examples/climate", "--url", chain.sidecar)
    run(deploy, HECATE_CA_FILE=str(chain.ca), HECATE_API_KEY=chain.key)

    # a reading: device to cloud application
    with Mqtt(chain.cloud_mqtt, account, token, "app", tls=chain.trust()) as application:
        assert application.is_in, application.reason
        assert application.subscribe(f"nodes/{node_id}/devices/#")
        device_id = join_and_publish(chain)
        topic = f"nodes/{node_id}/devices/{device_id}/readings/power"
        until(lambda: application.payloads(topic), "the reading reaches the cloud")

    # a request: SEP
    sep = f"{chain.cloud}/sep/{node_id}/api/climate/v1"
    assert chain.ask("GET", f"{sep}/rooms").status_code == 200

    # bulk: BEP
    expiry = str(int(time.time()) + 600)
    code = chain.rpc("getEdgeHmacCode", token, expiry, node_id, "jsapi://requestBep")
    href = chain.ask("GET", f"{sep}/bep?hmac={code['edgeHmacCode']}").json()["href"]
    assert href.startswith("https://localhost:")
    require("curl")
    curl = ("curl", "-sS", "--fail", "--max-time", "60", "--cacert", str(chain.ca))
    down = tmp_path / "down"
    run((*curl, "-o", str(down), f"{href}/api/climate/v1/blob/{BLOB_BYTES}"))
    local = chain.ask("GET", f"{chain.sidecar}/api/climate/v1/blob/{BLOB_BYTES}").content
    assert down.read_bytes() == local
    back = tmp_path / "back"
    echo = f"{href}/api/climate/v1/echo"
    run((*curl, "-o", str(back), "--data-binary", f"@{down}", echo))
    assert back.read_bytes() == local
    plain = run(("curl", "-sS", href.replace("https:", "http:")))
    assert "requires https://" in json.loads(plain)["detail"]


def join_and_publish(chain: Chain) -> str:
    claim = chain.local("POST", "/devices/v1/claims", json={"uses": 1})["token"]
    with Mqtt(chain.gateway_mqtt, "claim", claim, "board", tls=chain.trust()) as splicer:
        assert splicer.is_in, splicer.reason
        assert splicer.subscribe("$hec/join/board/response")
        splicer.publish("$hec/join/board/request", {"name": "lamp", "model": "paho"})
        answer = until(splicer.payloads, "the gateway answers the join")[0]
    device_id = str(answer["device_id"])
    with Mqtt(chain.gateway_mqtt, device_id, answer["password"], device_id,
              tls=chain.trust()) as device:  # fmt: skip
        assert device.publish(f"devices/{device_id}/readings/power", {"value": 1})
    return device_id


# case CL8
def test_the_commands_of_callers_work(chain: Chain) -> None:
    (commands,) = blocks("Callers", "sh")
    for old, new in (
        ("hecate status", f"{' '.join(HECATE)} status"),
        ("https://hecate.example.com:8083", chain.sidecar),
        ("https://hecate.example.com:8080", chain.cloud),
    ):
        commands = commands.replace(old, new)
    printed = run(adapt(commands, chain.folder), HECATE_API_KEY=chain.key)
    assert '{"status":"ok"}' in printed


# case CL8
def test_a_renewed_certificate_is_taken_up_while_connections_go_on(chain: Chain) -> None:
    port = int(chain.sidecar.rpartition(":")[2])
    before = shown_serial(chain, port)
    with httpx.Client(verify=chain.trust(), trust_env=False) as client:
        client.get(f"{chain.sidecar}/healthz").raise_for_status()
        certificate = chain.folder / "tls" / "gateway.crt"
        certificate.unlink()
        run((*HECATE, "keys", "make", str(chain.folder / "tls"), "--name", "localhost"))
        until(lambda: shown_serial(chain, port) != before, "the new one is in use", 25)
        client.get(f"{chain.sidecar}/healthz").raise_for_status()
    assert "has a renewed certificate" in "".join(chain.gateway_program.lines)


def shown_serial(chain: Chain, port: int) -> str:
    with (
        socket.create_connection(("127.0.0.1", port)) as plain,
        chain.trust().wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        shown = secure.getpeercert()
        assert shown
        return str(shown["serialNumber"])


# case CL8
def test_a_gateway_does_not_take_a_cloud_that_it_cannot_verify(
    chain: Chain, tmp_path: Path
) -> None:
    environ = {
        "HECATE_GATEWAY_NODE_STATE": str(tmp_path / "state"), "HECATE_GATEWAY_BROKER_PORT": "0",
        "HECATE_GATEWAY_SIDECAR_PORT": "0", "HECATE_GATEWAY_CLOUD_URL": chain.cloud,
        "HECATE_GATEWAY_CLOUD_MQTT_PORT": str(chain.cloud_mqtt),
    }  # fmt: skip
    with Program((*HECATE, "gateway"), environ) as program:
        program.wait_for("SEP is down: .*certificate", 15)


def test_files_are_for_their_owner_only(chain: Chain) -> None:
    modes = {stat.S_IMODE(file.stat().st_mode) for file in (chain.folder / "tls").iterdir()}
    assert modes == {0o600}


@pytest.mark.parametrize("section", ["Names and origins of the sidecar", "Without TLS, on purpose"])
def test_the_other_settings_are_good(section: str, tmp_path: Path) -> None:
    (settings,) = blocks(section, "toml")
    file = tmp_path / "settings.toml"
    file.write_text(settings)
    load = load_cloud_config if "[relay]" in settings else load_gateway_config
    load(file, {})
    file.write_text(settings.replace("plaintext_beyond_loopback = true", ""))
    if "[relay]" in settings:
        with pytest.raises(SettingsError, match="without TLS"):
            load(file, {})
