"""Hosts and addresses that images may be pulled from."""

import pytest

from gateway.services.errors import ImageError
from gateway.services.images.sources import PullSource, check_address, check_source

HOSTS = ("images.example.com", "*.example.org", "10.1.2.3:8080", "box.local")


@pytest.mark.parametrize(
    ("url", "host", "port", "may_be_local"),
    [
        ("https://images.example.com/a.tar", "images.example.com", 443, True),
        ("https://IMAGES.example.com./a.tar?x=1", "images.example.com", 443, True),
        ("http://a.b.example.org:81/", "a.b.example.org", 81, False),
        ("http://10.1.2.3:8080/x", "10.1.2.3", 8080, True),
    ],
)
def test_allowed_sources(url: str, host: str, port: int, may_be_local: bool) -> None:
    assert check_source(url, HOSTS, None) == PullSource(url, host, port, may_be_local)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://example.org/x", "none of"),
        ("https://evilexample.org/x", "none of"),
        ("https://images.example.com.evil.net/x", "none of"),
        ("http://10.1.2.3:8081/x", "none of"),
        ("http://10.1.2.3/x", "none of"),
        ("file:///etc/passwd", "must be like"),
        ("ftp://images.example.com/x", "must be like"),
        ("https:///x", "must be like"),
        ("x", "must be like"),
        ("https://images.example.com/\n", "must be like"),
        ("https://images.example.com/" + "x" * 2048, "must be like"),
        ("https://images.example.com:99999/", "malformed"),
        ("https://[::1/", "malformed"),
        ("https://me:word@images.example.com/", "password"),
        ("https://images.example.com@evil.net/", "password"),
        ("https://imäges.example.org/", "must be like"),
    ],
)
def test_other_sources_are_refused(url: str, why: str) -> None:
    with pytest.raises(ImageError, match=why) as caught:
        check_source(url, HOSTS, None)
    assert "word" not in str(caught.value).replace("password", "")


def test_nothing_is_allowed_by_itself() -> None:
    with pytest.raises(ImageError, match="pull_hosts"):
        check_source("https://example.com/", (), None)
    assert check_source("https://example.com/", ("*",), None).may_be_local is False


def test_a_redirect_keeps_tls() -> None:
    before = check_source("https://images.example.com/", HOSTS, None)
    with pytest.raises(ImageError, match=r"redirects to box\.local without TLS"):
        check_source("http://box.local/", HOSTS, before)
    assert check_source("https://box.local/", HOSTS, before)


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "127.8.8.8", "::1", "169.254.169.254", "fe80::1%eth0", "0.0.0.0", "::",
     "::ffff:127.0.0.1", "::ffff:169.254.1.1", "224.0.0.1", "ff02::1", "240.0.0.1", "name"],
)  # fmt: skip
def test_addresses_of_this_machine_need_a_literal_name(address: str) -> None:
    with pytest.raises(ImageError, match="on this machine or its link"):
        check_address(PullSource("http://a.example.org/", "a.example.org", 80, False), address)
    check_address(PullSource("http://box.local/", "box.local", 80, True), address)


@pytest.mark.parametrize("address", ["93.184.216.34", "192.168.1.7", "10.0.0.1", "2606:2800::1"])
def test_other_addresses_are_open(address: str) -> None:
    check_address(PullSource("http://a.example.org/", "a.example.org", 80, False), address)
