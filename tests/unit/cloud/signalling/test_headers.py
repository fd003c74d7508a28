import pytest

from cloud.signalling.headers import answer_to_caller, headers_to_node
from protocol.errors import WireError
from protocol.http_body import HttpResponse


def test_end_to_end_headers_reach_the_node_and_others_do_not() -> None:
    raw = [
        (b"Host", b"cloud"),
        (b"Authorization", b"Bearer x"),
        (b"Connection", b"close, X-Only-Here"),
        (b"X-Only-Here", b"1"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Cookie", b"a=b"),
        (b"X-Forwarded-For", b"6.6.6.6"),
        (b"X-Forwarded-Host", b"evil"),
        (b"Forwarded", b"for=6.6.6.6"),
        (b"Accept", b"a"),
        (b"Accept", b"\xe9"),
    ]
    assert headers_to_node(raw, "192.0.2.1", "https") == (
        ("authorization", "Bearer x"),
        ("accept", "a"),
        ("accept", "\xe9"),
        ("x-forwarded-for", "192.0.2.1"),
        ("x-forwarded-proto", "https"),
    )


def test_answer_keeps_its_headers_but_those_that_concern_the_cloud() -> None:
    response = HttpResponse(
        200,
        (
            ("Content-Type", "text/plain"),
            ("Content-Length", "999"),
            ("Set-Cookie", "a=b"),
            ("Service-Worker-Allowed", "/"),
            ("Link", "<a>"),
            ("Link", "<b>"),
            ("Keep-Alive", "5"),
        ),
        b"hello",
    )
    headers, body = answer_to_caller(response, "GET")
    assert headers == [
        (b"content-type", b"text/plain"),
        (b"link", b"<a>"),
        (b"link", b"<b>"),
        (b"content-length", b"5"),
    ]
    assert body == b"hello"


def test_head_keeps_the_length_and_has_no_body() -> None:
    response = HttpResponse(200, (("content-length", "7"),), b"ignored")
    assert answer_to_caller(response, "HEAD") == ([(b"content-length", b"7")], b"")
    assert answer_to_caller(HttpResponse(200), "HEAD") == ([], b"")


@pytest.mark.parametrize("status", [204, 304])
def test_answers_without_body(status: int) -> None:
    assert answer_to_caller(HttpResponse(status, (), b"x"), "GET") == ([], b"")


@pytest.mark.parametrize(
    "header", [("a b", "x"), ("", "x"), ("a", "x\x01"), ("a", "\u20ac"), ("a:", "x")]
)
def test_headers_that_are_not_http_are_refused(header: tuple[str, str]) -> None:
    with pytest.raises(WireError):
        answer_to_caller(HttpResponse(200, (header,)), "GET")
