"""JSON-RPC over WebSocket, by an independent client."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.sync.connection import Connection

from gateway.http.body import LIMIT_BYTES
from gateway.sidecar.jsonrpc_socket import PATH, SOCKETS
from tests.hostile_json import NASTY
from tests.programs import until
from tests.system import Gateway

ME = '{"id": 1, "method": "getMe"}'
WAIT_S = 60.0


def open_socket(gateway: Gateway, key: str | None = None, **more: Any) -> Connection:
    headers = {"Authorization": f"Bearer {gateway.key if key is None else key}"}
    url = gateway.url.replace("http://", "ws://") + PATH
    return connect(url, additional_headers=headers, open_timeout=WAIT_S, proxy=None, **more)


def ask(socket: Connection, message: str | bytes) -> Any:
    socket.send(message)
    return json.loads(socket.recv(WAIT_S))


def test_each_message_has_an_answer_in_order(lone: Gateway) -> None:
    with open_socket(lone) as socket:
        for number in range(3):
            answer = ask(socket, json.dumps({"id": number, "method": "getMe"}))
            assert (answer["id"], answer["result"]["nodeId"]) == (number, lone.node_id)
        socket.send(iter(['{"id": "x",', ' "method":', ' "getMe"}']))  # in three fragments
        assert json.loads(socket.recv(WAIT_S))["id"] == "x"
        assert [each["id"] for each in ask(socket, f"[{ME}, {ME}]")] == [1, 1]
        assert ask(socket, ME.encode())["id"] == 1  # in a binary frame
        socket.ping().wait(WAIT_S)


def test_what_is_no_request_has_an_error_and_the_socket_stays_open(lone: Gateway) -> None:
    with open_socket(lone) as socket:
        for body in NASTY.values():
            assert ask(socket, body)["error"]["code"] in (-32700, -32600)
        assert ask(socket, ME)["result"]["nodeId"] == lone.node_id


def send_and_wait(socket: Connection, message: str | Iterator[str]) -> None:
    socket.send(message)
    socket.recv(WAIT_S)


def test_a_message_without_end_closes_the_socket(lone: Gateway) -> None:
    for message in ("x" * (LIMIT_BYTES + 1), iter(["x" * (LIMIT_BYTES // 2)] * 3)):
        with open_socket(lone) as socket, pytest.raises(ConnectionClosed) as closed:
            send_and_wait(socket, message)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
    assert lone.rpc("getMe")["nodeId"] == lone.node_id


def test_callers_are_checked_as_over_http(lone: Gateway) -> None:
    for key in ("", "wrong"):
        with pytest.raises(InvalidStatus) as refused, open_socket(lone, key):
            pass
        assert refused.value.response.status_code == 401
    with pytest.raises(InvalidStatus) as foreign, open_socket(lone, origin="http://evil.example"):
        pass
    assert foreign.value.response.status_code == 403
    answer = lone.ask("GET", PATH)
    assert (answer.status_code, answer.headers["upgrade"]) == (426, "websocket")


def test_sockets_are_bounded_and_their_places_come_back(lone: Gateway) -> None:
    sockets = [open_socket(lone) for _ in range(SOCKETS)]
    with pytest.raises(InvalidStatus) as refused, open_socket(lone):
        pass
    assert refused.value.response.status_code == 503
    assert lone.rpc("getMe")["nodeId"] == lone.node_id
    for socket in sockets:
        socket.close()

    def has_room() -> bool:
        try:
            with open_socket(lone) as socket:
                return bool(ask(socket, ME))
        except InvalidStatus:
            return False

    until(has_room, "a place is free again")
