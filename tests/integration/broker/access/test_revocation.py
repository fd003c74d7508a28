"""Rights and users taken away while clients are connected: SIGHUP, and it holds at once."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.broker.access.conftest import Alone, rights, users
from tests.paho_client import Paho

Start = Callable[..., Alone]

BEFORE = "user root\ntopic #\nuser anna\ntopic secret/#\ntopic open/#\nuser ben\ntopic open/#\n"
AFTER = "user root\ntopic #\nuser anna\ntopic open/#\n"


@pytest.fixture
def broker(alone: Start, tmp_path: Path) -> Alone:
    users(tmp_path, root="r", anna="a", ben="b")
    rights(tmp_path, BEFORE)
    return alone()


def online(broker: Alone, name: str, client_id: str = "", **options: object) -> Paho:
    client = broker.client(name, name[0], client_id, **options)
    assert client.connect("127.0.0.1", broker.port)[1] == "Success"
    return client


def test_a_subscription_does_not_outlive_its_right(
    broker: Alone, tmp_path: Path
) -> None:  # CVE-2021-34434
    with online(broker, "root") as root, online(broker, "anna") as anna:
        for topic_filter in ("secret/#", "open/#"):
            assert anna.subscribe(topic_filter, 1) == "Granted QoS 1"
        root.publish("secret/1", b"before", 1)
        assert anna.take().payload == b"before"
        rights(tmp_path, AFTER)
        broker.reload()
        root.publish("secret/1", b"after", 1)
        root.publish("open/1", b"open", 1)
        assert anna.take().payload == b"open"
        assert anna.subscribe("secret/#") == "Not authorized"


def test_a_publisher_loses_its_right_at_once(broker: Alone, tmp_path: Path) -> None:
    with online(broker, "root") as root, online(broker, "ben") as ben:
        root.subscribe("open/#", 1)
        assert ben.publish("open/1", b"before", 1) == "Success"
        assert root.take().payload == b"before"
        rights(tmp_path, AFTER)
        broker.reload()
        assert ben.publish("open/1", b"after", 1) == "Not authorized"
        ben.publish("open/1", b"after", 0)
        assert ben.publish("other", b"", 1) == "Not authorized"
        assert root.messages.empty()


def test_stored_messages_do_not_outlive_the_right(broker: Alone, tmp_path: Path) -> None:
    with online(broker, "anna", "phone", clean=False, expiry_s=600) as anna:
        for topic_filter in ("secret/#", "open/#"):
            anna.subscribe(topic_filter, 1)
    with online(broker, "root") as root:
        root.publish("secret/1", b"secret", 1)
        root.publish("open/1", b"open", 1)
    rights(tmp_path, AFTER)
    broker.reload()
    with online(broker, "anna", "phone", clean=False, expiry_s=600) as anna:
        assert anna.take().payload == b"open"
        anna.publish("open/2", b"last", 1)
        assert anna.take().payload == b"last"


def test_retained_messages_are_read_by_the_rights_of_now(broker: Alone, tmp_path: Path) -> None:
    with online(broker, "root") as root:
        root.publish("secret/1", b"kept", 1, retain=True)
    with online(broker, "anna") as anna:
        anna.subscribe("secret/#", 1)
        assert anna.take().payload == b"kept"
        rights(tmp_path, AFTER)
        broker.reload()
        assert anna.subscribe("secret/1") == "Not authorized"
        anna.publish("open/1", b"x", 1)
        assert anna.messages.empty()


def test_users_that_are_gone_or_have_another_password_are_cut(
    broker: Alone, tmp_path: Path
) -> None:
    path = tmp_path / "passwords"
    kept = path.read_text().splitlines(keepends=True)[0]
    with online(broker, "root") as root, online(broker, "anna") as anna, online(broker, "ben") as b:
        users(tmp_path, anna="another")
        path.write_text(path.read_text() + kept)
        broker.reload("again; cut 2 connections")
        for client in (anna, b):
            assert client.gone.get(timeout=10) == "Administrative action"
        assert root.publish("open/1", b"x", 1) == "No matching subscribers"
        for name in ("anna", "ben"):
            with broker.client(name, name[0]) as late:
                answer = late.connect("127.0.0.1", broker.port)[1]
                assert answer == "Bad user name or password"
        with broker.client("anna", "another") as again:
            assert again.connect("127.0.0.1", broker.port)[1] == "Success"


def test_a_file_that_is_broken_changes_nothing_and_is_named(broker: Alone, tmp_path: Path) -> None:
    with online(broker, "anna") as anna:
        rights(tmp_path, AFTER + "topik x\n")
        broker.reload(r"stay as they were: cannot use .*/acl: line 5: 'topik' is not known")
        assert anna.subscribe("secret/#", 1) == "Granted QoS 1"
        rights(tmp_path, AFTER)
        (tmp_path / "passwords").write_text("root\n")
        broker.reload(r"stay as they were: cannot use .*/passwords: line 1: must be USER:HASH")
        assert anna.subscribe("secret/#", 1) == "Granted QoS 1"
        online(broker, "ben").close()


def test_empty_files_leave_nothing(
    broker: Alone, tmp_path: Path
) -> None:  # CVE-2018-12550, CVE-2018-12551
    with online(broker, "root") as root:
        rights(tmp_path, "")
        broker.reload("again; cut 0")
        assert root.subscribe("a") == "Not authorized"
        assert root.publish("a", b"", 1) == "Not authorized"
        (tmp_path / "passwords").write_text("")
        broker.reload("again; cut 1")
        assert root.gone.get(timeout=10) == "Administrative action"
    with broker.client("root", "") as nobody:
        assert nobody.connect("127.0.0.1", broker.port)[1] == "Bad user name or password"


def test_what_a_removed_user_left_retained_is_gone(broker: Alone, tmp_path: Path) -> None:
    kept = (tmp_path / "passwords").read_text().splitlines(keepends=True)
    with online(broker, "anna") as anna, online(broker, "ben") as ben:
        anna.publish("secret/1", b"secret", 1, retain=True)
        anna.publish("open/1", b"anna's", 1, retain=True)
        ben.publish("open/2", b"ben's", 1, retain=True)
        rights(tmp_path, AFTER)  # takes secret/# from anna
        users(tmp_path, anna="another")  # and ben out
        with (tmp_path / "passwords").open("a") as file:
            file.write(kept[0])
        broker.reload("again; cut 2 connections")
    with online(broker, "root") as root:
        root.subscribe("#", 1)
        assert root.take().payload == b"anna's"
        root.publish("end", b"end", 1)
        assert root.take().payload == b"end"


def test_what_is_denied_below_a_subscription_does_not_come(broker: Alone, tmp_path: Path) -> None:
    rights(tmp_path, "user root\ntopic #\nuser anna\ntopic read #\ntopic deny secret/#\n")
    broker.reload()
    with online(broker, "root") as root, online(broker, "anna") as anna:
        root.publish("secret/1", b"kept", 1, retain=True)
        root.publish("open/1", b"kept", 1, retain=True)
        assert anna.subscribe("#", 1) == "Granted QoS 1"
        assert anna.take().topic == "open/1"
        root.publish("secret/2", b"x", 1)
        root.publish("open/2", b"x", 1)
        assert anna.take().topic == "open/2"
        assert anna.subscribe("secret/#", 1) == "Not authorized"
