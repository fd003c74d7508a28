import pytest

from microservice.errors import OutboundError
from microservice.outbound.urls import split_url


@pytest.mark.parametrize(
    ("url", "authority", "port", "path", "is_secure"),
    [
        ("http://a.example/x?y=1", "a.example", 80, "/x?y=1", False),
        ("https://a.example", "a.example", 443, "/", True),
        ("HTTP://[2001:db8::1]:8080/", "[2001:db8::1]:8080", 8080, "/", False),
        ("http://api-probe.service.hecate/a%20b#part", "api-probe.service.hecate", 80, "/a%20b",
         False),
        # compatible images leave the scheme away
        ("127.0.0.1:8083/mcm/v1", "127.0.0.1:8083", 8083, "/mcm/v1", False),
        ("/mds/v1/nodes", "localhost", 80, "/mds/v1/nodes", False),
    ],
)  # fmt: skip
def test_urls_have_these_parts(
    url: str, authority: str, port: int, path: str, is_secure: bool
) -> None:
    target = split_url(url)
    assert (target.authority, target.port, target.path) == (authority, port, path)
    assert target.is_secure is is_secure
    assert target.url == f"http://{authority}{path}"


def test_a_request_to_another_node_is_the_gateways_to_carry() -> None:
    url = "https://cloud.example/sep/x/api/y"
    assert split_url(url).is_secure
    assert not split_url(url, ["X-Mimik-Routing"]).is_secure


@pytest.mark.parametrize(
    "url",
    [
        "", "http://", "http:///x", "ftp://a.example/", "file:///etc/passwd", "http://u:p@a.example/",
        "http://a.example:0/", "http://a.example:99999/", "http://a.example:x/", "http://a b/",
        "http://a.example/ü", "http://a.example/a b", "http://a.example/\r\nX: y", "http://[::1",
        "http://a.example\\@b.example/", "http://[fe80::1%25eth0]/", "javascript:alert(1)",
    ],
)  # fmt: skip
def test_other_texts_are_refused_with_a_reason(url: str) -> None:
    with pytest.raises(OutboundError, match=r"^cannot request"):
        split_url(url)
