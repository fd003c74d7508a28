import pytest

from settings.addresses import HostPort, format_address


def test_addresses_of_both_families() -> None:
    assert format_address("127.0.0.1", 1) == "127.0.0.1:1"
    assert format_address("::1", 1) == "[::1]:1"


def test_an_address_is_host_and_port() -> None:
    assert HostPort.parse("[::1]:0") == HostPort("::1", 0)
    assert str(HostPort.parse("[::1]:0")) == "[::1]:0"
    for wrong in ("1883", ":1883", "h:", "h:x", "h:99999", "::1:1883", "h:²"):
        with pytest.raises(ValueError, match=r"HOST:PORT|brackets"):
            HostPort.parse(wrong)
