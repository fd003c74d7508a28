import base64
import ipaddress
import json

import pytest

from gateway.services.egress.targets import (
    OwnNames,
    RequestTarget,
    TargetError,
    TargetKind,
    find_target,
)

GATEWAY, SERVICE, NODE, OUTSIDE = TargetKind
NODE_ID = "ab" * 28
OWN = OwnNames(
    lambda: frozenset({"pump-7", "pump-7.local"}),
    lambda: frozenset({18083}),
    lambda address: address == ipaddress.ip_address("192.168.1.10"),
)


def routing(node_id: str = NODE_ID) -> list[tuple[bytes, bytes]]:
    fields = {"nodeId": node_id, "localLinkNetworkId": "x"}
    return [(b"x-mimik-routing", base64.b64encode(json.dumps(fields).encode()))]


def find(
    raw_target: str, method: str = "GET", headers: list[tuple[bytes, bytes]] | None = None
) -> RequestTarget:
    return find_target(method, raw_target, headers or [], OWN)


@pytest.mark.parametrize(
    ("raw_target", "kind", "path"),
    [
        ("/mcm/v1/images?x=1", GATEWAY, "/mcm/v1/images?x=1"),
        ("http://localhost/a", GATEWAY, "/a"),
        ("http://localhost:8083/a", GATEWAY, "/a"),  # as images of others call it
        ("http://localhost:18083/a", GATEWAY, "/a"),
        ("HTTP://LOCALHOST:8083", GATEWAY, "/"),
        ("http://127.0.0.1:8083?x", GATEWAY, "/?x"),
        ("http://127.9.9.9:8083/", GATEWAY, "/"),
        ("http://[::1]:8083/", GATEWAY, "/"),
        ("http://[::ffff:127.0.0.1]:8083/", GATEWAY, "/"),
        ("http://0.0.0.0:8083/", GATEWAY, "/"),
        ("http://192.168.1.10:18083/", GATEWAY, "/"),
        ("http://pump-7.local:8083/", GATEWAY, "/"),
        ("http://Pump-7:18083/", GATEWAY, "/"),
        ("http://foo.localhost/", GATEWAY, "/"),
        ("http://localhost:5432/", OUTSIDE, "/"),
        ("http://127.0.0.1:5432/", OUTSIDE, "/"),
        ("http://192.168.1.10:502/", OUTSIDE, "/"),
        ("http://pump-7:502/", OUTSIDE, "/"),
        ("http://example.com/a?b", OUTSIDE, "/a?b"),
        ("ws://example.com/a", OUTSIDE, "/a"),
        ("http://localhost.example.com/", OUTSIDE, "/"),
        ("http://127.0.0.1.example.com:8083/", OUTSIDE, "/"),
    ],
)
def test_http_targets(raw_target: str, kind: TargetKind, path: str) -> None:
    target = find(raw_target)
    assert (target.kind, target.path) == (kind, path)


@pytest.mark.parametrize(
    ("host", "service_type", "node_id"),
    [
        ("api-probe.service.hecate", "api-probe", ""),
        ("API-Probe.Service.Hecate.", "api-probe", ""),
        ("api-a.b_c.service.hecate", "api-a.b_c", ""),
        (f"{NODE_ID}.api-probe.service.hecate", "api-probe", NODE_ID),
        (f"{NODE_ID}.service.hecate", NODE_ID, ""),
    ],
)
def test_services_by_their_type(host: str, service_type: str, node_id: str) -> None:
    target = find(f"http://{host}/rooms?x")
    assert target.kind is SERVICE
    assert (target.service_type, target.node_id, target.path) == (service_type, node_id, "/rooms?x")


