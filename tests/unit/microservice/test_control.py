import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microservice.control import (
    ERROR_LIMIT,
    Alive,
    Command,
    Counts,
    Doing,
    Failed,
    Launch,
    Login,
    Measured,
    Paused,
    Prepared,
    Ready,
    Report,
    SettingsChange,
    decode_command,
    decode_launch,
    decode_report,
    encode_command,
    encode_launch,
    encode_report,
)
from microservice.errors import ControlError
from microservice.info import Info
from microservice.isolation.findings import Finding, Isolation, Level
from microservice.telemetry.samples import MetricKind, MetricSample

LAUNCH = Launch(
    code="/code",
    http_fd=7,
    info=Info("api-climate", "api-climate", "/api/climate/v1", "n", "a"),
    env={"KEY": "värde"},
    login=Login("/run/b.sock", "container:api-climate", "hush"),
    publish=("rooms/#",),
    stale=("old/#",),
    settings={"limit": 30.5, "place": "värde"},
    secrets={"key": "hunter2"},
)


def test_a_launch_arrives_as_it_was_sent() -> None:
    assert decode_launch(encode_launch(LAUNCH)) == LAUNCH


def test_a_launch_does_not_show_its_password() -> None:
    assert "hush" not in repr(LAUNCH)
    assert "hunter2" not in repr(LAUNCH)


@pytest.mark.parametrize("line", [b"", b"{}", b"[]", b'{"code": 1}', b"\xff"])
def test_what_is_no_launch_is_refused(line: bytes) -> None:
    with pytest.raises(ControlError):
        decode_launch(line)


def test_settings_and_metrics_arrive() -> None:
    change = SettingsChange({"limit": 30, "place": "é", "loud": True})
    assert decode_command(encode_command(change)) == change
    report = Measured((MetricSample("a", MetricKind.GAUGE, "", {"l": "é"}, 1.5),))
    assert decode_report(encode_report(report)) == report
    for line in (b'{"do": "settings"}', b'{"do": "settings", "values": []}'):
        with pytest.raises(ControlError):
            decode_command(line)


@pytest.mark.parametrize("command", list(Command))
def test_commands_arrive(command: Command) -> None:
    assert decode_command(encode_command(command)) is command


@pytest.mark.parametrize(
    "report",
    [
        Prepared(("a/#",)),
        Ready(),
        Alive(),
        Doing("loading"),
        Paused(),
        Failed("no"),
        Counts(1, 2, 3),
        Isolation({"memory": Finding(Level.PART, "each process alone")}),
    ],
)
def test_reports_arrive(report: Report) -> None:
    assert decode_report(encode_report(report)) == report


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b'{"at": "counts", "handled": true}',
        b'{"at": "counts", "handled": "1"}',
        b'{"at": "counts", "other": 1}',
        b'{"at": "counts", "handled": -1}',
        b'{"at": "counts", "handled": 9223372036854775808}',
        b'{"at": "prepared", "subscribe": "a"}',
        b'{"at": "prepared", "subscribe": [1]}',
        b'{"at": "failed"}',
        b'{"at": ["ready"]}',
        b'{"at": "isolation"}',
        b'{"at": "isolation", "findings": {"peace": {"level": "full", "detail": ""}}}',
        b'{"at": "isolation", "findings": {"memory": {"level": "perfect", "detail": ""}}}',
        b'{"at": "isolation", "findings": {"memory": {"level": "full", "detail": 1}}}',
        b'{"at": "isolation", "findings": {"memory": []}}',
    ],
)
def test_what_a_process_must_not_say_is_refused(line: bytes) -> None:
    with pytest.raises(ControlError):
        decode_report(line)


def test_a_long_reason_is_cut() -> None:
    report = decode_report(encode_report(Failed("x" * 10_000)))
    assert isinstance(report, Failed)
    assert len(report.error) == ERROR_LIMIT


@given(st.binary(max_size=200))
def test_any_bytes_give_a_value_or_a_control_error(line: bytes) -> None:
    for decode in (decode_report, decode_command, decode_launch):
        with contextlib.suppress(ControlError):
            decode(line)
