"""Whatever a container writes into a request line, the gateway finds a safe target or refuses."""

import ipaddress

from hypothesis import example, given
from hypothesis import strategies as st

from gateway.services.egress.targets import (
    OwnNames,
    TargetError,
    TargetKind,
    find_target,
    is_address,
)
from gateway.services.network.addresses import parse_host, plain_address
from gateway.services.network.rules import NetworkRule

OWN = OwnNames(lambda: frozenset({"me"}), lambda: frozenset({8083}), lambda _: False)
HOSTS = st.one_of(
    st.sampled_from(
        [
            "localhost",
            "127.0.0.1",
            "[::1]",
            "0x7f.1",
            "me",
            "a.example",
            "[::ffff:7f00:1]",
            "x.hecate",
        ]
    ),
    st.ip_addresses().map(lambda a: f"[{a}]" if a.version == 6 else str(a)),
    st.integers(0, 2**32 - 1).map(str),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20),
)
URLS = st.builds(
    lambda scheme, host, port, path: f"{scheme}{host}{port}{path}",
    st.sampled_from(["http://", "HTTP://", "ws://", "", "https://", "//", "http:", "http:///"]),
    HOSTS,
    st.sampled_from(["", ":80", ":8083", ":0", ":65536", ":", ":8083:80", "@b.example:80"]),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=10),
)
HEADERS = st.lists(
    st.tuples(
        st.sampled_from([b"host", b"x-mimik-routing", b"x-forwarded-host"]),
        st.one_of(HOSTS.map(str.encode), st.binary(max_size=30)),
    ),
    max_size=3,
)


@given(st.sampled_from(["GET", "CONNECT", "OPTIONS"]), URLS, HEADERS)
@example("GET", "http://a.example#@127.0.0.1:8083/", [])
@example("CONNECT", "[::ffff:127.0.0.1]:8083", [])
def test_a_target_is_found_or_refused(
    method: str, raw_target: str, headers: list[tuple[bytes, bytes]]
) -> None:
    try:
        target = find_target(method, raw_target, headers, OWN)
    except TargetError:
        return
    assert target.path.startswith("/") or method == "CONNECT"
    assert 0 <= target.port <= 65535
    if target.kind is TargetKind.OUTSIDE:
        # the host is in the one form that the rules compare
        assert str(parse_host(target.host)) == target.host
        address = is_address(target.host)
        if address is not None and plain_address(address).is_loopback:
            assert target.port != 8083  # the gateway's port, which knows its callers


@given(st.ip_addresses(), st.integers(1, 65535))
def test_rules_read_what_they_write(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int
) -> None:
    text = f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"
    rule = NetworkRule.parse(text)
    assert NetworkRule.parse(str(rule)) == rule
    assert rule.covers(address, port, is_guarded=True) is (plain_address(address) == address)


@given(st.text(max_size=40))
def test_no_text_makes_the_reader_of_rules_fail(text: str) -> None:
    try:
        rule = NetworkRule.parse(text)
    except ValueError:
        return
    assert NetworkRule.parse(str(rule)) == rule
