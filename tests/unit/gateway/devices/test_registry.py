from gateway.devices.credentials import digest_of
from gateway.devices.record import SHOWN_CHARACTERS, DeviceRecord, shown
from gateway.devices.registry import DeviceRegistry

DEVICE = "dev-0123456789ab"


def make_device(device_id: str = DEVICE, **changes: object) -> DeviceRecord:
    device = DeviceRecord(device_id, "lamp", "sim", digest_of(b"secret"), joined_at=1.0)
    for name, value in changes.items():
        setattr(device, name, value)
    return device


def test_a_device_is_known_by_id_and_token() -> None:
    registry = DeviceRegistry([make_device()])
    assert registry.authenticate(DEVICE, b"secret") is registry.get(DEVICE)
    assert registry.authenticate(DEVICE, b"other") is None
    assert registry.authenticate("dev-000000000000", b"secret") is None
    assert registry.remove(DEVICE) is not None
    assert registry.remove(DEVICE) is None
    assert registry.authenticate(DEVICE, b"secret") is None


def test_a_join_can_be_repeated_until_the_device_has_logged_in() -> None:
    registry = DeviceRegistry([make_device(claim_digest="c", client_id="board")])
    assert registry.unconfirmed("c", "board") is not None
    assert registry.unconfirmed("c", "other") is None
    assert registry.unconfirmed("d", "board") is None
    registry.add(make_device(claim_digest="c", client_id="board", confirmed=True))
    assert registry.unconfirmed("c", "board") is None


def test_what_a_device_says_is_noted_once() -> None:
    registry = DeviceRegistry([make_device()])
    registry.observe(DEVICE, "devices/x/readings/t", b"\xff" + b"x" * 2000, now=7.0)
    registry.observe("dev-000000000000", "t", b"", now=8.0)
    device = registry.get(DEVICE)
    assert device is not None
    assert (device.messages, device.last_seen) == (1, 7.0)
    assert len(device.last_payload) < 1000
    assert len(shown(device.last_payload)) == SHOWN_CHARACTERS
    assert registry.take_seen() == [(DEVICE, 7.0, {}, 0)]
    assert registry.take_seen() == []
