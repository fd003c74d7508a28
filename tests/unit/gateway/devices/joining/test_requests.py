import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.devices.joining.requests import (
    JoinRequest,
    encode_credentials,
    encode_refusal,
    may_be_client_id,
    parse_request,
)
from settings.secret import Secret

DEVICE = "dev-0123456789ab"


def test_a_join_request() -> None:
    assert parse_request(b'{"name": "lamp", "model": "pico"}') == JoinRequest("lamp", "pico")
    assert parse_request(b'{"name": "lamp"}') == JoinRequest("lamp", "")


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"{",
        b"{}",
        b'{"name": ""}',
        b'{"name": 1}',
        b'{"name": "  "}',
        b'{"name": "a\\nb"}',
        b'{"name": "lamp", "model": 1}',
        json.dumps({"name": "x" * 65}).encode(),
        b" " * 2000,
        b"[" * 1000,
    ],
)
def test_what_is_no_join_request(payload: bytes) -> None:
    with pytest.raises(ValueError, match=r"name|model|request"):
        parse_request(payload)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_a_value_error(payload: bytes) -> None:
    try:
        parse_request(payload)
    except ValueError:
        return


@pytest.mark.parametrize("client_id", ["", "a/b", "+", "#", "$x", DEVICE, "container:x", "x" * 65])
def test_names_that_a_joining_device_may_not_have(client_id: str) -> None:
    assert not may_be_client_id(client_id)


def test_answers_to_a_join() -> None:
    assert may_be_client_id("board-1")
    assert json.loads(encode_credentials(DEVICE, Secret("pw"))) == {
        "device_id": DEVICE,
        "username": DEVICE,
        "password": "pw",
        "prefix": f"devices/{DEVICE}",
    }
    assert json.loads(encode_refusal("why")) == {"error": "cannot join: why"}
