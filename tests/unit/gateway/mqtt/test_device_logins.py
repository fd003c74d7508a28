import asyncio
import hashlib
import logging

import pytest

from broker import Credentials, Identity, Refusal
from gateway.devices.credentials import digest_of
from gateway.devices.join_handler import ENCRYPTED
from gateway.devices.joining.claims import Claim, Claims
from gateway.devices.joining.pending import SOURCE_RATE, PendingBoards
from gateway.devices.record import DAY_S, DeviceCertificate, DeviceRecord
from gateway.devices.registry import DeviceRegistry
from gateway.devices.tables import DeviceTables
from gateway.mqtt.device_logins import DeviceLogins, DevicePorts, LoginRules, joining_client_id

DEVICE = "dev-0123456789ab"
OTHER = "dev-ffffffffffff"
DER = b"a certificate"


class Node:
    """The logins of a node with one device and one claim token, and what they store."""

    def __init__(self, rules: LoginRules | None = None, claim: Claim | None = None) -> None:
        self.now = 1.0
        self.stored: list[str] = []
        certificate = DeviceCertificate(hashlib.sha256(DER).hexdigest(), b"", 1e9)
        self.device = DeviceRecord(
            DEVICE, "lamp", "sim", digest_of(b"secret"), 0.0,
            token_made_at=1.0, certificate=certificate,
        )  # fmt: skip
        claims = Claims([claim or Claim(digest_of(b"claim"), 1, 100.0)])
        codes = iter(f"{number:06}" for number in range(1000))
        self.tables = DeviceTables(
            DeviceRegistry([self.device]), claims, PendingBoards([], codes.__next__)
        )
        ports = DevicePorts(lambda: self.now, self._store)
        self.logins = DeviceLogins(self.tables, rules or LoginRules(), ports)

    async def _store(self, device: DeviceRecord) -> None:
        self.stored.append(device.device_id)

    def log_in(self, credentials: Credentials) -> Identity | Refusal:
        return asyncio.run(self.logins.device(credentials))


def of(
    user: str, password: bytes, client_id: str = "board", listener: str = "plain", **more: object
) -> Credentials:
    return Credentials(client_id, user, password, listener, "10.0.0.9", **more)  # type: ignore[arg-type]


def with_certificate(user: str, name: str, der: bytes = DER) -> Credentials:
    names = (("commonName", name),)
    return of(user, b"", DEVICE, certificate=der, certificate_names=names)


def test_a_login_is_stored_when_it_changes_something() -> None:
    node = Node()
    assert isinstance(node.log_in(of(DEVICE, b"secret")), Identity)
    assert isinstance(node.log_in(of(DEVICE, b"secret")), Identity)
    assert node.stored == [DEVICE]  # the first one ends the join
    node.device.offer_token(digest_of(b"next"), 2.0)
    assert isinstance(node.log_in(of(DEVICE, b"next")), Identity)
    assert node.stored == [DEVICE, DEVICE]
    assert node.log_in(of(DEVICE, b"secret")) is Refusal.BAD_CREDENTIALS


def test_a_token_that_is_too_old_is_refused() -> None:
    node = Node(LoginRules(expire_days=30))
    node.now = 30 * DAY_S
    assert isinstance(node.log_in(of(DEVICE, b"secret")), Identity)
    node.now = 31 * DAY_S
    assert node.log_in(of(DEVICE, b"secret")) is Refusal.BAD_CREDENTIALS


def test_a_certificate_is_that_of_its_device() -> None:
    node = Node()
    assert isinstance(node.log_in(with_certificate("", DEVICE)), Identity)
    assert isinstance(node.log_in(with_certificate(DEVICE, DEVICE)), Identity)
    assert node.log_in(with_certificate(OTHER, DEVICE)) is Refusal.BAD_CREDENTIALS
    assert node.log_in(with_certificate(DEVICE, OTHER)) is Refusal.BAD_CREDENTIALS
    assert node.log_in(with_certificate("", DEVICE, b"of another")) is Refusal.BAD_CREDENTIALS
    node.device.revoke(2.0)
    assert node.log_in(with_certificate("", DEVICE)) is Refusal.BAD_CREDENTIALS
    assert not node.logins.has_certificate(with_certificate("", DEVICE))


def test_a_claim_of_one_board_is_worth_nothing_to_another(caplog: pytest.LogCaptureFixture) -> None:
    node = Node(claim=Claim(digest_of(b"claim"), 1, 100.0, "board"))
    with caplog.at_level(logging.WARNING):
        assert node.logins.claim(of("claim", b"claim", "thief")) is Refusal.BAD_CREDENTIALS
    assert "'thief' at 10.0.0.9" in caplog.text
    assert "claim\b" not in caplog.text
    identity = node.logins.claim(of("claim", b"claim"))
    assert isinstance(identity, Identity)
    assert joining_client_id(identity) == "board"
    assert not identity.keeps_session


def test_a_claim_that_is_used_up_is_noticed(caplog: pytest.LogCaptureFixture) -> None:
    node = Node(claim=Claim(digest_of(b"claim"), 0, 100.0))
    assert node.logins.claim(of("claim", b"claim")) is Refusal.BAD_CREDENTIALS
    assert "used up" in caplog.text
    node.now = 101.0
    assert node.logins.claim(of("claim", b"claim")) is Refusal.BAD_CREDENTIALS


def test_boards_ask_for_approval_within_a_rate() -> None:
    node = Node(LoginRules(encrypted=frozenset({"tls"})))
    secrets = [f"secret-of-board-{number}".encode() for number in range(200)]
    admitted = [node.logins.pending(of("join", s, f"b-{n}")) for n, s in enumerate(secrets)]
    assert sum(isinstance(each, Identity) for each in admitted) == SOURCE_RATE.burst
    assert admitted[-1] is Refusal.QUOTA_EXCEEDED
    again = node.logins.pending(of("join", secrets[0], "b-0", "tls"))  # one that is known
    assert isinstance(again, Identity)
    assert ENCRYPTED in again.groups
    assert node.logins.pending(of("join", b"short", "b-1")) is Refusal.BAD_CREDENTIALS
    assert node.logins.pending(of("join", secrets[0], DEVICE)) is Refusal.BAD_CREDENTIALS
    refusing = Node(LoginRules(approval=False))
    assert refusing.logins.pending(of("join", secrets[0])) is Refusal.NOT_AUTHORIZED


def test_the_kind_of_link_is_an_attribute_once_it_is_not_ip() -> None:
    node = Node()
    node.log_in(of(DEVICE, b"secret"))
    assert "link" not in node.device.attributes
    linked = Credentials(DEVICE, DEVICE, b"secret", "links", "ble:C0:00:00:00:00:01", proved=DEVICE)
    assert isinstance(asyncio.run(node.logins.linked(linked)), Identity)
    assert node.device.attributes["link"] == "ble"
    node.log_in(of(DEVICE, b"secret"))
    assert node.device.attributes["link"] == "ip"
