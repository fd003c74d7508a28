"""Users and rights by listener, and files read again."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.access.certificates import NameField
from broker.access.errors import AccessError
from broker.access.passwords.hashes import ScryptCost, hash_password
from broker.policy import Credentials, Identity, Refusal
from broker.standalone.conf.settings import (
    AccessSettings,
    Anonymous,
    BrokerSettings,
    ListenerSettings,
)
from broker.standalone.realms import Realms

CHEAP = ScryptCost(1, 1, 1)


def line(user: str) -> str:
    return f"{user}:{hash_password(user.encode(), b'salt' * 4, CHEAP)}\n"


@pytest.fixture
def realms(tmp_path: Path) -> Iterator[Realms]:
    (tmp_path / "common").write_text(line("anna"))
    (tmp_path / "common.acl").write_text("user anna\ntopic common\n")
    (tmp_path / "own").write_text(line("anna") + line("ben"))
    (tmp_path / "own.acl").write_text("user anna\ntopic own\n")
    own = AccessSettings(password_file=tmp_path / "own", acl_file=tmp_path / "own.acl")
    common = AccessSettings(password_file=tmp_path / "common", acl_file=tmp_path / "common.acl")
    listeners = (ListenerSettings(port=1), ListenerSettings(port=2, access=own))
    found = Realms(BrokerSettings(listeners, common))
    yield found
    found.close()


def login(realms: Realms, user: str, port: int) -> Identity | Refusal:
    credentials = Credentials("c1", user, user.encode(), f"127.0.0.1:{port}", "127.0.0.1")

    async def wait() -> Identity | Refusal:
        answer = realms.authenticate(credentials)
        return answer if isinstance(answer, Identity | Refusal) else await answer

    return asyncio.run(wait())


def identity(realms: Realms, user: str, port: int) -> Identity:
    found = login(realms, user, port)
    assert isinstance(found, Identity)
    return found


def test_nobody_and_nothing_before_the_files_are_taken(realms: Realms) -> None:
    assert login(realms, "anna", 1) is Refusal.BAD_CREDENTIALS
    assert not realms.may_publish(Identity("anna", "c1"), "common")
    assert not realms.may_subscribe(Identity("anna", "c1"), "common")


def test_each_listener_has_its_users_and_rights(realms: Realms) -> None:
    realms.take(realms.read())
    common, own = identity(realms, "anna", 1), identity(realms, "anna", 2)
    assert realms.may_publish(common, "common")
    assert not realms.may_publish(common, "own")
    assert realms.may_subscribe(own, "own")
    assert not realms.may_subscribe(own, "common")
    assert login(realms, "ben", 1) is Refusal.BAD_CREDENTIALS
    assert not realms.may_publish(identity(realms, "ben", 2), "own")


def test_rights_of_a_listener_that_is_gone_are_none(realms: Realms) -> None:
    realms.take(realms.read())
    stored = Identity("anna", "c1", frozenset({"@127.0.0.1:3"}))
    assert not realms.may_subscribe(stored, "common")
    assert not realms.may_publish(stored, "own")


# case B4
def test_removed_users_are_known_by_the_password_file_alone(tmp_path: Path) -> None:
    (tmp_path / "users").write_text(line("anna"))
    users = tmp_path / "users"
    anna, ben, nobody = Identity("anna", "c"), Identity("ben", "c"), Identity("anonymous", "c")
    alone = AccessSettings(password_file=users)
    cases = [
        (alone, [True, False, True]),
        (AccessSettings(password_file=users, anonymous=Anonymous.NETWORK), [True, False, True]),
        (
            AccessSettings(password_file=users, certificate_name=NameField.COMMON_NAME),
            [True, True, True],
        ),
        (AccessSettings(Anonymous.LOOPBACK), [True, True, True]),
    ]
    for access, expected in cases:
        realms = Realms(BrokerSettings((ListenerSettings(),), access))
        realms.take(realms.read())
        assert [realms.knows(each) for each in (anna, ben, nobody)] == expected
        gone = Identity("ben", "c", frozenset({"@127.0.0.1:3"}))
        assert realms.knows(gone), "its listener has only another port, perhaps"
        realms.close()


def test_a_group_from_outside_does_not_choose_the_listener(realms: Realms) -> None:
    async def claim(_: Credentials) -> Identity | Refusal:
        return Identity("anna", "c1", frozenset({"@127.0.0.1:2", "x"}))

    realms.take(realms.read())
    chain = realms._common.chain
    chain.authenticate = claim  # type: ignore[assignment,method-assign]  # stands for a token with such groups
    assert identity(realms, "anna", 1).groups == {"x"}


def test_one_bad_file_changes_nothing(realms: Realms, tmp_path: Path) -> None:
    realms.take(realms.read())
    (tmp_path / "common").write_text("")
    (tmp_path / "own.acl").write_text("topik x\n")
    with pytest.raises(AccessError, match=r"own.acl: line 1: 'topik' is not known"):
        realms.read()
    assert identity(realms, "anna", 1)
    (tmp_path / "own.acl").write_text("")
    assert realms.take(realms.read()) == {"anna"}
    assert login(realms, "anna", 1) is Refusal.BAD_CREDENTIALS
    assert not realms.may_subscribe(identity(realms, "anna", 2), "own")


def test_everything_is_allowed_only_when_said() -> None:
    for everything in (False, True):
        access = AccessSettings(Anonymous.LOOPBACK, allow_everything=everything)
        realms = Realms(BrokerSettings((ListenerSettings(),), access))
        realms.take(realms.read())
        client = Identity("anonymous", "c1")
        assert realms.may_publish(client, "a") is everything
        assert realms.may_subscribe(client, "#") is everything
