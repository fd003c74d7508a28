"""Frames of a cluster: whole round trips, and nothing malformed gets in."""

import contextlib

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cluster.election.heartbeat import Heartbeat, Role, RoleClaim
from gateway.cluster.election.rank import Rank
from gateway.cluster.links.frames import (
    LENGTH,
    Beat,
    DirectoryVersion,
    Frame,
    Hello,
    NotAdmitted,
    OwnRecord,
    RecordChanges,
    RecordQuery,
    SepMessage,
    decode_frame,
    encode_frame,
)
from protocol.errors import WireError

ONE, TWO = "a" * 56, "b" * 56
BEAT = Beat(
    Heartbeat(
        ONE, Role.SUPERNODE, RoleClaim(7, ONE), Rank(capability=5), frozenset({TWO}), (TWO,),
        has_members=True, is_fit=False, reaches_cloud=True,
    ),
    {TWO: ("192.0.2.1:8084", "[fe80::1%3]:8084")},
)  # fmt: skip


def body_of(frame: Frame) -> bytes:
    data = encode_frame(frame)
    assert LENGTH.unpack(data[:4])[0] == len(data) - 4
    return data[4:]


@pytest.mark.parametrize(
    "frame",
    [
        Hello(b"0123456789abcdef", "proof", ("192.0.2.1:8084",)),
        NotAdmitted("unknown account"),
        BEAT,
        OwnRecord("jwt"),
        RecordQuery(DirectoryVersion(b"term", 5)),
        RecordChanges(DirectoryVersion(b"term", 5), ("jwt",), (TWO,), is_last=False, is_whole=True),
        SepMessage("$hec/sep/x/y/request", b"\x00" * 1000),
    ],
)
def test_round_trip(frame: Frame) -> None:
    assert decode_frame(body_of(frame)) == frame


# case N21
def test_unknown_fields_of_a_later_version_are_ignored() -> None:
    values = cbor2.loads(body_of(BEAT)) | {"shiny": [1, 2]}
    values["rank"].append("more")
    assert decode_frame(cbor2.dumps(values)) == BEAT


@pytest.mark.parametrize(
    "change",
    [
        {"id": "x"}, {"id": 5}, {"role": "king"}, {"epoch": -1}, {"epoch": 2**60}, {"epoch": True},
        {"supernode": "b"}, {"rank": []}, {"rank": [1, 2, 3, 4]}, {"rank": [True, True, 9999, 0]},
        {"hears": [ONE] * 2000}, {"next": [ONE] * 17}, {"members": 1}, {"fit": None}, {"is": "x"},
        {"at": {"x": []}}, {"at": {ONE: ["\n"]}}, {"at": {ONE: ["a:1"] * 40}},
        {"at": {ONE: ["a"]}}, {"cloud": "yes"},
    ],
)  # fmt: skip
def test_a_malformed_heartbeat_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(WireError):
        decode_frame(cbor2.dumps(cbor2.loads(body_of(BEAT)) | change))


@pytest.mark.parametrize("field", ["id", "role", "epoch", "rank", "hears", "next", "is", "at"])
def test_a_missing_field_is_refused(field: str) -> None:
    values = cbor2.loads(body_of(BEAT))
    del values[field]
    with pytest.raises(WireError):
        decode_frame(cbor2.dumps(values))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_frame_or_refused(data: bytes) -> None:
    with contextlib.suppress(WireError):
        decode_frame(data)
