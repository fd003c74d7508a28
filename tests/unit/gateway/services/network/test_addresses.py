import ipaddress

import pytest

from gateway.services.network.addresses import parse_host, plain_address, special_kind


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("127.0.0.1", "this machine"),
        ("127.255.0.9", "this machine"),
        ("0.0.0.0", "this machine"),
        ("::", "this machine"),
        ("::1", "this machine"),
        ("::ffff:127.0.0.1", "this machine"),
        ("::7f00:1", "this machine"),  # IPv4-compatible
        ("64:ff9b::7f00:1", "this machine"),  # NAT64
        ("2002:7f00:1::", "this machine"),  # 6to4
        ("169.254.169.254", "link-local"),
        ("::ffff:a9fe:a9fe", "link-local"),
        ("fe80::1", "link-local"),
        ("fd00:ec2::254", "cloud metadata"),
        ("100.100.100.200", "cloud metadata"),
        ("224.0.0.1", "multicast"),
        ("ff02::1", "multicast"),
        ("255.255.255.255", "reserved"),
        ("10.0.0.5", ""),  # a plant's own network is what gateways are for
        ("192.168.1.1", ""),
        ("93.184.216.34", ""),
        ("2606:2800:220:1::1", ""),
        ("::ffff:93.184.216.34", ""),
    ],
)
def test_addresses_that_a_name_must_not_lead_to(address: str, kind: str) -> None:
    assert special_kind(ipaddress.ip_address(address)) == kind


def test_teredo_carries_its_clients_address() -> None:
    assert str(plain_address(ipaddress.ip_address("2001:0:4136:e378:8000:63bf:3fff:fdd2"))) == (
        "192.0.2.45"
    )


@pytest.mark.parametrize(
    ("host", "parsed"),
    [
        ("API.Example.com", "api.example.com"),
        ("api.example.com.", "api.example.com"),
        ("_sip.example.com", "_sip.example.com"),
        ("münchen.example", "xn--mnchen-3ya.example"),
        ("10.0.0.5", ipaddress.ip_address("10.0.0.5")),
        ("[2001:db8::1]", ipaddress.ip_address("2001:db8::1")),
        ("2001:db8::1", ipaddress.ip_address("2001:db8::1")),
        ("1.2.3.4.example", "1.2.3.4.example"),
        ("LocalHost.", ipaddress.ip_address("127.0.0.1")),
        ("a.localhost", ipaddress.ip_address("127.0.0.1")),
    ],
)
def test_hosts(host: str, parsed: object) -> None:
    assert parse_host(host) == parsed


@pytest.mark.parametrize(
    "host",
    [
        # forms that inet_aton() reads as 127.0.0.1
        "127.1", "0177.0.0.1", "0x7f000001", "2130706433", "0x7f.1", "127.0.0.01", "017700000001",
        "0x7F000001.", "1", "1.2.3.4.5", "a.0x", "127.0.0.1.",
        "", ".", "a..b", "-a.b", "a-.b", "a b", "a/b", "a%2eb", "fe80::1%eth0", "[::1", "a:b",
        "a" * 64, "x." * 130 + "x", "a\x00b", "\uff4cocalhost\uff0fx",
    ],
)  # fmt: skip
def test_what_only_looks_like_a_host_is_refused(host: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # any of its texts
        parse_host(host)
