import pytest

from web.browsers.origins import HostPolicy, host_name

NAMES = ("barn", "barn.local", "gw.example.com", "*.lab.example", "192.0.2.9")
POLICY = HostPolicy(lambda: NAMES, "[sidecar]", ("https://app.example.com",))
HERE = "192.168.1.7"  # the address that the connection came to


# case G6
@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8083", 0),
        ("localhost", 0),
        ("[::1]:8083", 0),
        ("api.localhost", 0),
        ("192.168.1.7:8083", 0),
        ("barn.local:8083", 0),
        ("BARN.local.", 0),
        ("gw.example.com", 0),
        ("a.lab.example", 0),
        ("192.0.2.9", 0),
        ("evil.example", 421),
        ("evil.example:8083", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example", 421),
        ("lab.example", 421),
        ("a.b.lab.example", 421),
        ("192.168.1.8", 421),
        ("", 421),
        ("127.0.0.1@evil.example", 421),
        ("evil.example/127.0.0.1", 421),
        ("[::1", 421),
        ("127.0.0.1:port", 421),
    ],
)
def test_hosts(host: str, status: int) -> None:
    assert POLICY.judge([host], HERE, {}).status == status


def test_two_hosts_are_none_and_no_host_is_no_browser() -> None:
    assert POLICY.judge(["localhost", "evil.example"], HERE, {}).status == 421
    assert POLICY.judge([], HERE, {}).status == 0


# case G6
@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://127.0.0.1:8083", 0),
        ("https://app.example.com", 0),
        ("http://evil.example", 403),
        ("http://127.0.0.1:3000", 403),
        ("http://localhost:8083", 403),
        ("https://app.example.com.evil.example", 403),
        ("null", 403),
        ("file://", 403),
        ("http://[", 403),
    ],
)
def test_origins(origin: str, status: int) -> None:
    assert POLICY.judge(["127.0.0.1:8083"], HERE, {"origin": origin}).status == status


def test_a_foreign_origin_that_is_allowed_is_named() -> None:
    headers = {"origin": "https://app.example.com"}
    assert POLICY.judge(["localhost"], HERE, headers).allowed_origin == "https://app.example.com"
    anyone = HostPolicy(tuple, "[sidecar]", ("*",))
    assert anyone.judge(["localhost"], HERE, {"origin": "http://a"}).allowed_origin == "http://a"


@pytest.mark.parametrize(
    ("site", "mode", "status"),
    [("cross-site", "no-cors", 403), ("cross-site", "navigate", 0), ("same-origin", "no-cors", 0),
     ("none", "navigate", 0)],
)  # fmt: skip
def test_parts_of_foreign_pages(site: str, mode: str, status: int) -> None:
    headers = {"sec-fetch-site": site, "sec-fetch-mode": mode}
    assert POLICY.judge(["localhost"], HERE, headers).status == status


def test_a_host_names_nothing_else() -> None:
    assert host_name("a:b@c") == ""
    assert host_name("A.example:80") == "a.example"
