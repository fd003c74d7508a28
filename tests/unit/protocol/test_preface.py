import pytest

from protocol.errors import WireError
from protocol.preface import (
    SNIFF_LIMIT_BYTES,
    EndReason,
    FrameType,
    Preface,
    PrefaceRole,
    Visit,
    decode_frame,
    encode_frame,
    encode_preface,
    sniff,
)

BEP = "AbCd_efgh-ijkl0123456_"


def test_a_preface_is_bytes_as_documented() -> None:
    assert encode_preface(Preface(PrefaceRole.DATA, "abc")) == b"HECB\x01\x02\x00\x03abc"


@pytest.mark.parametrize("role", PrefaceRole)
def test_a_preface_is_sniffed(role: PrefaceRole) -> None:
    assert sniff(encode_preface(Preface(role, "a.b.c"))) == Preface(role, "a.b.c")


@pytest.mark.parametrize("rest", [b"/", b"/x/y HTTP/1.1\r\n\r\n", b"?q", b" HTTP/1.1\r\n"])
@pytest.mark.parametrize("method", [b"GET", b"PROPFIND", b"M"])
def test_a_visitor_is_sniffed(method: bytes, rest: bytes) -> None:
    assert sniff(method + b" /" + BEP.encode() + rest) == Visit(BEP)


@pytest.mark.parametrize(
    "data",
    [
        b"HECB\x02\x01\x00\x00",  # version
        b"HECB\x01\x03\x00\x00",  # role
        b"HECB\x01\x00\x00\x00",
        b"HECB\x01\x01\x10\x01",  # length of 4097
        b"HECB\x01\x01\x00\x01ab",  # bytes after the token
        b"HECB\x01\x01\x00\x01\xff",  # not ASCII
        b"get /",
        b"GET  /",
        b"GET /favicon.ico HTTP/1.1\r\n",
        b"GET /" + BEP.encode() + b"x",  # 23 characters
        b"GET /" + BEP[:-1].encode() + b"/",  # 21 characters
        b"\x16\x03\x01",  # TLS
        b"A" * 21,
        b"A" * SNIFF_LIMIT_BYTES,
    ],
)
def test_nonsense_is_refused(data: bytes) -> None:
    with pytest.raises(WireError, match=r"^cannot "):
        sniff(data)


@pytest.mark.parametrize("data", [b"", b"H", b"HECB", b"HECB\x01\x01\x00\x02a", b"GET", b"GET /Ab"])
def test_too_few_bytes_are_not_judged(data: bytes) -> None:
    assert sniff(data) is None


def test_a_token_of_the_largest_size_fits() -> None:
    preface = Preface(PrefaceRole.CONTROL, "t" * 4096)
    assert sniff(encode_preface(preface)) == preface


def test_a_frame_is_bytes_as_documented() -> None:
    assert encode_frame(FrameType.NEED, 0x0102) == b"\x01\x01\x02"
    assert encode_frame(FrameType.END, EndReason.REVOKED) == b"\x03\x00\x02"
    assert encode_frame(FrameType.PING) == b"\x02\x00\x00"


@pytest.mark.parametrize("kind", FrameType)
def test_a_frame_survives(kind: FrameType) -> None:
    assert decode_frame(encode_frame(kind, 65_535)) == (kind, 65_535)


@pytest.mark.parametrize("kind", [0, 4, 255])
def test_an_unknown_frame_is_refused(kind: int) -> None:
    with pytest.raises(WireError, match=f"type {kind}"):
        decode_frame(bytes([kind, 0, 0]))
