import pytest

from gateway.cli.errors import CliError, OptionError
from gateway.cli.services.publish import Outgoing, broker_address


@pytest.mark.parametrize(
    ("listeners", "url", "address"),
    [
        (["127.0.0.1:1883"], "http://127.0.0.1:8083", ("127.0.0.1", 1883)),
        (["127.0.0.1:1883"], "http://localhost:8083", ("127.0.0.1", 1883)),
        (["[::1]:1883"], "http://[::1]:8083", ("::1", 1883)),
        (["0.0.0.0:1883"], "https://barn.example:8083", ("barn.example", 1883)),
        (["[::]:1883"], "http://192.0.2.7:8083", ("192.0.2.7", 1883)),
        (["127.0.0.1:1", "192.0.2.7:1883"], "http://192.0.2.7:8083", ("192.0.2.7", 1883)),
    ],
)
def test_the_broker_is_found_beside_the_api(
    listeners: list[str], url: str, address: tuple[str, int]
) -> None:
    assert broker_address({"broker": {"listeners": listeners}}, url) == address


@pytest.mark.parametrize("listeners", [["127.0.0.1:1883"], []])
def test_a_broker_of_another_machine_alone_is_said_with_the_setting(listeners: list[str]) -> None:
    with pytest.raises(CliError, match=r"\[broker\] host in gateway\.toml opens it"):
        broker_address({"broker": {"listeners": listeners}}, "http://192.0.2.7:8083")


@pytest.mark.parametrize("topic", ["", "a/#", "+", "a+b", "a\nb", "a\0", "é" * 40_000, "\udc80"])
def test_what_is_no_topic_is_told_before_anything_is_sent(topic: str) -> None:
    with pytest.raises(OptionError, match="no topic of a message"):
        Outgoing(topic, b"").check()


def test_topics_of_messages_are_taken() -> None:
    for topic in ("a", "größe/1", "$hec/x", "a b//c"):
        Outgoing(topic, b"").check()
