import pytest

from gateway.cluster.ways.request import (
    WayRequest,
    decode_answer,
    decode_request,
    encode_answer,
    encode_request,
)
from protocol.errors import WireError


@pytest.mark.parametrize("proof", ["", "a.b.c"])
def test_a_request_comes_back(proof: str) -> None:
    request = WayRequest("cloud.example:443", proof)
    assert decode_request(encode_request(request)) == request


def test_an_answer_says_why_there_is_no_way() -> None:
    assert decode_answer(encode_answer(200)) == ""
    assert decode_answer(encode_answer(403, "not\r\nthis: one")) == "notthis: one"
    assert decode_answer(b"HTTP/1.1 502\r\n\r\n") == "HTTP 502"


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        b"CONNECT x:1\r\n\r\n",
        b"CONNECT x:1 HTTP/1.1\r\n\r\nmore",
        b"CONNECT x:1 HTTP/1.1\r\nx-hecate-proof: a\r\nX-Hecate-Proof: b\r\n\r\n",
        b"CONNECT x:1 HTTP/2\r\n\r\n",
    ],
)
def test_other_heads_are_refused(head: bytes) -> None:
    with pytest.raises(WireError):
        decode_request(head)


@pytest.mark.parametrize("head", [b"", b"220 smtp\r\n\r\n", b"HTTP/1.1 ok\r\n\r\n"])
def test_answers_of_others_are_refused(head: bytes) -> None:
    with pytest.raises(WireError):
        decode_answer(head)
