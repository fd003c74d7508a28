"""The contract's vectors, from the device's side; runs on CPython and on MicroPython."""

import json

from device import contract, contract_commands, stored
from device import join as joining
from device.errors import CredentialsRefused, Refused, WireError
from tests.device.raising import raised

with open("tests/vectors/device_contract.json") as file:  # noqa: PTH123  # no pathlib on a board
    VECTORS = json.load(file)


def test_topics() -> None:
    prefix, topics = VECTORS["prefix"], VECTORS["topics"]
    command = topics["command"]
    assert contract.command_name(prefix, command["topic"]) == command["name"]
    assert all(contract.command_name(prefix, t) is None for t in VECTORS["not_commands"])


def test_names() -> None:
    assert all(contract.check_name(name) == name for name in VECTORS["names"]["good"])
    for name in VECTORS["names"]["bad"]:
        assert raised(ValueError, contract.check_name, name).startswith("cannot use name")


def test_join() -> None:
    join, request = VECTORS["topics"]["join"], VECTORS["join_request"]
    assert VECTORS["claim_user"] == joining.CLAIM_USER
    assert joining.request_topic(join["client_id"]) == join["request"]
    assert joining.response_topic(join["client_id"]) == join["response"]
    payload = joining.encode_request(request["name"], request["model"])
    assert json.loads(payload) == request["payload"]


def test_join_response() -> None:
    response = VECTORS["join_response"]
    credentials = joining.decode_response(json.dumps(response).encode())
    fields = ("device_id", "username", "password", "prefix")
    assert credentials == tuple(response[field] for field in fields)
    assert stored.credentials_of(response) == credentials


def test_join_refused() -> None:
    refusal = json.dumps(VECTORS["join_refused"]).encode()
    message = raised(Refused, joining.decode_response, refusal)
    assert message == VECTORS["join_refused"]["error"]


def test_a_board_that_waits_is_told_its_code() -> None:
    pending = json.dumps(VECTORS["join_pending"]).encode()
    message = raised(CredentialsRefused, joining.decode_response, pending)
    assert "hecate devices approve 481-204" in message
    assert VECTORS["approval_user"] == joining.APPROVAL_USER


def test_bad_join_responses() -> None:
    for bad in VECTORS["bad_join_responses"]:
        assert raised(WireError, joining.decode_response, bad.encode())


def test_readings() -> None:
    for r in VECTORS["readings"]:
        encoded = contract.encode_reading(r["value"], r["unit"], r["at"], r["seq"])
        assert json.loads(encoded) == r["payload"]
    for value in (float("nan"), float("inf"), -float("inf")):
        assert raised(ValueError, contract.encode_reading, value, None, None, 1)


def test_commands() -> None:
    for command in VECTORS["commands"]:
        decoded = contract_commands.decode_command(command["payload"].encode())
        assert decoded == (command["id"], command["args"])
    for bad in VECTORS["bad_commands"]:
        assert raised(WireError, contract_commands.decode_command, bad.encode())


def test_replies() -> None:
    for reply in VECTORS["replies"]:
        assert (
            json.loads(contract_commands.encode_reply(reply["id"], reply["result"]))
            == reply["payload"]
        )
    for failure in VECTORS["failures"]:
        encoded = contract_commands.encode_failure(failure["id"], failure["error"])
        assert json.loads(encoded) == failure["payload"]


def test_a_time_that_is_no_number_is_refused() -> None:
    assert contract_commands.decode_time(b'{"at": 2200000000.7}') == 2200000000
    for payload in (b"{}", b'{"at": true}', b'{"at": "1"}', b'{"at": 1e999}', b'{"at": [1]}', b"7"):
        raised(WireError, contract_commands.decode_time, payload)
