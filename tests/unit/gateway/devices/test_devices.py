import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.devices.claims import CLAIM_LIMIT, Claim, Claims
from gateway.devices.credentials import digest_of, is_token, new_token
from gateway.devices.join import (
    JoinRequest,
    encode_credentials,
    encode_refusal,
    may_be_client_id,
    parse_request,
)
from gateway.devices.registry import SHOWN_CHARACTERS, DeviceRecord, DeviceRegistry, shown
from settings.secret import Secret

DEVICE = "dev-0123456789ab"


def make_device(device_id: str = DEVICE, **changes: object) -> DeviceRecord:
    device = DeviceRecord(device_id, "lamp", "sim", digest_of(b"secret"), joined_at=1.0)
    for name, value in changes.items():
        setattr(device, name, value)
    return device


def test_a_token_is_known_by_its_digest_only() -> None:
    token = new_token().reveal().encode()
    assert len(token) == 24
    assert is_token(token, digest_of(token))
    assert not is_token(token + b"x", digest_of(token))


def test_a_claim_has_its_uses_and_its_time() -> None:
    claims = Claims([])
    assert claims.add(Claim(digest_of(b"t"), uses=2, expires_at=10.0))
    assert claims.find(b"t", now=10.0) is not None
    assert claims.find(b"t", now=10.1) is None
    assert claims.find(b"u", now=0.0) is None
    assert claims.use(digest_of(b"t")).uses == 1
    assert claims.use(digest_of(b"t")).uses == 0
    with pytest.raises(ValueError, match="used up"):
        claims.use(digest_of(b"t"))
    claims.give_back(digest_of(b"t"))
    assert claims.use(digest_of(b"t")).uses == 0


def test_expired_claims_make_room() -> None:
    claims = Claims(
        Claim(str(number), 1, expires_at=float(number)) for number in range(CLAIM_LIMIT)
    )
    assert not claims.add(Claim("new", 1, 5000.0))
    assert sorted(claims.take_expired(now=1.5)) == ["0", "1"]
    assert claims.take_expired(now=1.5) == []
    assert claims.add(Claim("new", 1, 5000.0))


def test_claims_that_are_used_up_make_room() -> None:  # case G7, its kind
    claims = Claims(Claim(str(number), 1, 5000.0) for number in range(CLAIM_LIMIT))
    for number in range(CLAIM_LIMIT):  # all in one burst
        claims.use(str(number))
    assert not claims.add(Claim("new", 1, 5000.0))
    assert len(claims.take_spent(waited_for={"7"})) == CLAIM_LIMIT - 1
    assert claims.get("7", now=1.0) is not None  # its device may have lost the answer
    assert claims.add(Claim("new", 1, 5000.0))
    assert sorted(claims.take_all()) == ["7", "new"]


def test_a_device_is_known_by_id_and_token() -> None:
    registry = DeviceRegistry([make_device()])
    assert registry.authenticate(DEVICE, b"secret") is registry.get(DEVICE)
    assert registry.authenticate(DEVICE, b"other") is None
    assert registry.authenticate("dev-000000000000", b"secret") is None
    assert registry.remove(DEVICE) is not None
    assert registry.remove(DEVICE) is None
    assert registry.authenticate(DEVICE, b"secret") is None


def test_a_join_can_be_repeated_until_the_device_has_logged_in() -> None:
    registry = DeviceRegistry([make_device(claim_digest="c", client_id="board")])
    assert registry.unconfirmed("c", "board") is not None
    assert registry.unconfirmed("c", "other") is None
    assert registry.unconfirmed("d", "board") is None
    registry.add(make_device(claim_digest="c", client_id="board", confirmed=True))
    assert registry.unconfirmed("c", "board") is None


def test_what_a_device_says_is_noted_once() -> None:
    registry = DeviceRegistry([make_device()])
    registry.observe(DEVICE, "devices/x/readings/t", b"\xff" + b"x" * 2000, now=7.0)
    registry.observe("dev-000000000000", "t", b"", now=8.0)
    device = registry.get(DEVICE)
    assert device is not None
    assert (device.messages, device.last_seen) == (1, 7.0)
    assert len(device.last_payload) < 1000
    assert len(shown(device.last_payload)) == SHOWN_CHARACTERS
    assert registry.take_seen() == [(DEVICE, 7.0)]
    assert registry.take_seen() == []


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
