"""Tokens: only good ones, and only as long as they are."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from broker.access.errors import AccessError
from broker.access.tokens import LEEWAY_S, TokenSource, TokenTerms
from broker.policy import Accepted, Challenge, Credentials, Identity, Refusal, Step

NOW = 1_000_000.0
KEY = ECKey.generate_key("P-256", {"kid": "1"})
TERMS = TokenTerms(issuer="us", audience="mqtt")
EXP = NOW + 60
CLAIMS = {"sub": "anna", "iss": "us", "aud": "mqtt", "exp": EXP, "groups": ["operators", 1]}
BAD = Refusal.BAD_CREDENTIALS


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def source(tmp_path: Path, clock: Clock) -> TokenSource:
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({"keys": [KEY.as_dict(private=False)]}))
    found = TokenSource(path, TERMS, clock)
    found.take(found.read())
    return found


def token(claims: dict[str, Any], key: Any = KEY, algorithm: str = "ES256") -> bytes:
    return jwt.encode({"alg": algorithm}, claims, key, algorithms=[algorithm]).encode()


def ask(
    source: TokenSource, password: bytes | None, username: str | None = "anna"
) -> Identity | Refusal | None:
    return asyncio.run(source.identify(Credentials("c1", username, password, "tcp", "")))


@pytest.mark.parametrize("username", ["anna", "", None])
def test_a_good_token_names_the_user(source: TokenSource, username: str | None) -> None:
    ends = EXP + LEEWAY_S
    expected = Identity("anna", "c1", frozenset({"operators"}), ends)
    assert ask(source, token(CLAIMS), username) == expected


def test_what_is_no_token_is_for_others(source: TokenSource) -> None:
    for password in (None, b"", b"secret", b"eyJ", b"a.b.c", b"eyJ.x"):
        assert ask(source, password) is None


@pytest.mark.parametrize(
    "change",
    [
        {"sub": None}, {"sub": 7}, {"sub": "ben"}, {"iss": "them"}, {"iss": None}, {"aud": "http"},
        {"aud": ["http"]}, {"aud": None}, {"exp": NOW - LEEWAY_S}, {"exp": None}, {"exp": "never"},
        {"exp": True}, {"exp": float("nan")}, {"exp": float("inf")}, {"nbf": NOW + 100},
        {"nbf": "x"},
    ],
)  # fmt: skip
def test_claims_that_do_not_do(source: TokenSource, change: dict[str, Any]) -> None:
    assert ask(source, token({**CLAIMS, **change})) is BAD
    without = {name: value for name, value in CLAIMS.items() if name not in change}
    if "nbf" not in change:
        assert ask(source, token(without)) is BAD


def test_claims_that_do(source: TokenSource) -> None:
    for change in ({"aud": ["x", "mqtt"]}, {"nbf": NOW + 1}, {"exp": NOW - 1}, {"groups": "x"}):
        assert isinstance(ask(source, token({**CLAIMS, **change})), Identity)


def test_other_signatures(source: TokenSource) -> None:
    good = token(CLAIMS)
    head, body, signature = good.split(b".")
    none = b"eyJhbGciOiJub25lIn0"  # {"alg":"none"}
    public = json.dumps(KEY.as_dict(private=False))
    for forged in (
        token(CLAIMS, ECKey.generate_key("P-256")),
        token(CLAIMS, OctKey.import_key(public), "HS256"),
        b".".join((none, body, b"")),
        b".".join((none, body, signature)),
        b".".join((head, body, b"")),
        b".".join((head, body, signature[:-4] + b"AAAA")),
        b".".join((head, body[:-4], signature)),
        b"eyJ..",
        b"eyJ" + b"x" * 10_000 + b"..",
        b"eyJ\xff.\xff.\xff",
    ):
        assert ask(source, forged) is BAD


def test_nobody_before_the_keys_are_taken(tmp_path: Path) -> None:
    assert ask(TokenSource(tmp_path / "x", TERMS, Clock()), token(CLAIMS)) is BAD


def show(source: TokenSource, data: bytes | None, username: str | None = None) -> Step:
    exchange = source.begin("OAUTHBEARER", Credentials("c1", username, None, "tcp", ""))
    assert exchange is not None
    return asyncio.run(exchange.step(data))


def test_a_token_may_come_by_oauthbearer(source: TokenSource) -> None:
    good = token(CLAIMS)
    expected = Accepted(Identity("anna", "c1", frozenset({"operators"}), EXP + LEEWAY_S))
    # RFC 7628, section 4.1
    message = b"n,a=anna,\x01host=server.example.com\x01port=143\x01auth=Bearer %s\x01\x01" % good
    assert show(source, message) == expected
    assert show(source, b"n,,\x01auth=bearer %s\x01\x01" % good, "anna") == expected
    assert show(source, None) == Challenge()
    assert source.begin("PLAIN", Credentials("c1", None, None, "tcp", "")) is None


@pytest.mark.parametrize(
    ("message", "username"),
    [
        (b"n,,\x01auth=Bearer %s\x01", None),
        (b"n,,\x01auth=Basic %s\x01\x01", None),
        (b"n,a=ben,\x01auth=Bearer %s\x01\x01", None),
        (b"n,,\x01auth=Bearer %s\x01\x01", "ben"),
        (b"n,,\x01auth=Bearer x%s\x01\x01", None),
        (b"%s", None),
    ],
)
def test_other_messages_show_no_token(
    source: TokenSource, message: bytes, username: str | None
) -> None:
    assert show(source, message % token(CLAIMS), username) is Refusal.NOT_AUTHORIZED


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (ECKey.generate_key("P-256"), "ES256"),
        (RSAKey.generate_key(2048), "RS256"),
        (OKPKey.generate_key("Ed25519"), "Ed25519"),
    ],
)
def test_keys_in_pem(tmp_path: Path, key: Any, algorithm: str) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(key.as_pem(private=False))
    source = TokenSource(path, TERMS, Clock())
    source.take(source.read())
    assert isinstance(ask(source, token(CLAIMS, key, algorithm)), Identity)


def private_pem() -> str:
    return KEY.as_pem(private=True).decode()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no public keys"),
        ("{}", "must be of type"),
        ("[]", "no public keys"),
        ('{"keys": []}', "no public keys"),
        ('{"keys": 5}', "no public keys"),
        ('{"keys": [{"kty": "EC"}]}', "no public keys"),
        (json.dumps({"kty": "oct", "k": "c2VjcmV0"}), "must be of type"),
        (json.dumps(KEY.as_dict(private=True)), "private key"),
        (private_pem(), "private key"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "no public keys"),
    ],
)
def test_files_without_public_keys(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "keys"
    path.write_text(text)
    with pytest.raises(AccessError, match=why) as caught:
        TokenSource(path, TERMS).read()
    assert "c2VjcmV0" not in str(caught.value)


def test_the_pem_of_cryptography_is_read(tmp_path: Path) -> None:
    pem = KEY.public_key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (tmp_path / "k").write_bytes(pem)
    assert TokenSource(tmp_path / "k", TERMS).read()
