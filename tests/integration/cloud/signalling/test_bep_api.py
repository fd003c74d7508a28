import socket
import time
from pathlib import Path

from protocol.preface import (
    FRAME_BYTES,
    FrameType,
    Preface,
    PrefaceRole,
    PrefaceStatus,
    decode_frame,
)
from protocol.preface import encode_preface as preface
from tests.integration.cloud.peers import Node
from tests.system import Cloud, start_cloud


def dial(cloud: Cloud, role: PrefaceRole, token: str) -> tuple[socket.socket, PrefaceStatus]:
    connection = socket.create_connection(("127.0.0.1", cloud.relay_port), timeout=10)
    connection.sendall(preface(Preface(role, token)))
    return connection, PrefaceStatus(connection.recv(1)[0])


def test_a_bep_carries_a_visitor_to_the_node_until_it_is_deleted(cloud: Cloud, node: Node) -> None:
    token = node.token()
    made = cloud.call("POST", "/mss/v1/beps", token, json={"ttl_s": 60})
    assert made.status_code == 201
    bep = made.json()
    assert bep["relay"] == {"host": "127.0.0.1", "port": cloud.relay_port}
    assert bep["url"] == f"http://127.0.0.1:{cloud.relay_port}/{bep['id']}"
    assert abs(bep["expires_at"] - time.time() - 60) < 5

    control, status = dial(cloud, PrefaceRole.CONTROL, bep["token"])
    with control:
        assert status is PrefaceStatus.ACCEPTED
        data, status = dial(cloud, PrefaceRole.DATA, bep["token"])
        with data, socket.create_connection(("127.0.0.1", cloud.relay_port), timeout=10) as visitor:
            assert status is PrefaceStatus.ACCEPTED
            request = f"GET /{bep['id']}/x HTTP/1.1\r\n\r\n".encode()
            visitor.sendall(request)
            assert receive(data, len(request)) == request
            data.sendall(b"bytes")
            assert receive(visitor, 5) == b"bytes"
            assert listed(cloud, token) == [bep["id"]]
            assert cloud.call("DELETE", f"/mss/v1/beps/{bep['id']}", token).status_code == 204
            assert end_of(control) is FrameType.END
            assert is_cut(visitor)
    assert listed(cloud, token) == []
    refused, status = dial(cloud, PrefaceRole.CONTROL, bep["token"])
    refused.close()
    assert status is not PrefaceStatus.ACCEPTED


def test_a_deleted_bep_stays_deleted_when_the_relay_starts_again(tmp_path: Path) -> None:
    cloud = start_cloud(tmp_path / "state")
    node = Node(cloud)
    node.register().raise_for_status()
    token = node.token()
    kept = cloud.call("POST", "/mss/v1/beps", token).json()
    deleted = cloud.call("POST", "/mss/v1/beps", token).json()
    cloud.call("DELETE", f"/mss/v1/beps/{deleted['id']}", token).raise_for_status()
    assert cloud.program.stop() == 0
    again = start_cloud(tmp_path / "state")
    try:
        first, kept_status = dial(again, PrefaceRole.CONTROL, kept["token"])
        second, deleted_status = dial(again, PrefaceRole.CONTROL, deleted["token"])
        first.close()
        second.close()
        assert kept_status is PrefaceStatus.ACCEPTED
        assert deleted_status is not PrefaceStatus.ACCEPTED
        assert listed(again, token) == [kept["id"]]
    finally:
        assert again.program.stop() == 0


def test_limits(cloud: Cloud, node: Node) -> None:
    token = node.token()
    first = cloud.call("POST", "/mss/v1/beps", token).json()
    assert abs(first["expires_at"] - time.time() - 3600) < 5
    for _ in range(2):
        assert cloud.call("POST", "/mss/v1/beps", token).status_code == 201
    assert cloud.call("POST", "/mss/v1/beps", token).status_code == 429
    cloud.call("DELETE", f"/mss/v1/beps/{first['id']}", token).raise_for_status()
    assert cloud.call("POST", "/mss/v1/beps", token).status_code == 201


def test_a_node_that_starts_again_has_no_earlier_beps(cloud: Cloud, node: Node) -> None:  # case G7
    token = node.token()
    for _ in range(3):
        cloud.call("POST", "/mss/v1/beps", token, json={"run": "first"}).raise_for_status()
    full = cloud.call("POST", "/mss/v1/beps", token, json={"run": "first"})
    assert full.status_code == 429
    assert "`hecate beps end ID`" in full.json()["detail"]
    made = cloud.call("POST", "/mss/v1/beps", token, json={"run": "second"}).raise_for_status()
    assert listed(cloud, token) == [made.json()["id"]]
    keep = {"keep_run": "second"}
    assert cloud.call("DELETE", "/mss/v1/beps", token, params=keep).status_code == 204
    assert listed(cloud, token) == [made.json()["id"]]
    assert cloud.call("DELETE", "/mss/v1/beps", token).status_code == 204
    assert listed(cloud, token) == []


def test_requests_that_are_refused(cloud: Cloud, node: Node) -> None:
    token = node.token()
    for ttl_s in (0, -1, 86_401, 1e300):
        asked = cloud.call("POST", "/mss/v1/beps", token, json={"ttl_s": ttl_s})
        assert asked.status_code == 400
    assert cloud.call("POST", "/mss/v1/beps", token, json={"tll_s": 5}).status_code == 422
    unregistered = cloud.call("POST", "/mss/v1/beps", Node(cloud).token())
    assert unregistered.status_code == 409
    assert listed(cloud, token) == []


def test_beps_are_their_nodes_own(cloud: Cloud, node: Node) -> None:
    bep = cloud.call("POST", "/mss/v1/beps", node.token()).json()
    other = Node(cloud).token()
    assert listed(cloud, other) == []
    assert cloud.call("DELETE", f"/mss/v1/beps/{bep['id']}", other).status_code == 404
    person = cloud.sign_in(cloud.dev_id_token()).json()["access_token"]
    assert cloud.call("POST", "/mss/v1/beps", person).status_code == 403
    assert "token" not in cloud.call("GET", "/mss/v1/beps", node.token()).json()["data"][0]


def listed(cloud: Cloud, token: str) -> list[str]:
    return [b["id"] for b in cloud.call("GET", "/mss/v1/beps", token).json()["data"]]


def receive(connection: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        chunk = connection.recv(size - len(received))
        assert chunk, "closed early"
        received += chunk
    return received


def is_cut(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def end_of(control: socket.socket) -> FrameType:
    while True:
        kind, _ = decode_frame(receive(control, FRAME_BYTES))
        if kind is not FrameType.NEED:
            return kind
