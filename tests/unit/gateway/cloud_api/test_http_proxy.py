import pytest

from gateway.cloud_api.http_proxy import find_proxy, read_proxy

VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUEST_METHOD")


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


# case G20
def test_the_setting_counts_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://other:1")
    monkeypatch.setenv("NO_PROXY", "*")
    assert str(find_proxy("http://proxy:8080", "https", "127.0.0.1")) == "proxy:8080"


# case G20
def test_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_proxy("", "https", "cloud.example.com") is None
    monkeypatch.setenv("https_proxy", "proxy:3129")
    assert str(find_proxy("", "https", "cloud.example.com")) == "proxy:3129"
    assert find_proxy("", "http", "cloud.example.com") is None
    monkeypatch.setenv("ALL_PROXY", "http://all")
    assert str(find_proxy("", "http", "cloud.example.com")) == "all:3128"
    monkeypatch.setenv("NO_PROXY", "other.org,.example.com")
    assert find_proxy("", "https", "cloud.example.com") is None
    for host in ("localhost", "127.0.0.1", "::1"):
        assert find_proxy("", "https", host) is None
    monkeypatch.setenv("https_proxy", "socks5://proxy:1080")
    assert find_proxy("", "https", "example.org") is None


def test_credentials_are_decoded_and_not_shown() -> None:
    proxy = read_proxy("http://me:p%40ss@[::1]:8080")
    assert proxy.authorization.reveal() == "Basic bWU6cEBzcw=="
    assert str(proxy) == "[::1]:8080"
    assert "ss" not in repr(proxy)


@pytest.mark.parametrize(
    "url", ["proxy", "https://proxy", "socks5://proxy:1", "http://", "http://p:x"]
)
def test_what_is_no_proxy(url: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        read_proxy(url)
