"""Users of [broker.access] get what their access list says, and nothing of the gateway's."""

import asyncio
from pathlib import Path

import pytest

from broker import Credentials, Identity, Refusal
from broker.access import AccessError
from broker.access.passwords.edit import remove_user, set_password
from broker.access.passwords.hashes import ScryptCost
from broker.standalone.conf.settings import AccessSettings
from gateway.mqtt.groups import GROUPS, USER
from gateway.mqtt.users import BrokerUsers, UserPorts, _own

CHEAP = ScryptCost(1, 1, 1)
ACL = """
[groups]
gardeners = ["anna"]

[[rule]]
groups = ["gardeners"]
write = ["garden/#", "$hec/#"]
read = ["garden/#", "$hec/#", "$SYS/#"]
"""


@pytest.fixture
def settings(tmp_path: Path) -> AccessSettings:
    passwords, acl = tmp_path / "passwords", tmp_path / "acl.toml"
    set_password(passwords, "anna", "pw", CHEAP)
    acl.write_text(ACL)
    return AccessSettings(password_file=passwords, acl_file=acl)


async def login(users: BrokerUsers, name: str, client_id: str = "c1") -> Identity | Refusal:
    answer = users.authenticate(Credentials(client_id, name, b"pw", "tcp", "10.0.0.1"))
    return answer if isinstance(answer, Identity | Refusal) else await answer


def test_a_user_reaches_what_the_access_list_says_and_no_control_topic(
    settings: AccessSettings,
) -> None:
    users = BrokerUsers(settings)
    anna = asyncio.run(login(users, "anna"))
    assert isinstance(anna, Identity)
    assert anna.groups == {USER}
    assert users.may_publish(anna, "garden/gate")
    assert not users.may_publish(anna, "house/door")
    assert users.may_subscribe(anna, "garden/#")
    assert users.may_subscribe(anna, "$share/g/garden/#")
    assert not users.may_subscribe(anna, "#")
    for topic in ("$hec/nodes/x", "$SYS/broker/uptime"):
        assert not users.may_publish(anna, topic)
        assert not users.may_subscribe(anna, topic)
        assert not users.may_subscribe(anna, f"$share/g/{topic}")
    users.close()


@pytest.mark.parametrize(
    "name", ["api", "claim", "anonymous", "dev-0123456789ab", "container:c", "claim:x"]
)
def test_a_user_never_gets_a_name_of_the_gateway(name: str) -> None:
    assert _own(Identity(name, "c1")) is Refusal.BAD_CREDENTIALS


@pytest.mark.parametrize("client_id", ["dev-0123456789ab", "dev-0123456789ab-2", "container:c"])
def test_a_user_never_takes_the_session_of_a_device_or_container(
    settings: AccessSettings, client_id: str
) -> None:
    users = BrokerUsers(settings)
    assert asyncio.run(login(users, "anna", client_id)) is Refusal.CLIENT_ID_NOT_VALID
    users.close()


def test_a_token_cannot_name_groups_of_the_gateway() -> None:
    own = _own(Identity("anna", "c1", GROUPS | {"gardeners"}))
    assert isinstance(own, Identity)
    assert own.groups == {USER, "gardeners"}


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    missing = AccessSettings(password_file=tmp_path / "none", acl_file=tmp_path / "acl.toml")
    with pytest.raises(AccessError, match="none"):
        BrokerUsers(missing)


def test_changed_files_are_used_and_a_fault_changes_nothing(
    settings: AccessSettings, caplog: pytest.LogCaptureFixture
) -> None:
    asyncio.run(follow_changes(settings))
    assert caplog.text.count("stay as they were") == 1


async def follow_changes(settings: AccessSettings) -> None:
    assert settings.password_file is not None
    assert settings.acl_file is not None
    users, calls = BrokerUsers(settings), asyncio.Queue[str]()

    def noted(what: str) -> int:
        calls.put_nowait(what)
        return 1

    ports = UserPorts(
        lambda: calls.put_nowait("rights"),
        lambda name: noted(f"cut {name}"),
        lambda name: noted(f"revoke {name}"),
    )
    following = asyncio.create_task(users.follow(ports, poll_s=0.05))
    async with asyncio.timeout(10):
        settings.acl_file.write_text("[[rule]]\nwhere = 1\n")
        await asyncio.sleep(0.3)  # several polls: the fault is logged once
        anna = await login(users, "anna")
        assert isinstance(anna, Identity)
        assert users.may_publish(anna, "garden/gate")
        # first without any rule, as a program leaves a file that it is about to write
        for text in ("", ACL.replace("garden/#", "house/#")):
            settings.acl_file.write_text(text)
        assert await calls.get() == "rights"
        assert users.may_publish(anna, "house/door")
        assert not users.may_publish(anna, "garden/gate")
        set_password(settings.password_file, "anna", "new", CHEAP)
        assert [await calls.get() for _ in range(2)] == ["rights", "cut anna"]
        assert await login(users, "anna") is Refusal.BAD_CREDENTIALS
        remove_user(settings.password_file, "anna")
        assert [await calls.get() for _ in range(2)] == ["rights", "revoke anna"]
        assert not users.knows(anna)
    following.cancel()
    users.close()
