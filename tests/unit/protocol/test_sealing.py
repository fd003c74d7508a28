"""Envelopes: only the receiver reads the body, and only as the message it was."""

from dataclasses import replace

import pytest

from protocol.envelope import (
    BODY_LIMIT_BYTES,
    ENVELOPE_LIMIT_BYTES,
    Envelope,
    EnvelopeKind,
    decode_envelope,
    encode_envelope,
    new_message_id,
    seal,
    unseal,
)
from protocol.errors import WireError
from protocol.keys import SealingKey, load_sealing_public, new_sealing_key

KEY = new_sealing_key()
NODE = "ab" * 28


def request(**changes: object) -> Envelope:
    envelope = Envelope(
        EnvelopeKind.REQUEST, new_message_id(), NODE, "mss:a", 1000.0, b"", KEY.public
    )
    return replace(envelope, **changes)  # type: ignore[arg-type]  # fields by name


def test_the_receiver_reads_what_was_sealed() -> None:
    sealed = seal(request(), b"open the door", KEY.public)
    assert b"open the door" not in encode_envelope(sealed)
    assert unseal(decode_envelope(encode_envelope(sealed)), KEY) == b"open the door"


def test_another_key_cannot_read_it() -> None:
    with pytest.raises(WireError, match="not sealed to this key"):
        unseal(seal(request(), b"x", KEY.public), new_sealing_key())


@pytest.mark.parametrize(
    "change",
    [{"to": "cd" * 28}, {"kind": EnvelopeKind.RESPONSE}, {"message_id": bytes(16)}],
)
def test_a_body_cannot_be_moved_to_another_envelope(change: dict[str, object]) -> None:
    moved = replace(seal(request(), b"x", KEY.public), **change)  # type: ignore[arg-type]  # fields by name
    with pytest.raises(WireError):
        unseal(moved, KEY)


def test_a_largest_body_fits_the_largest_envelope() -> None:
    encoded = encode_envelope(seal(request(), bytes(BODY_LIMIT_BYTES), KEY.public))
    assert len(encoded) <= ENVELOPE_LIMIT_BYTES
    assert len(unseal(decode_envelope(encoded), KEY)) == BODY_LIMIT_BYTES


def test_a_larger_body_is_refused() -> None:
    with pytest.raises(WireError, match="limit is"):
        seal(request(), bytes(BODY_LIMIT_BYTES + 1), KEY.public)


def test_only_who_read_the_request_can_answer_it() -> None:
    answer = seal(request(kind=EnvelopeKind.RESPONSE), b"x", KEY.public, b"secret of the request")
    assert unseal(answer, KEY, b"secret of the request") == b"x"
    for guess in (b"", b"another secret"):
        with pytest.raises(WireError):
            unseal(answer, KEY, guess)


def test_a_stored_seed_gives_the_same_key() -> None:
    assert SealingKey(KEY.seed).public == KEY.public


@pytest.mark.parametrize("raw", [b"", KEY.public[:-1], KEY.public + b"x"])
def test_a_key_of_the_wrong_size_is_refused(raw: bytes) -> None:
    with pytest.raises(WireError):
        load_sealing_public(raw)
    with pytest.raises(WireError):
        SealingKey(raw)


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff", b"\x01", b"\xa1\x61v\x02", b"\xa1\x61v\x01", bytes(ENVELOPE_LIMIT_BYTES + 1)],
)
def test_other_bytes_are_not_an_envelope(data: bytes) -> None:
    with pytest.raises(WireError):
        decode_envelope(data)
