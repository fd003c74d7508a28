"""The sidecar against peers that mean it harm, and those that are only in their way."""

import json
import socket
from pathlib import Path

import httpx
import pytest

from tests.hostile_json import FORMS, NASTY, operations
from tests.programs import Program
from tests.system import Gateway

CONNECTIONS = 600  # beyond all that the sidecar keeps
HEAD = b"POST /jsonrpc/v1 HTTP/1.1\r\nhost: localhost\r\n"
GREETINGS = {
    "silent": b"",
    "half a head": HEAD,
    "half a body": HEAD + b"content-length: 9\r\n\r\nx",
}


# case G5
@pytest.mark.parametrize("greeting", GREETINGS.values(), ids=GREETINGS)
def test_a_burst_of_connections_locks_nobody_out(lone: Gateway, greeting: bytes) -> None:
    port = int(lone.url.rpartition(":")[2])
    peers = []
    for _ in range(CONNECTIONS):
        peers.append(socket.create_connection(("127.0.0.1", port)))
        peers[-1].sendall(greeting)
    try:
        for _ in range(3):
            assert lone.ask("GET", "/healthz", "").status_code == 200
        assert lone.rpc("getMe")["nodeId"] == lone.node_id
        counts = lone.status()["api"]
        assert counts["connections"] <= 512
        assert counts["connections_evicted"] >= CONNECTIONS - 512
        assert counts["connections_refused"] == 0
        text = lone.ask("GET", "/metrics", "").text
        assert "hecate_api_connections_evicted_total" in text
    finally:
        for peer in peers:
            peer.close()


# case G6
@pytest.mark.parametrize("path", ["/metrics", "/openapi.json", "/healthz", "/jsonrpc/v1", "/a/b"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 421),
        ({"host": "evil.example:8083"}, 421),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"host": "evil.example", "origin": "http://evil.example"}, 421),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}, 403),
    ],
)
def test_pages_of_other_sites_get_nothing(
    lone: Gateway, path: str, headers: dict[str, str], status: int
) -> None:
    for method in ("GET", "POST"):
        more = headers | {"content-type": "text/plain"}
        answer = lone.ask(method, path, headers=more, content=b"{}" if method == "POST" else b"")
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert "access-control-allow-origin" not in answer.headers


# case G6
def test_an_upgrade_to_websocket_is_no_way_round(lone: Gateway) -> None:
    port = int(lone.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as peer:
        peer.sendall(
            b"GET /mqtt HTTP/1.1\r\nhost: evil.example\r\norigin: http://evil.example\r\n"
            b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"
            b"sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        assert peer.recv(100).startswith(b"HTTP/1.1 421 ")


# case G6
def test_the_names_of_the_gateway_and_those_configured_are_served(tmp_path: Path) -> None:
    allowed = "https://app.example.com"
    settings = {
        "HECATE_GATEWAY_SIDECAR_HOSTS": "gw.example.com,*.lab.example",
        "HECATE_GATEWAY_SIDECAR_ORIGINS": allowed,
    }
    with Gateway(tmp_path / "state", **settings) as gateway:
        own = gateway.url.removeprefix("http://")
        machine = socket.gethostname()
        for host in (own, "localhost", machine, "barn", "barn.local", "gw.example.com",
                     "a.lab.example:1"):  # fmt: skip
            answer = gateway.ask("GET", "/healthz", "", headers={"host": host})
            assert answer.status_code == 200, host
        answer = gateway.ask("GET", "/healthz", "", headers={"origin": f"http://{own}"})
        assert answer.status_code == 200
        answer = gateway.ask("GET", "/healthz", "", headers={"origin": allowed})
        assert answer.headers["access-control-allow-origin"] == allowed
        asked = {
            "origin": allowed,
            "access-control-request-method": "DELETE",
            "access-control-request-headers": "authorization",
        }
        answer = gateway.ask("OPTIONS", "/jsonrpc/v1", "", headers=asked)
        assert answer.status_code == 204
        assert answer.headers["access-control-allow-headers"] == "authorization"
        assert "DELETE" in answer.headers["access-control-allow-methods"]


# case G16
@pytest.mark.parametrize("body", NASTY.values(), ids=NASTY)
def test_no_json_makes_the_sidecar_fail(lone: Gateway, body: bytes) -> None:
    for method, path in operations(lone.call("GET", "/openapi.json")):
        for kind in ("application/json", "text/plain"):
            answer = lone.ask(method, path, headers={"content-type": kind}, content=body)
            assert answer.status_code != 500, (path, kind, answer.text)
    answer = lone.ask("POST", "/jsonrpc/v1", content=body)
    assert answer.json()["error"]["code"] in (-32700, -32600)


# case G16
@pytest.mark.parametrize(("kind", "body"), FORMS.values(), ids=FORMS)
def test_no_form_makes_the_sidecar_fail(lone: Gateway, kind: str, body: bytes) -> None:
    for method, path in operations(lone.call("GET", "/openapi.json")):
        answer = lone.ask(method, path, headers={"content-type": kind}, content=body)
        assert answer.status_code != 500, (path, answer.text)


# case G16
@pytest.mark.parametrize("call_id", ["[]", "{}", "true", '{"a": [1]}'])
def test_an_id_is_a_text_or_a_number(lone: Gateway, call_id: str) -> None:
    body = '{"jsonrpc": "2.0", "method": "getMe", "id": %s}' % call_id  # noqa: UP031
    answer = lone.call("POST", "/jsonrpc/v1", content=body.encode())
    assert answer["error"]["code"] == -32600
    assert answer["id"] is None


# case CL8
@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_the_sidecar_does_not_serve_the_network_without_tls(tmp_path: Path, host: str) -> None:
    environ = {"HECATE_GATEWAY_NODE_STATE": str(tmp_path), "HECATE_GATEWAY_SIDECAR_HOST": host}
    command = Gateway.command(object.__new__(Gateway))
    with Program(command, environ) as program:
        program.wait_for(r"\[sidecar\] host = .*without TLS.*plaintext_beyond_loopback")
        assert program.wait() == 1


# case CL8
def test_the_risk_can_be_taken_and_plain_mqtt_beyond_loopback_says_so(tmp_path: Path) -> None:
    environ = {
        "HECATE_GATEWAY_NODE_STATE": str(tmp_path), "HECATE_GATEWAY_SIDECAR_HOST": "0.0.0.0",
        "HECATE_GATEWAY_SIDECAR_PLAINTEXT_BEYOND_LOOPBACK": "true",
        "HECATE_GATEWAY_SIDECAR_PORT": "0",
        "HECATE_GATEWAY_BROKER_HOST": "0.0.0.0", "HECATE_GATEWAY_BROKER_PORT": "0",
    }  # fmt: skip
    with Program(Gateway.command(object.__new__(Gateway)), environ) as program:
        ready = program.wait_for(
            r"MQTT 0.0.0.0:\d+ \(network, not encrypted\), API http://0.0.0.0:(\d+)"
        )
        answer = httpx.get(f"http://127.0.0.1:{ready[1]}/healthz", trust_env=False)
        assert json.loads(answer.text) == {"status": "ok"}
