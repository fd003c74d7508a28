import ipaddress

import pytest

from gateway.services.errors import ImageError
from gateway.services.images.manifest import parse_manifest
from gateway.services.network.rules import NetworkRule, NetworkSettings, grant_network


@pytest.mark.parametrize(
    ("text", "matching", "others"),
    [
        ("api.example.com:443", ["api.example.com:443"],
         ["api.example.com:80", "x.api.example.com:443", "example.com:443"]),
        ("API.Example.com.:443", ["api.example.com:443"], []),
        ("*.example.org:443", ["a.example.org:443", "a.b.example.org:443"],
         ["example.org:443", "badexample.org:443", "a.example.org.evil.com:443"]),
        ("*:443", ["a.example:443"], ["a.example:80"]),
        ("plc:*", ["plc:502", "plc:1"], ["plc2:502"]),
    ],
)  # fmt: skip
def test_rules_with_names(text: str, matching: list[str], others: list[str]) -> None:
    rule = NetworkRule.parse(text)
    for each in (*matching, *others):
        name, _, port = each.partition(":")
        assert rule.names(name, int(port)) is (each in matching), each
    assert not rule.covers(ipaddress.ip_address("10.0.0.1"), 443, is_guarded=False)


@pytest.mark.parametrize(
    ("text", "address", "port", "plain", "guarded"),
    [
        ("10.0.0.0/24:502", "10.0.0.77", 502, True, False),
        ("10.0.0.0/24:502", "10.0.1.77", 502, False, False),
        ("10.0.0.0/24:502", "10.0.0.77", 503, False, False),
        ("10.0.0.5:*", "10.0.0.5", 9, True, True),
        ("10.0.0.5:502", "::ffff:10.0.0.5", 502, True, True),
        ("[2001:db8::/32]:443", "2001:db8::9", 443, True, False),
        ("0.0.0.0/0:443", "127.0.0.1", 443, True, False),  # a wide network opens no guarded one
        ("127.0.0.0/8:5432", "127.0.0.1", 5432, True, True),
        ("127.0.0.1:5432", "127.0.0.1", 5432, True, True),
        ("[::]:0".replace("0", "80"), "127.0.0.1", 80, False, False),
    ],
)
def test_rules_with_addresses(
    text: str, address: str, port: int, plain: bool, guarded: bool
) -> None:
    rule = NetworkRule.parse(text)
    parsed = ipaddress.ip_address(address)
    assert rule.covers(parsed, port, is_guarded=False) is plain
    assert rule.covers(parsed, port, is_guarded=True) is guarded
    assert not rule.names("a.example", port)


@pytest.mark.parametrize(
    "text",
    [
        "", "api.example.com", "api.example.com:", ":443", "api.example.com:0", "a.example:65536",
        "a.example:-1", "a.example:x", "https://a.example:443", "2001:db8::1:443", "10.0.0.1/24:80",
        "a.*.example:443", "**.example:443", "*.10.0.0.1:80", "127.1:80", "a.example:443/x",
    ],
)  # fmt: skip
def test_other_texts_are_no_rules(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be|names no|put brackets|is "):
        NetworkRule.parse(text)


def test_a_manifest_declares_nothing_by_default() -> None:
    network = parse_manifest('name = "x"').network
    assert network.rules() == ()
    assert not network.is_declared


def test_a_manifest_with_rules_and_forwards() -> None:
    network = parse_manifest(
        'name = "x"\n[network]\nallow = ["api.example.com:443", "10.0.0.0/24:502"]\n'
        'forward = {modbus = "10.0.0.5:502", v6 = "[2001:db8::1]:502"}\n'
    ).network
    assert [str(rule) for rule in network.rules()] == [
        "api.example.com:443", "10.0.0.0/24:502", "10.0.0.5/32:502", "[2001:db8::1/128]:502",
    ]  # fmt: skip
    assert str(network.forward["modbus"]) == "10.0.0.5:502"


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ('allow = ["api.example.com"]', "must be HOST:PORT, such as api.example.com:443"),
        ('allow = "api.example.com:443"', "is not a list"),
        ('forward = "10.0.0.5:502"', "is not a table"),
        ('forward = {modbus = "10.0.0.5"}', "must be HOST:PORT"),
        ('forward = {modbus = 502}', "is not a text"),
        ('forward = {"a b" = "10.0.0.5:502"}', "must be a-z 0-9"),
        ('forward = {modbus = "10.0.0.5:0"}', "has no port"),
        ('forward = {modbus = "0x7f.1:502"}', "is a number"),
        ('ports = [1]', "is not known"),
        (f"allow = {['a.example:1'] * 65}".replace("'", '"'), "at most 64 rules"),
    ],
)  # fmt: skip
def test_a_manifest_with_faults_is_refused_with_the_line(toml: str, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        parse_manifest(f'name = "x"\n[network]\n{toml}\n')


def test_an_image_without_manifest_gets_what_its_deployer_declares() -> None:
    env = {"MCM.NETWORK_ALLOW": "api.example.com:443, 10.0.0.0/24:502,"}
    granted = grant_network(NetworkSettings(), env)
    assert [str(rule) for rule in granted.rules()] == ["api.example.com:443", "10.0.0.0/24:502"]
    own = NetworkSettings((NetworkRule.parse("a.example:1"),))
    assert grant_network(own, env) is own
    assert grant_network(NetworkSettings(), {"MCM.NETWORK_ALLOW": " "}) == NetworkSettings()
    with pytest.raises(ValueError, match=r"MCM.NETWORK_ALLOW: must be HOST:PORT"):
        grant_network(NetworkSettings(), {"MCM.NETWORK_ALLOW": "*"})
