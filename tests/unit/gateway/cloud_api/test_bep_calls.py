import pytest

from gateway.cloud_api.bep_calls import is_beside


@pytest.mark.parametrize(
    ("host", "cloud", "expected"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("hecate.example.com", "hecate.example.com", True),
        ("relay.example.com", "hecate.example.com", True),
        ("relay.hecate.example.com", "hecate.example.com", True),
        ("127.0.0.1", "hecate.example.com", False),
        ("10.0.0.1", "10.0.0.2", False),
        ("evil.com", "example.com", False),
        ("printer", "hecate.example.com", False),
        ("localhost", "localhost", True),
        ("::1", "example.com", False),
        ("", "", False),
        ("example.com.evil.org", "hecate.example.com", False),
    ],
)
def test_a_tunnel_is_at_the_cloud_or_beside_it(host: str, cloud: str, expected: bool) -> None:
    assert is_beside(host, cloud) is expected
