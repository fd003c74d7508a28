"""The headers and addresses that scripts give."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microservice.javascript.header_rule import (
    absolute_url,
    is_json,
    read_authorization,
    request_headers,
)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("127.0.0.1:8083/mcm/v1", "http://127.0.0.1:8083/mcm/v1"),
        ("localhost:8083/x?u=http://y", "http://localhost:8083/x?u=http://y"),
        ("http://h/", "http://h/"),
        ("HTTPS://h/", "HTTPS://h/"),
        ("//h/x", "http://h/x"),
    ],
)
def test_a_scheme_may_be_missing(url: str, expected: str) -> None:
    assert absolute_url(url) == expected


def test_lines_after_the_first_are_headers() -> None:
    value = "\r\nx-mimik-port: 8100\r\nX-MIMIK-Routing:  abc \r\n"
    assert read_authorization(value) == ("", [("x-mimik-port", "8100"), ("X-MIMIK-Routing", "abc")])
    assert read_authorization("bearer T\r\napiKey: k:1") == ("bearer T", [("apiKey", "k:1")])
    assert read_authorization("") == ("", [])


@given(st.text(alphabet=st.sampled_from("\r\nabkeyApiKx-m:1 \t\0é"), max_size=60))
def test_no_value_brings_another_header_or_line(value: str) -> None:
    try:
        headers = request_headers([], value, has_data=False)
    except ValueError:
        return
    for name, content in headers:
        assert name.lower() in ("authorization", "apikey") or name.lower().startswith("x-mimik-")
        assert not set("\r\n\0") & set(name + content)


def test_a_header_of_its_own_wins_over_authorization() -> None:
    headers = request_headers([("Authorization", "own")], "other", has_data=False)
    assert headers == [("Authorization", "own")]


@pytest.mark.parametrize("name", ["Host", "Connection", "Content-Length", "Transfer-Encoding"])
def test_framing_is_not_the_scripts(name: str) -> None:
    assert request_headers([(name, "x")], "", has_data=False) == []


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("application/json", True), ("APPLICATION/json ; a=b", True), ("application/a+json", True),
     ("text/json", False), ("application/json5", False), ("", False)],
)  # fmt: skip
def test_json_types(kind: str, expected: bool) -> None:
    assert is_json(kind) is expected
