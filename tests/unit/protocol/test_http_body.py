"""HTTP through the SEP: what goes in comes out, and nothing else gets in."""

import cbor2
import pytest

from protocol.errors import WireError
from protocol.http_body import (
    HttpRequest,
    HttpResponse,
    decode_request,
    decode_response,
    encode_request,
    encode_response,
    end_to_end,
)


def test_requests_and_answers_survive() -> None:
    request = HttpRequest("PUT", "/a?b=1", (("accept", "*/*"),), b"\x00body", b"secret")
    response = HttpResponse(201, (("location", "/a"),), b"made")
    assert decode_request(encode_request(request)) == request
    assert decode_response(encode_response(response)) == response


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"m": "GET", "p": "a", "h": [], "b": b"", "k": b""},
        {"m": "GET", "p": "/", "h": [], "b": b""},
        {"m": "GET", "p": "/", "h": [["a"]], "b": b"", "k": b""},
        {"m": "GET", "p": "/", "h": [["a", "b\r\nc: d"]], "b": b"", "k": b""},
        {"m": "GET", "p": "/", "h": [["a", 1]], "b": b"", "k": b""},
        {"m": "GET", "p": "/", "h": [], "b": "text", "k": b""},
    ],
)
def test_a_malformed_request_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(WireError):
        decode_request(cbor2.dumps(fields))


@pytest.mark.parametrize("status", [True, 100, 600, "200"])
def test_a_malformed_status_is_refused(status: object) -> None:
    with pytest.raises(WireError):
        decode_response(cbor2.dumps({"s": status, "h": [], "b": b""}))


def test_headers_of_one_connection_stay_behind() -> None:
    headers = (("Connection", "close"), ("Accept", "*/*"), ("transfer-encoding", "chunked"))
    assert end_to_end(headers) == (("Accept", "*/*"),)
