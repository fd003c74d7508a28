import re

import pytest

from gateway.services.proxy.headers import (
    Headers,
    from_upstream,
    is_upgrade,
    switching_head,
    target_below,
    to_container,
    to_outside,
    with_trace,
)
from web.asgi import Scope


def scope(headers: Headers, **fields: object) -> Scope:
    client = ("10.0.0.9", 1)
    return {"method": "GET", "headers": headers, "scheme": "https", "client": client, **fields}


def test_a_container_gets_what_the_gateway_knows_not_what_a_caller_claims() -> None:
    claims = [
        (b"Host", b"node:8083"), (b"X-Forwarded-For", b"1.2.3.4"), (b"X-Hecate-Caller", b"api-x"),
        (b"Forwarded", b"for=1.2.3.4"), (b"Expect", b"100-continue"), (b"Upgrade", b"h2c"),
        (b"TE", b"trailers"), (b"Connection", b"x-private, close"), (b"X-Private", b"1"),
        (b"Accept", b"*/*"),
    ]  # fmt: skip
    assert to_container(scope(claims), "/api/x") == [
        (b"host", b"node:8083"), (b"accept", b"*/*"), (b"x-forwarded-host", b"node:8083"),
        (b"x-forwarded-proto", b"https"), (b"x-forwarded-prefix", b"/api/x"),
        (b"x-forwarded-for", b"10.0.0.9"),
    ]  # fmt: skip
    assert (b"x-hecate-caller", b"api-y") in to_container(scope(claims), "/api/x", "api-y")


def test_chunked_has_precedence_over_a_length() -> None:
    both = [(b"host", b"x"), (b"content-length", b"4"), (b"transfer-encoding", b"gzip, chunked")]
    for headers in (to_container(scope(both), ""), to_outside(scope(both), "a")):
        assert (b"transfer-encoding", b"chunked") in headers
        assert b"content-length" not in dict(headers)


def test_connection_does_not_remove_what_a_request_needs() -> None:
    headers = [(b"connection", b"host, content-length, authorization"), (b"host", b"x"),
               (b"content-length", b"4"), (b"authorization", b"a")]  # fmt: skip
    names = dict(to_container(scope(headers), ""))
    assert {b"host", b"content-length", b"authorization"} <= set(names)


def test_an_answer_has_the_one_date_of_the_gateways_server() -> None:
    answer = [(b"Date", b"Mon, 30 Nov 2026 03:56:26 GMT"), (b"Age", b"5")]
    assert from_upstream(answer) == [(b"age", b"5")]


def test_an_answer_loses_hop_by_hop_headers_and_cannot_speak_as_the_gateway() -> None:
    answer = [(b"Connection", b"x-a"), (b"X-A", b"1"), (b"Keep-Alive", b"5"), (b"Trailer", b"x"),
              (b"Proxy-Status", b"hecate; error=x"), (b"Set-Cookie", b"a"),
              (b"Set-Cookie", b"b")]  # fmt: skip
    assert from_upstream(answer) == [(b"set-cookie", b"a"), (b"set-cookie", b"b")]
    assert switching_head([(b"Sec-WebSocket-Accept", b"abc"), (b"Upgrade", b"websocket")]) == (
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
        b"sec-websocket-accept: abc\r\n\r\n"
    )


def test_a_trace_is_made_when_there_is_none_that_can_be_passed_on() -> None:
    made = dict(with_trace([(b"traceparent", b"00-x"), (b"x-request-id", b"a b")]))
    assert re.fullmatch(rb"[0-9a-f]{16}", made[b"x-request-id"])
    assert re.fullmatch(rb"00-[0-9a-f]{32}-[0-9a-f]{16}-00", made[b"traceparent"])
    parent = b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01"
    given = [(b"x-request-id", b"abc-1"), (b"traceparent", parent)]
    assert with_trace(given) == given


@pytest.mark.parametrize(
    ("headers", "is_one"),
    [
        ([(b"Connection", b"keep-alive, Upgrade"), (b"Upgrade", b"WebSocket")], True),
        ([(b"connection", b"upgrade"), (b"upgrade", b"h2c")], False),
        ([(b"upgrade", b"websocket")], False),
        ([(b"connection", b"upgrade")], False),
    ],
)
def test_upgrades(headers: Headers, is_one: bool) -> None:
    assert is_upgrade(scope(headers)) is is_one
    assert not is_upgrade(scope(headers, method="POST"))


def test_targets_below_a_prefix_keep_their_encoding() -> None:
    def below(raw: bytes, path: str, query: bytes = b"") -> bytes:
        return target_below({"raw_path": raw, "path": path, "query_string": query}, "/api/x")

    assert below(b"/api/x/a%2Fb", "/api/x/a/b", b"c=%20") == b"/a%2Fb?c=%20"
    assert below(b"/api/x", "/api/x") == b"/"
    assert below(b"/%61pi/x/%C3%BC", "/api/x/ü") == b"/%C3%BC"


def test_no_answer_gets_hold_of_the_pages_of_other_microservices() -> None:
    answer = [(b"Service-Worker-Allowed", b"/"), (b"Clear-Site-Data", b'"*"'), (b"Etag", b"1")]
    assert from_upstream(answer) == [(b"etag", b"1")]
