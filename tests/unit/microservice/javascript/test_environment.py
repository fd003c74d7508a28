"""The settings in a container's environment."""

import pytest

from microservice.errors import ServiceError
from microservice.javascript.environment import TopicTrigger, read_environment, read_triggers


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" a/+ , b/# ,", [("a/+", 1), ("b/#", 1)]),
        ('["a", {"topic": "b", "qos": 0}, {"filter": "c"}]', [("a", 1), ("b", 0), ("c", 1)]),
        ("[]", []),
    ],
)
def test_triggers(text: str, expected: list[tuple[str, int]]) -> None:
    wanted = tuple(TopicTrigger(*each) for each in expected)
    assert read_triggers({"MCM.MQTT_TRIGGERS": text}) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "[",
        "[1]",
        '[""]',
        '[{"qos": 1}]',
        '[{"topic": "a", "qos": 2}]',
        '[{"filter": "a", "qos": true}]',
    ],
)
def test_what_cannot_be_read_is_told(text: str) -> None:
    with pytest.raises(ServiceError, match=r"cannot read MCM\.MQTT_TRIGGERS"):
        read_triggers({"MCM.MQTT_TRIGGERS": text})


def test_limits() -> None:
    settings = read_environment({}, 128)
    assert (settings.limit_s, settings.memory_mib, settings.has_events) == (30.0, 128, False)
    env = {"MCM.MAX_EXECUTION_TIME_SEC": "2.5", "MCM.MAX_MEMORY_MIB": "16"}
    settings = read_environment(env | {"MCM.WEBSOCKET_SUPPORT": "True"}, 128)
    assert (settings.limit_s, settings.memory_mib, settings.has_events) == (2.5, 16, True)
    # the gateway waits no longer, and the container has no more
    most = {"MCM.MAX_EXECUTION_TIME_SEC": "9999", "MCM.MAX_MEMORY_MIB": "9999"}
    settings = read_environment(most, 128)
    assert (settings.limit_s, settings.memory_mib) == (30.0, 128)


@pytest.mark.parametrize("text", ["x", "nan", "-1", "0", "inf2"])
def test_a_limit_must_be_a_number(text: str) -> None:
    with pytest.raises(ServiceError, match=r"cannot use MCM\.MAX_EXECUTION_TIME_SEC"):
        read_environment({"MCM.MAX_EXECUTION_TIME_SEC": text}, 128)
