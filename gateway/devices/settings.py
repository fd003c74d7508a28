"""Defines [devices]: joining by approval, the life of credentials, and the rights of devices."""

from dataclasses import dataclass

from broker.messages.topics import SHARED, validate_filter
from broker.wire.errors import RemoteProtocolError
from gateway.devices.record import DeviceRecord
from protocol.topics import device_prefix

DAYS_LIMIT = 3650
_ID, _GROUP = "{id}", "{group}"


@dataclass(frozen=True, slots=True)
class DevicesSettings:
    """The [devices](device.md) of this node.

    A device writes and reads its own topics, `devices/<id>/#`. `publish` and `subscribe` add to
    that: topic filters in which `{id}` stands for the device's id, and `{group}` for each of its
    groups.
    """

    approval: bool = True  # boards without a claim token wait for `hecate devices approve`
    publish: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ("groups/{group}/#",)
    rotate_days: int = 90  # the age at which a device gets a new token; 0: only when told
    expire_days: int = 0  # the age at which a token is refused; 0: never
    certificates: bool = False  # make client certificates for devices that ask and use TLS

    def check(self) -> None:
        """Refuse bad filters, topics of the gateway, and tokens that end before their renewal."""
        for key in ("publish", "subscribe"):
            for template in getattr(self, key):
                _check_template(key, template)
        for key in ("rotate_days", "expire_days"):
            if not 0 <= getattr(self, key) <= DAYS_LIMIT:
                raise ValueError(f"{key} = {getattr(self, key)}: must be 0 to {DAYS_LIMIT}")
        if self.expire_days and not 0 < self.rotate_days < self.expire_days:
            raise ValueError(
                f"expire_days = {self.expire_days}: rotate_days must be less, and not 0"
            )


@dataclass(frozen=True, slots=True)
class DeviceRights:
    """The template of what devices may write and read beside their own topics."""

    publish: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()

    def filters_of(self, device: DeviceRecord, action: str) -> tuple[str, ...]:
        """Return the filters of a device for "publish" or "subscribe"."""
        templates = self.publish if action == "publish" else self.subscribe
        own = f"{device_prefix(device.device_id)}/#"
        return (own, *(f for t in templates for f in _expand(t, device.device_id, device.groups)))


def _expand(template: str, device_id: str, groups: tuple[str, ...]) -> list[str]:
    text = template.replace(_ID, device_id)
    return [text.replace(_GROUP, g) for g in groups] if _GROUP in text else [text]


def _check_template(key: str, template: str) -> None:
    (text,) = _expand(template, "dev-000000000000", ("group",))
    try:
        validate_filter(text)
    except RemoteProtocolError as exc:
        raise ValueError(f"{key}: {template!r} is not a topic filter: {exc}") from exc
    if text.startswith(("$", SHARED)) or "{" in text:
        raise ValueError(
            f"{key}: {template!r}: must not start with $; {_ID} and {_GROUP} are known"
        )
