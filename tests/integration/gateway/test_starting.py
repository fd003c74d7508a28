import signal
import stat
import sys
from pathlib import Path

import pytest

from tests.integration.gateway.device_peer import join, log_in
from tests.mqtt_peer import Mqtt
from tests.ports import hold_port
from tests.programs import Program
from tests.system import Gateway
from tests.twin import Twin


def test_a_gateway_keeps_its_identity_and_its_devices(tmp_path: Path) -> None:
    with Gateway(tmp_path) as gateway:
        before, key, token = gateway.node_id, gateway.key, gateway.claim()
        credentials = join(gateway, gateway.claim())
        log_in(gateway, credentials).close()
        assert gateway.stop() == 0
        gateway.start()
        assert (gateway.node_id, gateway.key) == (before, key)
        log_in(gateway, credentials).close()
        join(gateway, token, "board-2")
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in tmp_path.iterdir() if p.is_file()}
    assert set(modes.values()) == {0o600}


def test_devices_and_claims_survive_a_kill(tmp_path: Path) -> None:
    with Gateway(tmp_path) as gateway:
        token = gateway.claim()
        credentials = join(gateway, token)
        gateway.program.kill()
        gateway.start()
        log_in(gateway, credentials).close()
        with Mqtt(gateway.mqtt_port, "claim", token, "board-2") as second:
            assert not second.is_in


@pytest.mark.parametrize(
    ("variable", "section"),
    [("HECATE_GATEWAY_BROKER_PORT", "broker"), ("HECATE_GATEWAY_SIDECAR_PORT", "sidecar")],
)
def test_a_taken_port_is_named_with_its_setting(
    tmp_path: Path, variable: str, section: str
) -> None:
    held = hold_port()
    port = held.getsockname()[1]
    ports = {
        "HECATE_GATEWAY_BROKER_PORT": "0",
        "HECATE_GATEWAY_SIDECAR_PORT": "0",
        variable: str(port),
    }
    environ = {"HECATE_GATEWAY_NODE_STATE": str(tmp_path), **ports}
    with held, Program((sys.executable, "-m", "gateway.cli.serve"), environ) as program:
        assert program.wait() == 1
        assert program.lines[-1] == (
            f"cannot listen on 127.0.0.1:{port}: address already in use; "
            f"set [{section}] port or {variable}\n"
        )
        assert "Traceback" not in "".join(program.lines)


def test_a_second_gateway_on_the_same_state_is_refused(lone: Gateway) -> None:
    with Program((sys.executable, "-m", "gateway.cli.serve"), lone.environ) as second:
        assert second.wait() == 1
        assert "another gateway runs with it" in second.lines[-1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_within_five_seconds(tmp_path: Path, number: signal.Signals) -> None:
    with Gateway(tmp_path, HECATE_GATEWAY_BROKER_ANONYMOUS="loopback") as gateway:
        with Mqtt(gateway.mqtt_port) as client:
            with Twin() as twin:
                assert gateway.program.stop(number, 60) == 0
            assert twin.elapsed_s < 5
            assert client.lost.wait(5)
        assert not list((tmp_path / "run").glob("*.sock"))
        gateway.start()


def test_health_is_open_and_the_rest_is_not(lone: Gateway) -> None:
    assert lone.ask("GET", "/healthz", "").json() == {"status": "ok"}
    assert lone.ask("GET", "/readyz", "").json() == {"status": "ready"}
    metrics = lone.ask("GET", "/metrics", "").text
    assert "hecate_ready 1.0" in metrics
    assert "hecate_broker_store_full 0.0" in metrics
    assert "/devices/v1/claims" in lone.ask("GET", "/openapi.json", "").json()["paths"]
    for method, path in (
        ("GET", "/status/v1"),
        ("GET", "/mds/v1/nodes"),
        ("POST", "/jsonrpc/v1"),
        ("POST", "/devices/v1/claims"),
        ("GET", "/devices/v1/devices"),
        ("DELETE", "/devices/v1/devices/dev-000000000000"),
        ("GET", "/mcm/v1/images"),
        ("POST", "/mcm/v1/containers"),
    ):
        for key in ("", "wrong", "a.b.c"):
            answer = lone.ask(method, path, key)
            assert answer.status_code in (401, 403), path
            assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("path", ["/", "/nope", "/api/none/v1", "/mcm", "/%2e%2e/x", "//"])
def test_unknown_paths_give_problem_documents(lone: Gateway, path: str) -> None:
    answer = lone.ask("GET", path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"].startswith("cannot find /")


def test_a_wrong_method_is_a_problem_document(lone: Gateway) -> None:
    answer = lone.ask("PUT", "/healthz")
    assert (answer.status_code, answer.json()["title"]) == (405, "Method Not Allowed")


def test_this_node_is_its_cluster(lone: Gateway) -> None:
    for clusters in ("linkLocal", "account"):
        answer = lone.call("GET", f"/mds/v1/nodes?clusters={clusters}")
        assert answer["type"] == clusters
        (record,) = answer["data"]
        assert (record["id"], record["name"]) == (lone.node_id, "barn")
        assert record["rolesInCluster"] == ["superNodeLocalLinkNetwork"]
    assert lone.ask("GET", "/mds/v1/nodes?clusters=moon").status_code == 422


def test_a_wish_that_cannot_be_had_is_told_why(lone: Gateway) -> None:
    for wish, key in (({"uses": 0}, "uses"), ({"ttl_s": 1e9}, "ttl_s"), ({"use": 1}, "use")):
        answer = lone.ask("POST", "/devices/v1/claims", json=wish)
        assert answer.status_code == 422
        assert answer.json()["detail"].startswith(f"cannot make claim token: {key}: ")
    assert lone.ask("POST", "/devices/v1/claims", content=b"{").status_code == 422
    assert lone.ask("POST", "/devices/v1/claims", content=b" " * 100_000).status_code == 413
    assert lone.ask("POST", "/devices/v1/claims").json()["uses"] == 1


def test_json_rpc(lone: Gateway) -> None:
    me = lone.rpc("getMe")
    assert (me["nodeId"], me["accountId"], me["name"]) == (lone.node_id, "", "barn")
    for body, code in (
        (b"{", -32700),
        (b"[]", -32600),
        (b'{"method": 5}', -32600),
        (b'{"method": "fly"}', -32601),
        (b'{"method": "getEdgeHmacCode", "params": []}', -32602),
        (b'{"method": "associateAccount", "params": ["x"]}', -32000),
    ):
        answer = lone.call("POST", "/jsonrpc/v1", content=body)
        assert answer["error"]["code"] == code
    assert lone.ask("POST", "/jsonrpc/v1", content=b" " * 100_000).status_code == 413
