import io
import re
from typing import Any

import pytest
from rich.console import Console

from gateway.cli.view.screen import render
from gateway.cli.view.snapshot import parse_reading, parse_snapshot
from gateway.cli.view.watch import Watch
from gateway.cli.view.words import ago, duration, plural, size
from tests.unit.gateway.cli.view.status_documents import NOW, broker, device, status


def draw(document: dict[str, Any], width: int = 110, colour: bool = False) -> str:
    snapshot = parse_snapshot(document)
    watch = Watch()
    out = Console(
        file=io.StringIO(),
        width=width,
        force_terminal=colour,
        color_system="standard" if colour else None,
    )
    out.print(render(watch.take(snapshot, 0.0), NOW, "Ctrl-C ends everything"))
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue()


def test_the_screen_shows_each_part_with_its_numbers() -> None:
    screen = draw(status())
    for words in (
        "Hecate lab", "supernode of 1 node", "up 2 min",
        "kitchen", "temperature 21.44 °C", "143 messages", "now",
        "climate", "/api/climate/v1", "286 handled",
        "SEP online", "spool empty", "BEP open", "3 visitors · 104.9 MB · 58 min left",
        "127.0.0.1:1883", "1,234 in", "0 dropped", "Ctrl-C ends everything",
    ):  # fmt: skip
        assert words in screen


# case G1, G2, G11
def test_what_is_wrong_on_the_way_to_the_cloud_is_shown() -> None:
    document = status()
    sep = document["sep"]
    sep["clock"] = {"offset_s": -60.2, "note": "clock 60 s ahead of the cloud's"}
    sep["denied"] = {"a/#": "Not authorized"}
    sep["spool"] |= {
        "full": True,
        "when_full": "refuse",
        "error": "",
        "set_aside": 2,
        "set_aside_total": 3,
        "latest": [{"topic": "a/\x1bb", "reason": "33 topic levels", "size": 1, "at": NOW}],
    }
    notes = [
        "clock 60 s ahead of the cloud's",
        "spool full: new messages stay on this node (refuse)",
        "3 set aside, last a/?b: 33 topic levels",
        'cloud denies rule "a/#": Not authorized',
    ]
    screen = draw(document)
    lines = Watch().changes(parse_snapshot(document))
    for note in notes:
        assert note in screen
        assert any(note in line for line in lines)
    sep["denied"] = {f"{n}/#": "no" for n in range(100)}
    assert len(draw(document).splitlines()) < 40


@pytest.mark.parametrize("width", [40, 80, 100])
def test_the_way_out_is_never_cut_off(width: int) -> None:
    assert "Ctrl-C ends everything" in draw(status(), width)


