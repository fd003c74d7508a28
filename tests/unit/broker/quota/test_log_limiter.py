"""Lines of the log that peers cause: each kind is told, and no peer can flood it."""

import logging

import pytest

from broker.quota.counters import BrokerCounters
from broker.quota.log_limiter import LINES, LogLimiter
from broker.wire.packets import MQTT_5, Publish
from tests.unit.broker.rig import Rig


def test_one_line_for_each_client_and_kind_a_minute() -> None:
    log_limiter = LogLimiter(BrokerCounters())
    assert log_limiter.may_log("anna", "x")
    assert not log_limiter.may_log("anna", "x")
    assert log_limiter.may_log("anna", "y")
    assert log_limiter.may_log("ben", "x")
    for second in range(61):
        assert not log_limiter.may_log("anna", "x")
        log_limiter.tick(1000.0 + second)
    assert log_limiter.may_log("anna", "x")


def test_several_where_they_tell_a_story() -> None:
    log_limiter = LogLimiter(BrokerCounters())
    assert [log_limiter.may_log("anna", "connected", 2) for _ in range(4)] == [
        True,
        True,
        False,
        False,
    ]


def test_so_many_a_second_in_all() -> None:
    log_limiter = LogLimiter(BrokerCounters())
    assert sum(log_limiter.may_log(str(who), "x") for who in range(1000)) == LINES
    log_limiter.tick(1.0)
    assert sum(log_limiter.may_log(str(who), "x") for who in range(1000, 2000)) == LINES


def test_what_is_left_out_is_counted_and_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    counters = BrokerCounters()
    counters.drop("old", 9)
    log_limiter = LogLimiter(counters)
    log_limiter.tick(0.0)
    for kind in "abcdef":
        for _ in range(ord(kind) - 90):
            log_limiter.may_log("anna", kind)
    counters.drop("queue_full", 3)
    log_limiter.tick(59.0)
    assert caplog.messages == []
    log_limiter.tick(60.0)
    assert caplog.messages == [
        "not logged one by one: f 11, e 10, d 9, c 8, b 7, others 6",
        "messages dropped in the last minute: queue_full 3",
    ]
    log_limiter.tick(120.0)
    assert len(caplog.messages) == 2


def test_a_hostile_client_does_not_flood_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    rig = Rig()
    rig.rules.no_publish.add("secret")
    client = rig.online("eve", MQTT_5)
    client.send(*[Publish("secret", b"x")] * 1000)
    assert sum("may not publish" in each for each in caplog.messages) == 1
    for number in range(200):
        rig.online(f"c{number}").hang_up()
        rig.dial().send_bytes(b"\x00\x00")
    assert len(caplog.messages) <= LINES
    rig.pass_time(1)
    rig.pass_time(60)
    assert "publish_not_authorized 999" in caplog.messages[-2]
    assert caplog.messages[-1].endswith("dropped in the last minute: publish_not_authorized 1000")
