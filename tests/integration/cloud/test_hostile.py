"""Attacks the cloud's API with bodies, tokens and connections."""

import json
import socket
import time
from pathlib import Path

import httpx
import pytest
from joserfc import jws
from joserfc.jwk import ECKey

from tests.hostile_json import FORMS, NASTY, operations
from tests.integration.cloud.peers import Node
from tests.programs import Program
from tests.system import Cloud, cloud_command

HEAD = b"POST /mst/v1/oauth/token HTTP/1.1\r\nhost: a\r\n"
GREETINGS = {
    "silent": b"",
    "half a head": HEAD,
    "half a body": HEAD + b"content-length: 9\r\n\r\nx",
}
HUGE = 10**300


# case CL1
@pytest.mark.parametrize("greeting", GREETINGS.values(), ids=GREETINGS)
def test_a_burst_of_connections_locks_nobody_out(cloud: Cloud, greeting: bytes) -> None:
    port = int(cloud.url.rpartition(":")[2])
    peers = []
    try:
        for _ in range(2010):
            peers.append(socket.create_connection(("127.0.0.1", port)))
            peers[-1].sendall(greeting)
        for path in ("/healthz", "/mst/v1/jwks.json"):
            assert cloud.call("GET", path).status_code == 200
        assert Node(cloud).register().status_code == 201
        assert cloud.metric("hecate_api_connections_evicted") >= 10
        assert cloud.metric("hecate_api_connections_refused") == 0
    finally:
        for peer in peers:
            peer.close()


# case CL1
@pytest.mark.parametrize("greeting", [b"", b"HEC", b"GET /"])
def test_a_burst_at_the_relay_locks_nobody_out(cloud: Cloud, greeting: bytes) -> None:
    peers = []
    try:
        for _ in range(1100):  # it keeps 1024 that have not said what they are
            peers.append(socket.create_connection(("127.0.0.1", cloud.relay_port)))
            peers[-1].sendall(greeting)
        answer = httpx.get(f"http://127.0.0.1:{cloud.relay_port}/{'x' * 22}/", trust_env=False)
        assert answer.status_code == 404
    finally:
        for peer in peers:
            peer.close()


# case CL1
def test_a_burst_at_the_clouds_broker_locks_nobody_out(cloud: Cloud, node: Node) -> None:
    peers = []
    try:
        for _ in range(2100):  # it keeps 2,000 that have not logged in
            peers.append(socket.create_connection(("127.0.0.1", cloud.mqtt_port)))
        with socket.create_connection(("127.0.0.1", cloud.mqtt_port), timeout=20) as mqtt:
            mqtt.sendall(connect_packet(node.node_id, node.token()))
            assert mqtt.recv(4) == b"\x20\x02\x00\x00"
    finally:
        for peer in peers:
            peer.close()


def connect_packet(node_id: str, token: str) -> bytes:
    """Return a CONNECT of MQTT 3.1.1 by hand: paho selects, which ends at 1,024 descriptors."""
    fields = (node_id.encode(), node_id.encode(), token.encode())
    body = b"\0\4MQTT\4\xc2\0\x3c" + b"".join(len(f).to_bytes(2, "big") + f for f in fields)
    return bytes([0x10, len(body) & 0x7F | 0x80, len(body) >> 7]) + body


# case G16
@pytest.mark.parametrize("body", NASTY.values(), ids=NASTY)
def test_no_json_makes_the_cloud_fail(cloud: Cloud, node: Node, body: bytes) -> None:
    token = node.token()
    for method, path in operations(cloud.call("GET", "/openapi.json").json()):
        if path.startswith("/sep/"):  # any body is for the node
            continue
        for kind in ("application/json", "application/jwt"):
            headers = {"content-type": kind}
            answer = cloud.call(method, path, token, headers=headers, content=body)
            assert 400 <= answer.status_code < 500, (path, kind, answer.text)
            assert answer.headers["content-type"] == "application/problem+json"


# case G16
@pytest.mark.parametrize(("kind", "body"), FORMS.values(), ids=FORMS)
def test_no_form_makes_the_cloud_fail(cloud: Cloud, node: Node, kind: str, body: bytes) -> None:
    token = node.token()
    for method, path in operations(cloud.call("GET", "/openapi.json").json()):
        if not path.startswith("/sep/"):
            answer = cloud.call(method, path, token, headers={"content-type": kind}, content=body)
            assert 400 <= answer.status_code < 500, (path, answer.text)


