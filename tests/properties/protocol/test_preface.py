"""A relay judges any first bytes correctly, in whatever pieces they come."""

from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import WireError
from protocol.preface import (
    MAGIC,
    SNIFF_LIMIT_BYTES,
    TOKEN_LIMIT_BYTES,
    FrameType,
    Preface,
    PrefaceRole,
    Visit,
    decode_frame,
    encode_frame,
    encode_preface,
    sniff,
)

bep_ids = st.from_regex(r"[A-Za-z0-9_-]{22}", fullmatch=True)
methods = st.from_regex(r"[A-Z]{1,20}", fullmatch=True)
prefaces = st.builds(
    Preface, st.sampled_from(PrefaceRole), st.text(st.characters(max_codepoint=127))
)
starts = st.sampled_from(
    [b"", MAGIC, MAGIC + b"\x01\x01", b"GET ", b"GET /", b"POST /AAAAAAAAAAAA"]
)
Found = Preface | Visit | None | str


def judge(data: bytes) -> Found:
    try:
        return sniff(data)
    except WireError as exc:
        return str(exc)


@given(starts, st.binary(max_size=300))
def test_any_bytes_are_judged(start: bytes, rest: bytes) -> None:
    data = start + rest
    found = judge(data)
    if isinstance(found, str):
        assert found.startswith("cannot ")
    elif found is None:
        limit = TOKEN_LIMIT_BYTES + 8 if data.startswith(MAGIC) else SNIFF_LIMIT_BYTES
        assert len(data) < limit


@given(starts, st.binary(max_size=300))
def test_a_refusal_stands_whatever_follows(start: bytes, rest: bytes) -> None:
    verdicts = [judge(start + rest[:size]) for size in range(len(rest) + 1)]
    refused = [isinstance(verdict, str) for verdict in verdicts]
    assert refused == sorted(refused)


@given(prefaces)
def test_any_split_of_a_preface_gives_it_and_nothing_before(preface: Preface) -> None:
    data = encode_preface(preface)
    assert all(sniff(data[:size]) is None for size in range(len(data)))
    assert sniff(data) == preface


@given(methods, bep_ids, st.sampled_from("/? "), st.binary(max_size=2000))
def test_any_split_of_a_visit_gives_it_or_nothing(
    method: str, bep_id: str, mark: str, rest: bytes
) -> None:
    first = f"{method} /{bep_id}{mark}".encode()
    assert all(sniff(first[:size]) is None for size in range(len(first)))
    assert sniff(first + rest) == Visit(bep_id)


@given(st.sampled_from(FrameType), st.integers(0, 0xFFFF))
def test_frames_survive(kind: FrameType, value: int) -> None:
    assert decode_frame(encode_frame(kind, value)) == (kind, value)


@given(st.binary(min_size=3, max_size=3))
def test_any_frame_is_judged(data: bytes) -> None:
    try:
        kind, value = decode_frame(data)
    except WireError as exc:
        assert str(exc).startswith("cannot ")  # noqa: PT017  both outcomes are allowed
    else:
        assert encode_frame(kind, value) == data
