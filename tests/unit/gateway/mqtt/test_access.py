import asyncio
from dataclasses import dataclass, field

import pytest

from broker import Credentials, Identity, OverflowRule, Refusal
from gateway.devices.credentials import digest_of
from gateway.devices.joining.claims import Claim, Claims
from gateway.devices.joining.pending import PendingBoards
from gateway.devices.record import DeviceRecord
from gateway.devices.registry import DeviceRegistry
from gateway.devices.settings import DeviceRights
from gateway.devices.tables import DeviceTables
from gateway.mqtt.access import CONTAINERS, Access, AccessPorts
from gateway.mqtt.device_logins import DeviceLogins, DevicePorts, LoginRules
from settings.secret import Secret

DEVICE = "dev-0123456789ab"
OTHER = "dev-ffffffffffff"
KEY = Secret("k" * 32)


@dataclass(frozen=True)
class Rights:
    subscribe: tuple[str, ...] = ("devices/+/readings/#", "$hec/join/#")
    publish: tuple[str, ...] = ("rooms/#",)
    own_topics: tuple[str, ...] = ("$hec/deadletters/c",)
    overflow: OverflowRule = field(default_factory=OverflowRule)


def make_access(
    *, anonymous: bool = False, uses: int = 1, confirmed: list[str] | None = None
) -> tuple[Access, DeviceRegistry]:
    registry = DeviceRegistry([DeviceRecord(DEVICE, "lamp", "sim", digest_of(b"secret"), 0.0)])
    claims = Claims([Claim(digest_of(b"claim-token"), uses, expires_at=100.0)])

    async def confirm(device: DeviceRecord) -> None:
        if confirmed is not None:
            confirmed.append(device.device_id)

    def rights(name: str, password: bytes) -> Rights | None:
        return Rights() if (name, password) == ("container:c", b"p") else None

    tables = DeviceTables(registry, claims, PendingBoards([], iter(map(str, range(9))).__next__))
    logins = DeviceLogins(tables, LoginRules(), DevicePorts(lambda: 50.0, confirm))
    ports = AccessPorts(rights, logins, DeviceRights(subscribe=("groups/{group}/#",)))
    return Access(registry, KEY, ports, loopback_anonymous=anonymous), registry


def login(
    access: Access,
    user: str | None,
    password: bytes | None,
    client_id: str = "c1",
    peer: str = "127.0.0.1",
    listener: str = "tcp",
) -> Identity | Refusal:
    credentials = Credentials(client_id, user, password, listener, peer)
    return asyncio.run(access.authenticate(credentials))


def logged_in(
    access: Access,
    user: str | None,
    password: bytes | None,
    client_id: str = "c1",
    listener: str = "tcp",
) -> Identity:
    identity = login(access, user, password, client_id, listener=listener)
    assert isinstance(identity, Identity)
    return identity


def test_a_device_reaches_its_own_topics_only() -> None:
    confirmed: list[str] = []
    access, _ = make_access(confirmed=confirmed)
    device = logged_in(access, DEVICE, b"secret")
    assert (device.name, confirmed) == (DEVICE, [DEVICE])
    assert access.may_publish(device, f"devices/{DEVICE}/readings/t")
    assert access.may_subscribe(device, f"devices/{DEVICE}/commands/#")
    assert access.may_subscribe(device, f"devices/{DEVICE}/#")
    for topic in (f"devices/{OTHER}/status", "rooms/a", "$hec/join/c1/request", "$hec/nodes/x"):
        assert not access.may_publish(device, topic)
    for wanted in ("#", "devices/#", "devices/+/commands/#", f"devices/{OTHER}/#", "$hec/#"):
        assert not access.may_subscribe(device, wanted)


def test_a_revoked_device_has_no_rights_left() -> None:
    access, registry = make_access()
    device = logged_in(access, DEVICE, b"secret")
    registry.remove(DEVICE)
    assert not access.may_publish(device, f"devices/{DEVICE}/readings/t")
    assert not access.may_subscribe(device, f"devices/{DEVICE}/#")
    assert login(access, DEVICE, b"secret") is Refusal.BAD_CREDENTIALS


@pytest.mark.parametrize(
    ("user", "password", "client_id"),
    [
        (DEVICE, b"wrong", "c1"),
        (DEVICE, None, "c1"),
        (DEVICE, b"secret", OTHER),
        (OTHER, b"secret", "c1"),
        ("claim", b"wrong", "c1"),
        ("claim", b"claim-token", DEVICE),
        ("claim", b"claim-token", "a/b"),
        ("claim", b"claim-token", "+"),
        ("api", b"wrong", "c1"),
        ("api", None, "c1"),
        ("api", b"k" * 32, DEVICE),
        ("container:c", b"p", "c1"),
        ("root", b"", "c1"),
    ],
)
def test_wrong_credentials_are_refused(user: str, password: bytes | None, client_id: str) -> None:
    access, _ = make_access(anonymous=True)
    assert login(access, user, password, client_id) is Refusal.BAD_CREDENTIALS