@pytest.mark.parametrize("width", [40, 80, 110, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    lines = draw(status(devices=[device(name="x" * 64, id=f"dev-{n}") for n in range(20)]), width)
    assert max(len(line.rstrip("\n")) for line in lines.splitlines()) <= width


def test_the_screen_stays_below_40_lines_however_many_things_there_are() -> None:
    document = status()
    for section in ("devices", "containers", "beps"):
        document[section] = document[section] * 100
    screen = draw(document)
    assert len(screen.splitlines()) < 40
    assert "and 92 more" in screen


def test_a_failure_is_red_and_in_words() -> None:
    document = status()
    document["containers"][0] |= {"state": "failed", "error": "cannot start: no service.py"}
    document["sep"] |= {"state": "refused", "error": "unknown node"}
    screen = draw(document, colour=True)
    assert "cannot start: no service.py" in screen
    assert "unknown node" in screen
    assert len(re.findall("\x1b\\[31m *●", screen)) == 2


# case G8
def test_one_that_was_started_again_says_how_often_and_why() -> None:
    document = status()
    document["containers"][0] |= {"restarts": 2, "last_end": "it answered no control message"}
    assert "2 restarts, the last: it answered no" in draw(document, 160)
    (line,) = (one for one in Watch().changes(parse_snapshot(document)) if "microservice" in one)
    assert "started (2 restarts, the last: it answered no control message)" in line


def test_a_gateway_that_is_not_ready_says_why() -> None:
    screen = draw(status(ready=False, reasons=["SEP connecting"]))
    assert "not ready: SEP connecting" in screen


def test_an_empty_document_draws_and_claims_nothing() -> None:
    screen = draw({})
    assert "none yet" in screen
    assert "SEP starting" in screen


def test_what_a_device_sends_cannot_move_the_cursor() -> None:
    evil = device(name="\x1b[2Jgone", last_payload='{"value": "\\u001b[2J", "unit": "\\r"}')
    assert "\x1b" not in draw(status(devices=[evil]))


@pytest.mark.parametrize(
    ("topic", "payload", "expected"),
    [
        (
            "devices/d/readings/temperature",
            '{"value": 21.0, "unit": "°C"}',
            ("temperature", "21.00 °C"),
        ),
        ("devices/d/readings/on", '{"value": true}', ("on", "True")),
        (
            "devices/d/readings/pressure",
            '{"value": 101325.4, "unit": "Pa"}',
            ("pressure", "101325 Pa"),
        ),
        ("devices/d/status", "online", None),
        ("devices/d/readings/x", "not json", None),
        ("devices/d/readings/x", "[1]", None),
        ("devices/d/readings/x", '{"unit": "°C"}', None),
    ],
)
def test_parse_reading(topic: str, payload: str, expected: tuple[str, str] | None) -> None:
    row = device(last_topic=topic, last_payload=payload)
    snapshot = parse_snapshot(status(devices=[row]))
    assert parse_reading(snapshot.devices[0]) == expected


def test_the_rate_is_that_of_the_last_seconds() -> None:
    watch = Watch()
    for second in range(20):
        rate = 10 if second < 10 else 2
        received = 10 * min(second, 10) + 2 * max(0, second - 10)
        picture = watch.take(parse_snapshot(status(broker=broker(received))), float(second))
        if second in (9, 19):
            assert picture.messages_per_s == pytest.approx(rate)


def test_the_rate_begins_anew_when_the_gateway_does() -> None:
    watch = Watch()
    watch.take(parse_snapshot(status(broker=broker(5000))), 0.0)
    picture = watch.take(parse_snapshot(status(broker=broker(3))), 1.0)
    assert picture.messages_per_s == 0


def test_readings_of_other_names_stay_on_the_screen() -> None:
    watch = Watch()
    picture = None
    for name in ("temperature", "humidity", "pressure", "light"):
        row = device(last_topic=f"devices/d/readings/{name}", last_payload='{"value": 1}')
        picture = watch.take(parse_snapshot(status(devices=[row])), 0.0)
    assert picture is not None
    assert list(picture.readings["dev-0123456789ab"]) == ["humidity", "pressure", "light"]


def test_changes_are_told_once() -> None:
    watch = Watch()
    first = watch.changes(parse_snapshot(status()))
    assert "device kitchen (dev-0123456789ab): online" in first
    assert "SEP: online" in first
    assert watch.changes(parse_snapshot(status(broker=broker(9999)))) == []
    away = status(devices=[device(online=False)], beps=[])
    assert watch.changes(parse_snapshot(away)) == [
        "device kitchen (dev-0123456789ab): offline",
        "BEP bbbbbbbbbbbbbbbbbbbbbb: gone",
    ]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59.9, "59 s"), (60, "1 min"), (3600, "1 h 00 min"), (7500, "2 h 05 min"),
     (90_000, "1 d 1 h"), (-5, "0 s")],
)  # fmt: skip
def test_duration(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (104_900_000, "104.9 MB"), (5e13, "50000.0 GB")],
)
def test_size(count: float, words: str) -> None:
    assert size(count) == words


def test_words() -> None:
    assert ago(4.9) == "now"
    assert ago(61) == "1 min ago"
    assert plural(1, "node") == "1 node"
    assert plural(0, "node") == "0 nodes"
