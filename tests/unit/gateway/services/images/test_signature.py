"""Signatures of images: what is accepted, what is refused, and how keys are named."""

import hashlib
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.services.errors import ImageError
from gateway.services.images.signature import (
    check_trust,
    content_digest,
    describe_signers,
    format_key,
    load_trusted_keys,
    read_private_key,
    read_public_key,
    sign_digest,
    verify_signature,
)

DIGEST = f"sha256:{'ab' * 32}"
OTHER = f"sha256:{'cd' * 32}"
PEM = serialization.Encoding.PEM


def new_key() -> tuple[Ed25519PrivateKey, str]:
    key = Ed25519PrivateKey.generate()
    return key, format_key(key.public_key())


def test_content_digest_is_what_sha256sum_prints() -> None:
    files = {"b": b"two", "a/z": b"one", "a": b"", "a.b": b"x"}
    hashes = [(path, hashlib.sha256(content).hexdigest()) for path, content in files.items()]
    printed = "".join(f"{hashlib.sha256(files[p]).hexdigest()}  {p}\n" for p in sorted(files))
    assert content_digest(hashes) == f"sha256:{hashlib.sha256(printed.encode()).hexdigest()}"
    assert content_digest(reversed(hashes)) == content_digest(hashes)


def test_signatures_of_several_keys_are_verified() -> None:
    (one, one_name), (two, two_name) = new_key(), new_key()
    text = sign_digest(DIGEST, [one, two])
    assert verify_signature(text, DIGEST) == {one_name, two_name}
    assert describe_signers(text) == [one_name, two_name]
    assert describe_signers("") == []


def test_a_signature_of_another_content_is_refused() -> None:
    text = sign_digest(DIGEST, [new_key()[0]])
    with pytest.raises(ImageError, match="another content"):
        verify_signature(text, OTHER)
    renamed = text.replace(DIGEST, OTHER)
    with pytest.raises(ImageError, match="not made with key"):
        verify_signature(renamed, OTHER)


def test_one_wrong_signature_refuses_all() -> None:
    table = json.loads(sign_digest(DIGEST, [new_key()[0], new_key()[0]]))
    table["signatures"][1]["key"] = table["signatures"][0]["key"]
    with pytest.raises(ImageError, match="not made with key"):
        verify_signature(json.dumps(table), DIGEST)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "{",
        "[" * 100_000,
        '{"digest": "x", "signatures": []}',
        json.dumps({"digest": DIGEST, "signatures": [{}] * 9}),
        json.dumps({"digest": DIGEST, "signatures": [{"key": "rsa:x", "signature": ""}]}),
        json.dumps({"digest": DIGEST, "signatures": "none"}),
        json.dumps({"digest": None, "signatures": [{"key": "k", "signature": "s"}]}),
    ],
)
def test_what_is_no_signature_is_refused(text: str) -> None:
    with pytest.raises(ImageError, match="cannot accept the image's signature"):
        verify_signature(text, DIGEST)


def test_trust_is_asked_for_when_it_is_required() -> None:
    signers, trusted = frozenset({"ed25519:a"}), frozenset({"ed25519:b"})
    check_trust(frozenset(), frozenset(), required=False)
    check_trust(signers, trusted, required=False)
    check_trust(signers, signers | trusted, required=True)
    with pytest.raises(ImageError, match="it is not signed"):
        check_trust(frozenset(), trusted, required=True)
    with pytest.raises(ImageError, match="ed25519:a, which is none"):
        check_trust(signers, trusted, required=True)


def test_keys_are_read_as_text_and_as_files(tmp_path: Path) -> None:
    key, name = new_key()
    public = key.public_key().public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "one.pem").write_bytes(public)
    (tmp_path / "two.txt").write_text(f"{name}\n")
    assert read_public_key(public.decode()) == read_public_key(f" {name}\n") == name
    entries = [name, str(tmp_path / "one.pem"), str(tmp_path / "two.txt")]
    assert load_trusted_keys(entries) == {name}
    private = key.private_bytes(
        PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    assert format_key(read_private_key(private).public_key()) == name


def test_other_keys_are_refused(tmp_path: Path) -> None:
    other = generate_private_key(SECP256R1())
    public = other.public_key().public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(ValueError, match="must be an Ed25519 key"):
        read_public_key(public.decode())
    private = other.private_bytes(
        PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(ValueError, match="must be an Ed25519 key"):
        read_private_key(private)
    for text in ("", "ed25519:short", "hello"):
        with pytest.raises(ValueError, match="must be ed25519"):
            read_public_key(text)
    with pytest.raises(ValueError, match=r"trusted_keys: .*none.pem: No such file"):
        load_trusted_keys([str(tmp_path / "none.pem")])
