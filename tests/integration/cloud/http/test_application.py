import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.integration.cloud.peers import Node
from tests.system import Cloud, start_cloud
from tests.twin import Twin

OPEN = {
    "POST /mst/v1/oauth/token",
    "POST /mst/v1/oauth/device_authorization",
    "GET /mst/v1/jwks.json",
    "POST /mid/v1/token",
    "POST /mid/v1/dev/login",
    "GET /mid/v1/device",
    "POST /mid/v1/device",  # it asks who decides
    "GET /mss/v1/sealing-key",
    "GET /mss/v1/mqtt",
    "GET /healthz",
    "GET /readyz",
    "GET /metrics",
}
FILLED = {"{node_id}": "a" * 56, "{bep_id}": "b" * 22}


def operations(cloud: Cloud) -> Iterator[tuple[str, str]]:
    document = cloud.call("GET", "/openapi.json").json()
    for path, methods in document["paths"].items():
        for method in methods:
            yield method.upper(), path


def assert_problem(answer: httpx.Response, status: int) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert problem["detail"].startswith("cannot ")


def test_nothing_but_what_is_meant_to_be_open_is_open(cloud: Cloud) -> None:
    guarded = 0
    for method, path in operations(cloud):
        if f"{method} {path}" in OPEN or path.startswith("/sep/"):
            continue
        filled = re.sub(r"\{\w+\}", lambda m: FILLED[m[0]], path)
        for token in ("", "forged"):
            answer = cloud.call(method, filled, token)
            assert_problem(answer, 401)
            assert answer.headers["www-authenticate"].startswith("Bearer")
        guarded += 1
    assert guarded >= 8


def test_tokens_of_other_kinds_open_nothing(cloud: Cloud, node: Node) -> None:
    relay_token = cloud.call("POST", "/mss/v1/beps", node.token()).json()["token"]
    for token in (relay_token, cloud.dev_id_token(), node.assertion(), node.edge_id_token()):
        assert_problem(cloud.call("GET", "/mss/v1/beps", token), 401)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/none", 404),
        ("DELETE", "/healthz", 405),
        ("POST", "/mst/v1/oauth/token", 422),
        ("TRACE", "/sep/" + "a" * 56 + "/x", 405),
        ("GET", "/sep", 404),
    ],
)
def test_errors_are_problem_documents(cloud: Cloud, method: str, path: str, status: int) -> None:
    assert_problem(cloud.call(method, path), status)


def test_validation_errors_do_not_repeat_the_input(cloud: Cloud) -> None:
    form = {"username": "dev", "pasword": "hunter2"}
    answer = cloud.call("POST", "/mid/v1/dev/login", data=form)
    assert_problem(answer, 422)
    assert answer.json()["errors"][0]["where"] == "body.password"
    assert "hunter2" not in answer.text


def test_large_bodies_are_refused_whether_declared_or_not(cloud: Cloud) -> None:
    form = {"grant_type": "x", "assertion": "a" * 70_000}
    assert_problem(cloud.call("POST", "/mst/v1/oauth/token", data=form), 413)

    def chunks() -> Iterator[bytes]:
        yield b"grant_type=x&assertion="
        for _ in range(70):
            yield b"a" * 1000

    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = cloud.call("POST", "/mst/v1/oauth/token", content=chunks(), headers=headers)
    assert_problem(answer, 413)


def test_answers_do_not_wait_for_delayed_acknowledgements(cloud: Cloud) -> None:
    with httpx.Client(trust_env=False) as client:
        client.get(f"{cloud.url}/healthz")
        with Twin() as twin:
            for _ in range(25):
                client.get(f"{cloud.url}/healthz").raise_for_status()
    assert twin.elapsed_s < 25 * 0.03  # Linux delays an ACK by 40 ms


def test_health_and_numbers(cloud: Cloud, node: Node) -> None:
    assert cloud.call("GET", "/healthz").json() == {"status": "ok"}
    assert cloud.call("GET", "/readyz").json() == {"status": "ready"}
    before = cloud.metric('hecate_tokens_issued_total{kind="node"}')
    node.token()
    assert cloud.metric('hecate_tokens_issued_total{kind="node"}') == before + 1
    assert cloud.metric("hecate_node_registrations_total") >= 1
    with node.connect():
        assert cloud.metric("hecate_clients") == 1
        assert cloud.metric("hecate_broker_connections") == 1
    assert cloud.metric('hecate_http_requests_total{service="mst",status="200"}') > 0


# case CL10
def test_numbers_and_reasons_are_not_for_strangers(tmp_path: Path) -> None:
    token = "a-token-of-the-operator"
    config = f'[metrics]\ntoken = "{token}"\n[api]\ntrusted_proxies = ["127.0.0.1"]\n'
    cloud = start_cloud(tmp_path / "state", config)
    stranger = {"X-Forwarded-For": "203.0.113.9"}
    with cloud.program:
        assert cloud.call("GET", "/metrics").status_code == 200, "this machine may"
        for headers in (stranger, {"Forwarded": "for=203.0.113.9"}, {"Via": "1.1 proxy"}):
            assert_problem(cloud.call("GET", "/metrics", headers=headers), 401)
            assert_problem(cloud.call("GET", "/metrics", "wrong", headers=headers), 401)
            assert cloud.call("GET", "/metrics", token, headers=headers).status_code == 200
        assert cloud.call("GET", "/readyz", headers=stranger).status_code == 200
    assert token not in "".join(cloud.program.lines)
