"""Tokens, records and codes: forged, expired and foreign ones are refused."""

from dataclasses import replace

import pytest
from joserfc.jwk import ECKey, KeySet

from protocol.codes import MAX_TTL_S, REQUEST_BEP, check_code, expiry_seconds, make_code
from protocol.errors import TokenError, WireError
from protocol.ids import decode_base64url, encode_base64url
from protocol.keys import load_node_key, new_node_key, new_sealing_key
from protocol.records import (
    Address,
    NodeRecord,
    OfferedService,
    from_fields,
    open_record,
    sign_record,
    to_fields,
)
from protocol.tokens import LEEWAY_S, sign_as_node, sign_token, verify_from_node, verify_token

NOW = 1_700_000_000.0
SIGNER = ECKey.generate_key("P-256")
KEYS = KeySet([SIGNER])
NODE = new_node_key()
RECORD = NodeRecord(
    node_id=NODE.node_id,
    name="attic",
    version="0.1.0",
    supernode_id=NODE.node_id,
    sealing_key=new_sealing_key().public,
    account_id="a1",
    addresses=(Address("local", "http://192.0.2.1:8083"),),
    services=(OfferedService("api-climate", "api-climate", "/api/climate/v1"),),
)


def test_a_service_token_gives_its_claims() -> None:
    token = sign_token({"aud": "hecate", "sub": "a1"}, SIGNER, NOW, 60)
    assert verify_token(token, KEYS, "hecate", NOW)["sub"] == "a1"


def test_a_token_ends_when_it_says() -> None:
    token = sign_token({"aud": "hecate"}, SIGNER, NOW, 60)
    verify_token(token, KEYS, "hecate", NOW + 60 + LEEWAY_S)
    with pytest.raises(TokenError, match="expired"):
        verify_token(token, KEYS, "hecate", NOW + 61 + LEEWAY_S)


def test_a_token_without_a_real_expiry_is_refused() -> None:
    for expiry in (float("nan"), None, "never", True):
        token = sign_token({"aud": "hecate", "exp": expiry}, SIGNER, NOW, 60)
        with pytest.raises(TokenError):
            verify_token(token, KEYS, "hecate", NOW)


def test_a_token_for_another_audience_is_refused() -> None:
    with pytest.raises(TokenError, match="not meant for 'relay'"):
        verify_token(sign_token({"aud": "hecate"}, SIGNER, NOW, 60), KEYS, "relay", NOW)


def test_a_token_of_an_unknown_signer_is_refused() -> None:
    forged = sign_token({"aud": "hecate"}, ECKey.generate_key("P-256"), NOW, 60)
    with pytest.raises(TokenError, match="not signed by a known key"):
        verify_token(forged, KEYS, "hecate", NOW)


@pytest.mark.parametrize("token", ["", "a", "a.b.c", "é", "." * 10_000])
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(TokenError):
        verify_token(token, KEYS, "hecate", NOW)
    with pytest.raises(TokenError):
        verify_from_node(token, "mst", NOW)


def test_an_unsigned_token_is_refused() -> None:
    head = encode_base64url(b'{"alg":"none","typ":"JWT"}')
    body = encode_base64url(b'{"aud":"hecate","exp":99999999999}')
    with pytest.raises(TokenError):
        verify_token(f"{head}.{body}.", KEYS, "hecate", NOW)


def test_a_node_signs_for_its_own_id() -> None:
    token = sign_as_node({"aud": "mst"}, NODE, NOW, 60)
    assert verify_from_node(token, "mst", NOW)[0] == NODE.node_id


def test_a_node_cannot_sign_with_a_key_it_only_shows() -> None:
    other = new_node_key()
    body = sign_as_node({"aud": "mst"}, NODE, NOW, 60).split(".")
    head = sign_as_node({"aud": "mst"}, other, NOW, 60).split(".")[0]
    with pytest.raises(TokenError):
        verify_from_node(".".join([head, *body[1:]]), "mst", NOW)


def test_an_identity_survives_its_file() -> None:
    assert load_node_key(NODE.pem()).node_id == NODE.node_id


@pytest.mark.parametrize("pem", [b"", b"nonsense"])
def test_what_is_no_identity_is_refused(pem: bytes) -> None:
    with pytest.raises(WireError, match="cannot load node key"):
        load_node_key(pem)


def test_a_record_survives_signing() -> None:
    assert open_record(sign_record(RECORD, NODE, NOW), NOW) == RECORD


def test_a_record_holds_many_services() -> None:
    services = tuple(
        OfferedService(f"api-service-{n}", f"api-service-{n}", f"/api/{n}") for n in range(128)
    )
    record = replace(RECORD, services=services)
    assert open_record(sign_record(record, NODE, NOW), NOW) == record


def test_a_record_signed_by_another_node_is_refused() -> None:
    with pytest.raises(TokenError, match="signed by another node"):
        open_record(sign_record(RECORD, new_node_key(), NOW), NOW)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("id", "AB" * 28),
        ("name", "n" * 65),
        ("name", "a\nb"),
        ("sealingKey", "*"),
        ("account", {"id": "no spaces please"}),
        ("services", [{"id": 1}]),
        ("addresses", "none"),
    ],
)
def test_a_malformed_record_is_refused(key: str, value: object) -> None:
    with pytest.raises(WireError, match="cannot read node record"):
        from_fields(to_fields(RECORD) | {key: value})


def test_a_code_opens_one_operation_on_one_node_for_a_time() -> None:
    key, expires = b"k" * 32, int(NOW) + 60
    code = make_code(key, expires, NODE.node_id, REQUEST_BEP)
    check_code(code, key, NODE.node_id, REQUEST_BEP, NOW)
    for args in (
        (code, b"x" * 32, NODE.node_id, REQUEST_BEP, NOW),
        (code, key, "0" * 56, REQUEST_BEP, NOW),
        (code, key, NODE.node_id, "/mcm/v1/images/a/tarball", NOW),
        (code, key, NODE.node_id, REQUEST_BEP, NOW + 61),
        (code[:-1] + ("A" if code[-1] != "A" else "B"), key, NODE.node_id, REQUEST_BEP, NOW),
        ("", key, NODE.node_id, REQUEST_BEP, NOW),
    ):
        with pytest.raises(TokenError):
            check_code(*args)


def test_a_code_for_ever_is_refused() -> None:
    expires = int(NOW) + MAX_TTL_S + 1
    code = make_code(b"k", expires, NODE.node_id, REQUEST_BEP)
    with pytest.raises(TokenError, match="more than 25 hours"):
        check_code(code, b"k", NODE.node_id, REQUEST_BEP, NOW)


def test_an_expiry_may_come_in_milliseconds() -> None:
    assert expiry_seconds(1_700_000_000_000) == 1_700_000_000
    assert expiry_seconds(1_700_000_000) == 1_700_000_000


def test_base64url_has_no_padding_and_no_strangers() -> None:
    assert decode_base64url(encode_base64url(b"\xff\xfe\xfd\xfc")) == b"\xff\xfe\xfd\xfc"
    with pytest.raises(ValueError, match="not base64url"):
        decode_base64url("a+/b")
