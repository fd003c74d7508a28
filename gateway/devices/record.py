"""Defines a device that joined, its credentials, and its state. Pure.

A device has a token and, while it is given a new one, a next token. Both log it in. The next token
becomes the token, and the old one ends, when the device has used it once: a power cut at any point
leaves the device with a token that is good. The same holds for its certificate.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from gateway.devices.attributes import Attribute, merge_attributes
from gateway.devices.credentials import is_token
from gateway.devices.take_overs import TakeOvers
from protocol.topics import ONLINE, status_topic

SHOWN_CHARACTERS = 200  # of a payload, in the status
DAY_S = 24 * 3600.0


class DeviceState(StrEnum):
    """The states of a device that joined."""

    APPROVED = "approved"
    CONFLICT = "conflict"  # two boards log in with its credentials
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class DeviceCertificate:
    """A client certificate of a device: its digest, its public key, and its end."""

    digest: str  # SHA-256 of the DER
    public_key: bytes  # DER
    ends_at: float


@dataclass(slots=True)
class DeviceRecord:
    """A device that joined; the counters start with the process."""

    device_id: str
    name: str
    model: str
    token_digest: str
    joined_at: float
    claim_digest: str = ""  # with client_id: lets a join be repeated, until confirmed
    client_id: str = ""  # the id that its board joined with
    confirmed: bool = False  # it has logged in with its own credentials
    last_seen: float = 0.0
    groups: tuple[str, ...] = ()
    attributes: dict[str, Attribute] = field(default_factory=dict)
    revoked_at: float = 0.0
    token_made_at: float = 0.0
    next_digest: str = ""
    next_made_at: float = 0.0
    certificate: DeviceCertificate | None = None
    next_certificate: DeviceCertificate | None = None
    conflicts: int = 0  # times that logins of a second board were held off
    messages: int = 0
    last_topic: str = ""
    last_payload: bytes = b""
    is_up: bool = False  # as it says itself; its will says that it is not
    waits_for_link: bool = False  # the gateway has ended its link for a while, to serve others
    problem: str = ""  # the reason why nothing of it counts
    take_overs: TakeOvers = field(default_factory=TakeOvers)

    @property
    def is_revoked(self) -> bool:
        """True when its credentials have ended."""
        return self.revoked_at > 0

    @property
    def has_credentials(self) -> bool:
        """False when nothing logs it in: it is revoked, or does not use MQTT."""
        return bool(self.token_digest or self.next_digest or self.certificate)

    def state(self, now: float) -> DeviceState:
        """Return its state."""
        if self.is_revoked:
            return DeviceState.REVOKED
        return DeviceState.CONFLICT if self.take_overs.is_holding(now) else DeviceState.APPROVED

    def observe(self, topic: str, payload: bytes, now: float) -> None:
        """Note a message of the device."""
        self.last_seen = now
        self.messages += 1
        self.last_topic = topic
        self.last_payload = payload[: SHOWN_CHARACTERS * 4]
        if topic == status_topic(self.device_id):
            self.is_up = payload == ONLINE
            self.waits_for_link = False

    def report(self, attributes: dict[str, Attribute]) -> None:
        """Note attributes that the device reports."""
        self.attributes = merge_attributes(self.attributes, attributes)

    def note_problem(self, problem: str) -> bool:
        """Note why nothing of the device counts, or that it counts; return whether it changed."""
        changed = problem != self.problem
        self.problem = problem
        return changed

    def admit(self, now: float) -> bool:
        """Note a login with the device's credentials; return False while it has to be held off."""
        if not self.is_up or self.waits_for_link:
            self.waits_for_link = False
            return True
        was_held = self.take_overs.is_holding(now)
        if self.take_overs.admit(now):
            return True
        self.conflicts += not was_held
        return False

    def wait_for_link(self) -> None:
        """Note that the device has no link for a while, and counts as online."""
        self.waits_for_link = True

    def note_away(self) -> None:
        """Note that the device is offline, though it did not say so."""
        self.is_up = self.waits_for_link = False

    # credentials -----------------------------------------------------------------------

    def has_token(self, token: bytes, now: float, expire_days: int) -> bool:
        """Return whether a token logs the device in."""
        if self.is_revoked:
            return False
        if self.next_digest and is_token(token, self.next_digest):
            return not _is_old(self.next_made_at, now, expire_days)
        return is_token(token, self.token_digest) and not _is_old(
            self.token_made_at, now, expire_days
        )

    def has_certificate(self, digest: str) -> bool:
        """Return whether a client certificate logs the device in; TLS has checked its dates."""
        known = (self.certificate, self.next_certificate)
        return not self.is_revoked and any(c is not None and c.digest == digest for c in known)

    def note_token(self, token: bytes) -> bool:
        """Note that the device logged in with a token; return whether the record changed."""
        changed = not self.confirmed
        self.confirmed = True
        if self.next_digest and is_token(token, self.next_digest):
            self.token_digest, self.token_made_at = self.next_digest, self.next_made_at
            self.next_digest, self.next_made_at = "", 0.0
            changed = True
        return changed

    def note_certificate(self, digest: str) -> bool:
        """Note that the device logged in with a certificate; return whether the record changed."""
        changed = not self.confirmed
        self.confirmed = True
        if self.next_certificate is not None and self.next_certificate.digest == digest:
            self.certificate, self.next_certificate = self.next_certificate, None
            changed = True
        return changed

    def want_token(self, now: float) -> None:
        """Note that the device gets a next token when it comes online."""
        self.next_digest, self.next_made_at = "", now

    def offer_token(
        self, digest: str, now: float, certificate: DeviceCertificate | None = None
    ) -> None:
        """Let the device in with a next token, and a next certificate if there is one."""
        self.next_digest, self.next_made_at = digest, now
        if certificate is not None:
            self.next_certificate = certificate

    # decisions of the owner ------------------------------------------------------------

    def rename(self, name: str) -> None:
        """Change the name."""
        self.name = name

    def join_groups(self, groups: tuple[str, ...]) -> None:
        """Change the groups."""
        self.groups = groups

    def revoke(self, now: float) -> None:
        """End the credentials."""
        self.revoked_at = now
        self.token_digest = self.next_digest = ""
        self.certificate = self.next_certificate = None
        self.claim_digest = ""  # a join that was repeated would undo it
        self.is_up = self.waits_for_link = False


def _is_old(made_at: float, now: float, expire_days: int) -> bool:
    return expire_days > 0 and now - made_at > expire_days * DAY_S


def shown(payload: bytes) -> str:
    """Return the start of a payload as text for people."""
    return payload.decode("utf-8", errors="replace")[:SHOWN_CHARACTERS]