def test_nodes_by_their_id() -> None:
    target = find(f"http://{NODE_ID}.node.hecate/api/x")
    assert (target.kind, target.node_id, target.path) == (NODE, NODE_ID, "/api/x")
    # as compatible images address the tunnel to a node
    url = f"http://cloud.example/sep/{NODE_ID}/api/x?y"
    target = find(url, headers=routing())
    assert (target.kind, target.node_id, target.path) == (NODE, NODE_ID, "/api/x?y")
    assert find("http://cloud.example/api/x", headers=routing()).path == "/api/x"
    assert find(f"http://cloud.example/sep/{NODE_ID}", headers=routing()).path == "/"


def test_connect_targets() -> None:
    target = find("example.com:443", "CONNECT")
    assert (target.kind, target.host, target.port) == (OUTSIDE, "example.com", 443)
    assert find("[2001:db8::1]:443", "CONNECT").place == "[2001:db8::1]:443"
    for place in ("localhost:8083", "127.0.0.1:18083", "[::1]:8083", "192.168.1.10:18083"):
        assert find(place, "CONNECT").kind is GATEWAY


def test_the_request_line_has_precedence_over_host() -> None:
    headers = [(b"host", b"evil.example")]
    assert find("http://a.example/", headers=headers).host == "a.example"
    assert find("/", headers=headers).host == "evil.example"
    assert find("/", headers=[(b"host", b"localhost:8083")]).kind is GATEWAY
    with pytest.raises(TargetError, match="several Host"):
        find("/", headers=headers * 2)


def test_an_outside_target_has_an_authority_without_the_default_port() -> None:
    assert find("http://a.example/").authority == "a.example"
    assert find("http://a.example:8080/").authority == "a.example:8080"
    assert find("http://[2001:db8::1]/").authority == "[2001:db8::1]"


@pytest.mark.parametrize(
    ("raw_target", "method"),
    [
        ("", "GET"), ("*", "OPTIONS"), ("a.example:80", "GET"), ("https://a.example/", "GET"),
        ("ftp://a.example/", "GET"), ("file:///etc/passwd", "GET"), ("http:///x", "GET"),
        ("http://u:p@a.example/", "GET"), ("http://a.example@127.0.0.1:8083/", "GET"),
        ("http://a.example#@b.example/", "GET"), ("http://a.example\\@b.example/", "GET"),
        ("http://a.example:80:80/", "GET"), ("http://a.example:0/", "GET"),
        ("http://a.example:99999/", "GET"), ("http://a.example:+80/", "GET"),
        ("http://a%2eexample/", "GET"), ("http://[fe80::1%25eth0]/", "GET"),
        ("http://2130706433:8083/", "GET"), ("http://0177.0.0.1/", "GET"), ("http://127.1/", "GET"),
        ("http://0x7f000001/", "GET"), ("http://x.hecate/", "GET"), ("http://hecate/", "GET"),
        ("http://abc.node.hecate/", "GET"),
        ("a.example", "CONNECT"), ("http://a.example:80/", "CONNECT"), ("/", "CONNECT"),
        (":443", "CONNECT"), ("a.example:443/x", "CONNECT"), ("u@a.example:443", "CONNECT"),
        ("127.1:8083", "CONNECT"), ("a.example:0", "CONNECT"),
    ],
)  # fmt: skip
def test_other_targets_are_refused(raw_target: str, method: str) -> None:
    with pytest.raises(TargetError, match=r"^cannot (serve|reach)"):
        find(raw_target, method)


@pytest.mark.parametrize(
    "value",
    [b"", b"x", b"e30=", b"W10=", b"bnVsbA==", base64.b64encode(b'{"nodeId": 1}'),
     base64.b64encode(b'{"nodeId": "../x"}'), base64.b64encode(b'{"nodeId": "\\r\\n"}')],
)  # fmt: skip
def test_other_routing_headers_are_refused(value: bytes) -> None:
    with pytest.raises(TargetError, match=r"^cannot (read|reach)"):
        find("http://a.example/", headers=[(b"x-mimik-routing", value)])
    with pytest.raises(TargetError, match="names no node"):
        find("http://a.example/", headers=routing() * 2)