# case G16
@pytest.mark.parametrize(
    "claims",
    [
        {"jti": "\ud800"}, {"exp": float("nan")}, {"exp": float("inf")}, {"exp": HUGE},
        {"exp": -HUGE}, {"iss": "\ud800"}, {"aud": "\ud800"}, {"more": [[["\ud800"]]]},
        {"node": {"id": "\ud800", "name": float("nan")}},
    ],
    ids=str,
)  # fmt: skip
def test_no_claim_makes_the_cloud_fail(cloud: Cloud, claims: dict[str, object]) -> None:
    node = Node(cloud)
    form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer"}
    own = {"iss": node.node_id, "sub": node.node_id, "aud": "mst"}
    assertion = sign_anything(node, own | claims)
    answer = cloud.call("POST", "/mst/v1/oauth/token", data=form | {"assertion": assertion})
    assert answer.status_code == 400
    form = {"grant_type": "id_token_signin", "id_token": cloud.dev_id_token()}
    edge = sign_anything(node, {"aud": "mid", "sub": "", "node_id": node.node_id} | claims)
    answer = cloud.call("POST", "/mid/v1/token", data=form | {"edge_id_token": edge})
    assert answer.status_code == 400
    answer = cloud.call("POST", "/mds/v1/nodes", node.token(), content=edge.encode())
    assert answer.status_code == 400


# case G16
def test_no_nesting_of_claims_makes_the_cloud_fail(cloud: Cloud) -> None:
    node = Node(cloud)
    deep = b"[" * 2500 + b"]" * 2500
    form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer"}
    assertion = sign_payload(node, b'{"aud": "mst", "a": ' + deep + b"}")
    answer = cloud.call("POST", "/mst/v1/oauth/token", data=form | {"assertion": assertion})
    assert answer.status_code == 400
    form = {"grant_type": "id_token_signin", "id_token": assertion}
    assert cloud.call("POST", "/mid/v1/token", data=form).status_code == 400


def sign_anything(node: Node, claims: dict[str, object]) -> str:
    now = int(time.time())
    return sign_payload(
        node, json.dumps({"jti": "a", "iat": now, "exp": now + 60} | claims).encode()
    )


def sign_payload(node: Node, payload: bytes) -> str:
    key = ECKey.import_key(node.key.private)
    header = {"alg": "ES256", "typ": "JWT", "jwk": key.as_dict(private=False)}
    return jws.serialize_compact(header, payload, key, algorithms=["ES256"])


# case CL8
@pytest.mark.parametrize("section", ["api", "mqtt", "relay"])
def test_no_listener_serves_the_network_without_tls(tmp_path: Path, section: str) -> None:
    file = tmp_path / "cloud.toml"
    file.write_text(f'[{section}]\nhost = "0.0.0.0"\n')
    with Program(cloud_command(tmp_path / "state", "--config", str(file))) as program:
        program.wait_for(rf"\[{section}\].*without TLS.*plaintext_beyond_loopback")
        assert program.wait() == 1


# case CL8
def test_a_host_on_the_command_line_is_no_way_round(tmp_path: Path) -> None:
    with Program(cloud_command(tmp_path / "state", "--host", "0.0.0.0")) as program:
        program.wait_for("cannot start: .*without TLS")
        assert program.wait() == 1


# case CL8
def test_the_risk_can_be_taken(tmp_path: Path) -> None:
    file = tmp_path / "cloud.toml"
    sections = ("api", "mqtt", "relay")
    file.write_text("".join(f"[{s}]\nplaintext_beyond_loopback = true\n" for s in sections))
    more = ("--config", str(file), "--host", "0.0.0.0")
    with Program(cloud_command(tmp_path / "state", *more)) as program:
        program.wait_for(r"cloud ready: API http://0.0.0.0:\d+, MQTT 0.0.0.0:\d+")


# case CL8
@pytest.mark.parametrize("section", ["api", "mqtt", "relay"])
def test_files_that_do_not_serve_stop_the_start(tmp_path: Path, section: str) -> None:
    (tmp_path / "a.crt").write_text("nothing")
    file = tmp_path / "cloud.toml"
    file.write_text(f'[{section}]\ntls_cert = "{tmp_path}/a.crt"\ntls_key = "{tmp_path}/b.key"\n')
    with Program(cloud_command(tmp_path / "state", "--config", str(file))) as program:
        program.wait_for(rf"cannot use \[{section}\] tls_cert = .*a.crt, tls_key = .*b.key: ")
        assert program.wait() == 1


def test_half_a_tls_configuration_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "cloud.toml"
    file.write_text('[relay]\ntls_cert = "a.crt"\n')
    with Program(cloud_command(tmp_path / "state", "--config", str(file))) as program:
        program.wait_for(r"\[relay\] tls_cert and tls_key must be given together")
        assert program.wait() == 1
