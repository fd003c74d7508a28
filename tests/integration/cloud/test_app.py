import json
import socket
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from signal import SIGINT, SIGTERM, Signals

import httpx
import pytest

from protocol.http_body import HttpRequest, HttpResponse
from tests.integration.cloud.peers import Node
from tests.ports import hold_port
from tests.programs import Program, until
from tests.system import cloud_command, start_cloud
from tests.twin import Twin

STOPS_IN_S = 5  # SIGTERM to the end of the process


def slow(_: HttpRequest) -> HttpResponse | None:
    return None


@pytest.mark.parametrize("number", [SIGTERM, SIGINT])
def test_ends_cleanly_within_5_s_even_with_callers_waiting(tmp_path: Path, number: Signals) -> None:
    cloud = start_cloud(tmp_path / "state")
    node = Node(cloud)
    node.register().raise_for_status()
    with node.serve(slow), ThreadPoolExecutor() as pool:
        waiting = pool.submit(cloud.call, "GET", f"/sep/{node.node_id}/x")
        until(lambda: node.requests, "the request reaches the node")
        with Twin() as twin:
            assert cloud.program.stop(number, 60) == 0
        assert twin.elapsed_s < STOPS_IN_S
        assert waiting.result().status_code == 503


def test_ends_within_5_s_though_a_caller_never_finishes_its_request(tmp_path: Path) -> None:
    cloud = start_cloud(tmp_path / "state")
    node = Node(cloud)
    node.register().raise_for_status()
    address = ("127.0.0.1", int(cloud.url.rsplit(":", 1)[1]))
    head = f"POST /sep/{node.node_id}/x HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc"
    with socket.create_connection(address) as caller:
        caller.sendall(head.encode())
        until(lambda: cloud.call("GET", "/healthz").status_code == 200, "it was read")
        with Twin() as twin:
            assert cloud.program.stop(timeout_s=60) == 0
    assert twin.elapsed_s < STOPS_IN_S
    assert "Traceback" not in "".join(cloud.program.lines)


def test_second_start_finds_its_state(tmp_path: Path) -> None:
    cloud = start_cloud(tmp_path / "state")
    node = Node(cloud)
    node.register().raise_for_status()
    account = node.associate(cloud.dev_id_token())
    keys = cloud.call("GET", "/mst/v1/jwks.json").json()
    sealing = cloud.call("GET", "/mss/v1/sealing-key").json()
    token = node.token()
    assert cloud.program.stop() == 0

    again = start_cloud(tmp_path / "state")
    try:
        assert again.call("GET", "/mst/v1/jwks.json").json() == keys
        assert again.call("GET", "/mss/v1/sealing-key").json() == sealing
        own = again.call("GET", f"/mds/v1/nodes/{node.node_id}", token)
        assert own.json()["account"]["id"] == account
        assert {p.stat().st_mode & 0o077 for p in (tmp_path / "state").iterdir()} == {0}
    finally:
        assert again.program.stop() == 0


@pytest.mark.parametrize(
    ("option", "setting"),
    [
        ("--port", "[api] port or HECATE_CLOUD_API_PORT"),
        ("--mqtt-port", "[mqtt] port or HECATE_CLOUD_MQTT_PORT"),
        ("--relay-port", "[relay] port or HECATE_CLOUD_RELAY_PORT"),
    ],
)
def test_taken_port_is_named_with_its_setting(tmp_path: Path, option: str, setting: str) -> None:
    with hold_port() as taken:
        port = taken.getsockname()[1]
        program = Program(cloud_command(tmp_path, option, str(port)))
        why = f"cannot listen on 127.0.0.1:{port}: address already in use; set {setting}"
        assert program.wait() == 1
        assert program.lines[-1].strip() == why


def test_unknown_setting_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text("[api]\nprot = 1\n")
    program = Program(cloud_command(tmp_path, "--config", str(file)))
    assert program.wait() == 1
    assert "[api] prot: is not known" in "".join(program.lines)


def test_without_development_there_is_no_password_and_no_login(tmp_path: Path) -> None:
    cloud = start_cloud(tmp_path / "state", "")
    try:
        form = {"username": "dev", "password": ""}
        answer = cloud.call("POST", "/mid/v1/dev/login", data=form)
        assert answer.status_code == 404
        assert not (tmp_path / "state" / "dev-password").exists()
    finally:
        assert cloud.program.stop() == 0


def test_store_that_fails_makes_it_unready_and_callers_are_told(tmp_path: Path) -> None:
    cloud = start_cloud(tmp_path / "state")
    node = Node(cloud)
    try:
        assert cloud.call("GET", "/readyz").status_code == 200
        with sqlite3.connect(tmp_path / "state" / "cloud.db") as other:
            other.execute("DROP TABLE nodes")
        answer = node.register()
        assert answer.status_code == 503
        assert "store" in answer.json()["detail"]
    finally:
        assert cloud.program.stop() == 0


def test_public_addresses_are_those_configured(tmp_path: Path) -> None:
    config = (
        '[api]\npublic_url = "https://cloud.example/"\n'
        '[relay]\npublic_host = "relay.example"\npublic_port = 443\n'
    )
    cloud = start_cloud(tmp_path / "state", config)
    node = Node(cloud)
    try:
        record = node.register().json()
        (address,) = record["addresses"]
        assert address["url"]["href"] == f"https://cloud.example/sep/{node.node_id}"
        bep = cloud.call("POST", "/mss/v1/beps", node.token()).json()
        assert bep["url"] == f"http://relay.example:443/{bep['id']}"
    finally:
        assert cloud.program.stop() == 0


def test_forwarded_address_is_believed_of_trusted_proxies_only(tmp_path: Path) -> None:
    cloud = start_cloud(tmp_path / "state", '[api]\ntrusted_proxies = ["127.0.0.1"]\n')
    node = Node(cloud)
    node.register().raise_for_status()
    try:
        with node.serve(lambda _: HttpResponse(200)):
            headers = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"}
            cloud.call("GET", f"/sep/{node.node_id}/x", headers=headers).raise_for_status()
        got = dict(node.requests[0].headers)
        assert (got["x-forwarded-for"], got["x-forwarded-proto"]) == ("192.0.2.7", "https")
    finally:
        assert cloud.program.stop() == 0


def test_openapi_describes_what_is_served(tmp_path: Path) -> None:
    cloud = start_cloud(tmp_path / "state")
    try:
        document = httpx.get(f"{cloud.url}/openapi.json").json()
    finally:
        assert cloud.program.stop() == 0
    operations = [o for path in document["paths"].values() for o in path.values()]
    assert len(operations) > 15
    assert all(o.get("summary") and o.get("description") for o in operations)
    assert len({o["operationId"] for o in operations}) == len(operations)
    assert all(
        "application/problem+json" in o["responses"]["default"]["content"] for o in operations
    )
    assert "HTTPValidationError" not in json.dumps(document)