def test_a_claim_token_opens_two_topics() -> None:
    access, _ = make_access()
    splicer = logged_in(access, "claim", b"claim-token", "board-1")
    assert access.may_publish(splicer, "$hec/join/board-1/request")
    assert access.may_subscribe(splicer, "$hec/join/board-1/response")
    for topic in ("$hec/join/board-2/request", "$hec/join/board-1/response", "a"):
        assert not access.may_publish(splicer, topic)
    for wanted in ("$hec/join/+/response", "$hec/join/board-2/response", "#", "devices/#"):
        assert not access.may_subscribe(splicer, wanted)


def test_a_used_up_claim_lets_in_only_who_joined_and_lost_the_answer() -> None:
    access, registry = make_access(uses=0)
    assert login(access, "claim", b"claim-token", "board-1") is Refusal.BAD_CREDENTIALS
    digest = digest_of(b"claim-token")
    half = DeviceRecord(
        OTHER, "x", "", digest_of(b"z"), 0.0, claim_digest=digest, client_id="board-1"
    )
    registry.add(half)
    assert isinstance(login(access, "claim", b"claim-token", "board-1"), Identity)
    assert login(access, "claim", b"claim-token", "board-2") is Refusal.BAD_CREDENTIALS
    half.confirmed = True
    assert login(access, "claim", b"claim-token", "board-1") is Refusal.BAD_CREDENTIALS


def test_without_password_nobody_comes_in_unless_loopback_is_open() -> None:
    closed, _ = make_access()
    assert login(closed, None, None) is Refusal.NOT_AUTHORIZED
    opened, _ = make_access(anonymous=True)
    assert isinstance(login(opened, None, None), Identity)
    assert isinstance(login(opened, None, None, peer="::1"), Identity)
    assert login(opened, None, None, peer="192.0.2.7") is Refusal.NOT_AUTHORIZED
    assert login(opened, None, None, peer="") is Refusal.NOT_AUTHORIZED
    assert login(opened, None, None, client_id=DEVICE) is Refusal.BAD_CREDENTIALS


def test_people_reach_everything_but_control_topics() -> None:
    access, _ = make_access(anonymous=True)
    for person in (logged_in(access, None, None), logged_in(access, "api", b"k" * 32)):
        assert access.may_publish(person, "a/b")
        assert access.may_subscribe(person, "#")
        assert access.may_subscribe(person, "$hec/deadletters/+")
        assert not access.may_publish(person, "$hec/deadletters/x")
        assert not access.may_publish(person, "$hec/nodes/x")
        for wanted in ("$hec/#", "$hec/join/+/response", "$share/g/$hec/#", "$x"):
            assert not access.may_subscribe(person, wanted)


def test_containers_come_by_their_socket_and_have_what_they_asked_for() -> None:
    access, _ = make_access()
    container = logged_in(access, "container:c", b"p", listener=CONTAINERS)
    assert container.client_id == container.name  # not "c1": it could be another's session
    assert access.may_subscribe(container, "devices/+/readings/temperature")
    assert access.may_publish(container, "rooms/attic")
    assert not access.may_publish(container, "devices/x/readings/t")
    assert not access.may_subscribe(container, "devices/#")
    assert not access.may_subscribe(container, "$hec/join/#")  # though its image asks for it
    assert access.may_publish(container, "$hec/deadletters/c")  # and no other's
    assert not access.may_publish(container, "$hec/deadletters/d")
    assert not access.may_subscribe(container, "$hec/deadletters/c")
    assert login(access, "container:c", b"x", listener=CONTAINERS) is Refusal.BAD_CREDENTIALS
    assert login(access, None, None, listener=CONTAINERS) is Refusal.BAD_CREDENTIALS


# case B4
def test_what_is_known_of_an_identity_of_an_earlier_run() -> None:
    access, registry = make_access(anonymous=True)
    device = Identity(DEVICE, "c", frozenset({"device"}))
    container = Identity("container:c", "container:c", frozenset({"container"}))
    assert access.knows(device)
    registry.remove(DEVICE)
    assert access.knows(device) is False
    assert access.knows(container) is None, "its rights come with its login"
    logged_in(access, "container:c", b"p", listener=CONTAINERS)
    assert access.knows(container)
    assert access.knows(logged_in(access, None, None))


def test_an_identity_of_no_group_has_no_rights() -> None:
    access, _ = make_access()
    assert not access.may_publish(Identity("x", "x"), "a")
    assert not access.may_subscribe(Identity("x", "x"), "a")
