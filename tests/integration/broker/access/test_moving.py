"""The same mosquitto.conf, users and rights: what gets through is what gets through there."""

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.broker.access.conftest import Alone
from tests.paho_client import V5, Paho
from tests.peers import require
from tests.ports import free_port
from tests.programs import HECATE, Program, run, until

Start = Callable[..., Alone]

CONF = """# moved over
user root
pid_file {folder}/mosquitto.pid
listener {port} 127.0.0.1
allow_anonymous true
password_file {folder}/passwords
acl_file {folder}/acl
max_inflight_messages 20
max_queued_messages 1000
max_packet_size 100000
max_keepalive 600
max_connections 50
persistence false
log_dest stderr
log_type error
log_type warning
"""
ACL = """
topic read news
topic write inbox

user root
topic readwrite #

user anna
topic plant/#
topic deny plant/safe
topic read shared/+/x
topic write shared/#

pattern readwrite own/%u/#
pattern write id/%c/in
pattern read id/%c/out
"""
USERS = ("anna", "ben", None)
TOPICS = (
    "news", "inbox", "plant/1", "plant/1/2", "plant/safe", "plant", "shared/a/x", "shared/a",
    "own/anna/1", "own/ben/1", "own/x", "id/c-anna/in", "id/c-anna/out", "id/c-ben/out", "other",
)  # fmt: skip
BROKERS = ("hecate", "mosquitto")


@contextmanager
def running(name: str, folder: Path) -> Iterator[int]:
    """Run a broker with our files; mosquitto cannot be asked for any free port."""
    port = free_port()
    conf = folder / "mosquitto.conf"
    conf.write_text(CONF.format(folder=folder, port=port))
    (folder / "acl").write_text(ACL)
    for user in ("root", "anna", "ben"):
        made = folder / "passwords"
        made.touch(0o600)
        program = require("mosquitto_passwd")
        subprocess.run([program, "-b", made, user, f"of {user}"], check=True)
    if name == "hecate":
        with Program((*HECATE, "broker", "--config", str(conf))) as ours:
            ours.wait_for("broker ready")
            yield port
        return
    with Program((require("mosquitto"), "-c", str(conf))):
        until(lambda: answers(port), "mosquitto listens")
        yield port


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def online(port: int, user: str | None) -> Paho:
    client = Paho(f"c-{user}", V5)
    if user is not None:
        client.client.username_pw_set(user, f"of {user}")
    assert client.connect("127.0.0.1", port)[1] == "Success"
    return client


def ways(port: int) -> set[tuple[str, str | None, str]]:
    """Return who could write and who could read which topic."""
    found: set[tuple[str, str | None, str]] = set()
    with online(port, "root") as root:
        assert root.subscribe("#", 1) == "Granted QoS 1"
        for user in USERS:
            with online(port, user) as client:
                for topic in TOPICS:
                    client.publish(topic, b"from user", 1)
                root.publish("end", b"", 1)
                while (message := root.take()).topic != "end":
                    found.add(("write", user, message.topic))
                allowed = [t for t in TOPICS if client.subscribe(t, 1) == "Granted QoS 1"]
                for topic in allowed:
                    root.publish(topic, b"from root", 1)
                root.publish("end", b"", 1)
                while root.take().topic != "end":
                    pass
                time.sleep(0.2)  # of what must not come there is no sign
                while not client.messages.empty():
                    found.add(("read", user, client.take().topic))
    return found


def test_rights_are_the_same_as_there(tmp_path: Path) -> None:
    found = {}
    for name in BROKERS:
        folder = tmp_path / name
        folder.mkdir()
        with running(name, folder) as port:
            found[name] = ways(port)
    assert found["hecate"] == found["mosquitto"]
    assert ("write", "anna", "plant/1/2") in found["hecate"]
    assert ("write", "anna", "plant/safe") not in found["hecate"]
    assert ("read", None, "news") in found["hecate"]
    assert len(found["hecate"]) > 10


@pytest.mark.parametrize("user", ["anna", "carl"])
def test_a_wrong_password_is_refused_there_and_here(tmp_path: Path, user: str) -> None:
    for name in BROKERS:
        folder = tmp_path / name
        folder.mkdir()
        with running(name, folder) as port, Paho("x", V5) as client:
            client.client.username_pw_set(user, "wrong")
            assert client.connect("127.0.0.1", port)[1].is_failure


def test_that_of_debian_is_good() -> None:
    path = Path("/etc/mosquitto/mosquitto.conf")
    if not path.exists():
        pytest.skip("mosquitto is not installed")
    said = run([*HECATE, "broker", "--config", str(path), "--check"])
    assert said == f"{path}: good configuration for the broker: MQTT 127.0.0.1:1883\n"


def test_what_is_not_kept_is_told_by_name_and_line(tmp_path: Path) -> None:
    path = tmp_path / "mosquitto.conf"
    path.write_text("listener 1883\nallow_anonymous true\nconnection cloud\naddress 192.0.2.1\n")
    command = [*HECATE, "broker", "--config", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        f"cannot use {path}: line 3: connection: bridges are not offered; "
        "line 4: address: is not known\n"
    )
