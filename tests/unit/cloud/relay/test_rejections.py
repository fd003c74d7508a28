import json

import pytest

from cloud.relay.rejections import encode_rejection, is_http


@pytest.mark.parametrize("status", [404, 503, 504])
def test_a_problem_is_a_whole_response(status: int) -> None:
    head, body = encode_rejection(status, "no such BEP").split(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    document = json.loads(body)
    assert lines[0] == f"HTTP/1.1 {status} {document['title']}"
    assert f"content-length: {len(body)}" in lines
    assert "connection: close" in lines
    assert "content-type: application/problem+json" in lines
    assert document["status"] == status
    assert document["detail"] == "cannot reach BEP: no such BEP"


def test_http_is_told_from_other_bytes() -> None:
    assert is_http(b"GET /favicon.ico")
    assert not is_http(b"GET favicon.ico")
    assert not is_http(b"\x16\x03\x01")
