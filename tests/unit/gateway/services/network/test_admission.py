import ipaddress
from collections.abc import Sequence

import pytest

from gateway.services.network.addresses import IpAddress
from gateway.services.network.admission import Admission, NetworkDeniedError
from gateway.services.network.rules import NetworkRule

OWN = ipaddress.ip_address("192.168.1.10")


def admission(*rules: str) -> Admission:
    return Admission(
        [NetworkRule.parse(rule) for rule in rules],
        lambda address: address == OWN,
        lambda: frozenset({8083}),
    )


def addresses(*texts: str) -> Sequence[IpAddress]:
    return [ipaddress.ip_address(text) for text in texts]


def test_an_undeclared_name_is_refused_with_the_rule_that_is_missing() -> None:
    with pytest.raises(
        NetworkDeniedError,
        match=r"^cannot reach api.example.com:443: "
        r"add it to \[network\] allow in microservice.toml, or to MCM.NETWORK_ALLOW$",
    ):
        admission("api.example.com:80").check_name("api.example.com", 443)
    admission("api.example.com:443").check_name("api.example.com", 443)


# DNS rebinding: the owner of a declared name leads it to what is not theirs
@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "169.254.169.254", "::ffff:127.0.0.1", "::1", "fe80::1", "0.0.0.0",
        "64:ff9b::a9fe:a9fe", "fd00:ec2::254", "192.168.1.10", "::ffff:192.168.1.10",
    ],
)  # fmt: skip
@pytest.mark.parametrize("rule", ["a.example:80", "*.example:80", "*:80", "*:*"])
def test_a_name_does_not_lead_to_guarded_addresses(rule: str, address: str) -> None:
    with pytest.raises(NetworkDeniedError, match=r"the name leads to .* if that is meant"):
        admission(rule).select("a.example", addresses(address), 80)


def test_a_declared_address_is_reached_by_name_too() -> None:
    both = admission("db.example:5432", "127.0.0.1:5432")
    assert both.select("db.example", addresses("127.0.0.1"), 5432) == addresses("127.0.0.1")


def test_only_the_plain_addresses_of_a_name_are_used() -> None:
    found = addresses("127.0.0.1", "10.0.0.5", "93.184.216.34")
    assert admission("a.example:80").select("a.example", found, 80) == found[1:]
    assert admission("a.example:80").select("a.example", [], 80) == []


def test_addresses_need_a_rule_of_their_own() -> None:
    for rule in ("10.0.0.0/24:502", "10.0.0.5:502", "10.0.0.5:*"):
        admission(rule).check_address(ipaddress.ip_address("10.0.0.5"), 502)
    for rule in ("*:502", "10.0.1.0/24:502", "10.0.0.5:503", "a.example:502"):
        with pytest.raises(NetworkDeniedError, match=r"cannot reach 10.0.0.5:502: add it"):
            admission(rule).check_address(ipaddress.ip_address("10.0.0.5"), 502)
    for rule in ("0.0.0.0/0:80", "192.168.1.0/24:80", "*:80"):
        with pytest.raises(NetworkDeniedError, match=r"\(this machine: the address itself\)"):
            admission(rule).check_address(OWN, 80)
    admission("192.168.1.10:80").check_address(OWN, 80)


# there a container would be anybody on this machine
@pytest.mark.parametrize("address", ["127.0.0.1", "192.168.1.10", "::1", "::ffff:127.0.0.1"])
def test_no_rule_opens_the_gateways_own_ports(address: str) -> None:
    place = f"[{address}]:8083" if ":" in address else f"{address}:8083"
    opened = admission("*:*", place, "127.0.0.1:8083", "a.example:8083")
    with pytest.raises(NetworkDeniedError, match="it is the gateway itself"):
        opened.check_address(ipaddress.ip_address(address), 8083)
    with pytest.raises(NetworkDeniedError, match="gateway itself"):
        opened.select("a.example", addresses(address), 8083)
