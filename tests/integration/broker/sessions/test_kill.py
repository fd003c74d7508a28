"""`hecate broker --data`, killed with signal 9: what it acknowledged is there again."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from paho.mqtt.enums import MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes

from tests.integration.broker.standalone.runner import Runner
from tests.paho_client import V4, V5, Paho, properties_for
from tests.programs import HECATE, ROOT, Program

ROUNDS = 3
COUNT = 200


@pytest.fixture(params=["synced", "os"])
def runner(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Runner]:
    runner = Runner(tmp_path / "data", request.param)
    yield runner
    runner.close()


@pytest.mark.parametrize("version", [V4, V5])
@pytest.mark.parametrize("qos", [1, 2])
def test_what_was_acknowledged_arrives_after_a_kill(
    runner: Runner, version: MQTTProtocolVersion, qos: int
) -> None:
    with runner.client("away", version, stays=True) as away:
        away.subscribe("a/+", qos)
    expected = []
    for round_number in range(ROUNDS):
        with runner.client("s") as sender:
            for number in range(COUNT):
                payload = b"%d %d" % (round_number, number)
                expected.append(payload)
                sender.client.publish(f"a/{number % 3}", payload, qos)
            expected.append(b"%d last" % round_number)
            # its answer comes after all the others
            sender.publish("a/0", b"%d last" % round_number, qos)
        runner.kill()
    with runner.client("away", version, stays=True) as again:
        got = [again.take().payload for _ in expected]
        assert got == expected
        assert again.messages.empty()
    runner.kill()
    with runner.client("away", version, stays=True) as again:
        again.subscribe("end")
        with runner.client("s") as sender:
            sender.publish("end", b"", 1)
        seen = []
        while (message := again.take()).topic != "end":
            seen.append(message)
        assert not (seen and qos == 2)
        assert {each.payload for each in seen} <= set(expected)


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_retained_messages_survive(runner: Runner, qos: int) -> None:
    with runner.client("s") as sender:
        for topic in ("r/1", "r/2", "r/3"):
            sender.publish(topic, b"old", qos, retain=True)
        sender.publish("r/1", b"new", qos, retain=True)
        sender.publish("r/2", b"", qos, retain=True)
        sender.publish("unrelated", b"", 1)
        if not qos:  # nothing says when it is safe, but a later answer of the same store does
            sender.publish("r/4", b"x", 1, retain=True)
    runner.kill()
    with runner.client("r") as reader:
        reader.subscribe("r/1")
        reader.subscribe("r/2")
        reader.subscribe("r/3")
        found = [(each.topic, each.payload) for each in (reader.take(), reader.take())]
        assert found == [("r/1", b"new"), ("r/3", b"old")]
        assert reader.messages.empty()


def test_a_clean_stop_loses_nothing(runner: Runner) -> None:
    with runner.client("away", stays=True) as away:
        away.subscribe("a", 1)
    with runner.client("s") as sender:
        sender.publish("a", b"1", 1)
        sender.publish("r", b"kept", 0, retain=True)
        sender.publish("x", b"", 1)
    runner.restart()
    with runner.client("away", stays=True) as away:
        assert away.was_there  # type: ignore[attr-defined]
        assert away.take().payload == b"1"
        away.subscribe("r")
        assert away.take().payload == b"kept"


def test_unsubscribed_and_clean_sessions_stay_gone(runner: Runner) -> None:
    with runner.client("one", stays=True) as one:
        one.subscribe("a", 1)
        one.subscribe("b", 1)
        one.answer(one.client.unsubscribe("a")[1] or 0)
    with runner.client("two", stays=True) as two:
        two.subscribe("a", 1)
    with runner.client("two"):
        pass
    runner.kill()
    with runner.client("s") as sender:
        sender.publish("a", b"1", 1)
        sender.publish("b", b"2", 1)
    with runner.client("one", stays=True) as one:
        assert one.take().payload == b"2"
    with runner.client("two", stays=True) as two:
        assert not two.was_there  # type: ignore[attr-defined]


def test_a_delayed_will_is_published_after_the_restart(runner: Runner) -> None:
    with runner.client("away", stays=True) as away:
        away.subscribe("will", 1)
    dying = Paho("dying", V5, clean=False, expiry_s=600)
    dying.client.will_set(
        "will", b"gone", 1, properties=properties_for(PacketTypes.WILLMESSAGE, WillDelayInterval=2)
    )
    dying.connect("127.0.0.1", runner.port)
    dying.kill()
    with runner.client("s") as sender:  # answered behind the will
        sender.publish("will", b"first", 1)
    runner.kill()
    with runner.client("away", stays=True) as away:
        assert [away.take().payload, away.take().payload] == [b"first", b"gone"]


def test_a_second_broker_does_not_touch_the_data(runner: Runner) -> None:
    done = subprocess.run(
        runner.command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    folder = runner.command[-3]
    why = f"cannot keep data in {folder}: another process keeps its data there\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", why)


def test_a_folder_that_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    command = [sys.executable, "-m", "gateway", "broker", "--anonymous", "--data"]
    folder = tmp_path / "file" / "x"
    done = subprocess.run(
        [*command, str(folder)], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert done.stderr == f"cannot keep data in {folder}: Not a directory\n"


TOML = """
[[listener]]
address = "127.0.0.1:PORT"
[access]
anonymous = "loopback"
allow_everything = true
[storage]
folder = "data"
durability = "os"
"""
CONF = """
listener PORT 127.0.0.1
allow_anonymous true
persistence true
persistence_location data
"""


@pytest.mark.parametrize(
    ("name", "text"), [("broker.toml", TOML), ("mosquitto.conf", CONF)], ids=["toml", "mosquitto"]
)
def test_a_configuration_names_the_folder(tmp_path: Path, name: str, text: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    (tmp_path / name).write_text(text.replace("PORT", port))
    command = [*HECATE, "broker", "--config", name]
    environ = {"PYTHONPATH": str(ROOT)}
    for payload in (b"", b"kept"):
        with Program(command, environ, tmp_path) as program, Paho("x", V4) as client:
            program.wait_for("broker ready")
            client.connect("127.0.0.1", int(port))
            client.subscribe("r")
            if payload:
                assert client.take().payload == payload
            client.publish("r", b"kept", 1, retain=True)
            program.kill()
    assert (tmp_path / "data" / "lock").exists()


def test_memory_writes_nothing(tmp_path: Path) -> None:
    command = [*HECATE, "broker", "--anonymous", "--listen", "127.0.0.1:0"]
    folder = tmp_path / "data"
    with Program([*command, "--data", str(folder), "--durability", "memory"]) as program:
        program.wait_for("broker ready")
    assert not folder.exists()


# case B7
@pytest.mark.parametrize("is_killed", [False, True], ids=["SIGTERM", "SIGKILL"])
@pytest.mark.parametrize("version", [V4, V5])
def test_what_a_client_left_says_that_it_is_gone(
    runner: Runner, version: MQTTProtocolVersion, is_killed: bool
) -> None:
    with Paho("dying", version) as dying:
        dying.client.will_set("status", b"offline", 1, retain=True)
        dying.connect("127.0.0.1", runner.port)
        dying.publish("status", b"online", 1, retain=True)
        if is_killed:
            runner.kill()
        else:
            runner.restart()
    with runner.client("r") as reader:
        reader.subscribe("status")
        assert reader.take().payload == b"offline"
