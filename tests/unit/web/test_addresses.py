import pytest

from settings.addresses import format_address
from web.addresses import address_key, is_loopback_host


@pytest.mark.parametrize(
    ("peer", "key"),
    [
        ("127.0.0.1", ""),
        ("::1", ""),
        ("::ffff:127.0.0.1", ""),
        ("", ""),
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::2%eth0", "2001:db8::/64"),
    ],
)
def test_what_an_address_counts_as(peer: str, key: str) -> None:
    assert address_key(peer) == key


@pytest.mark.parametrize(
    ("host", "is_here"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False), ("", False),
     ("::", False), ("192.0.2.1", False), ("gateway.local", False)],
)  # fmt: skip
def test_what_is_reached_from_this_machine_only(host: str, is_here: bool) -> None:
    assert is_loopback_host(host) is is_here


def test_addresses_of_both_families() -> None:
    assert format_address("127.0.0.1", 1) == "127.0.0.1:1"
    assert format_address("::1", 1) == "[::1]:1"
