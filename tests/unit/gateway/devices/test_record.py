import pytest

from gateway.devices.credentials import digest_of
from gateway.devices.describe import describe_device
from gateway.devices.record import DAY_S, DeviceCertificate, DeviceRecord, DeviceState
from gateway.devices.rotation import CERTIFICATE_LEFT_S, RotationRule

DEVICE = "dev-0123456789ab"


def make_device(**changes: object) -> DeviceRecord:
    device = DeviceRecord(DEVICE, "lamp", "sim", digest_of(b"old"), joined_at=0.0)
    device.token_made_at = 1.0
    for name, value in changes.items():
        setattr(device, name, value)
    return device


def test_the_old_token_is_good_until_the_new_one_was_used_once() -> None:
    device = make_device()
    device.offer_token(digest_of(b"new"), 5.0)
    assert device.has_token(b"old", 6.0, 0)
    assert device.has_token(b"new", 6.0, 0)
    assert device.note_token(b"old")  # confirmed
    assert not device.note_token(b"old")
    assert device.has_token(b"new", 6.0, 0)
    assert device.note_token(b"new")
    assert not device.has_token(b"old", 7.0, 0)
    assert device.has_token(b"new", 7.0, 0)
    assert (device.token_made_at, device.next_digest, device.next_made_at) == (5.0, "", 0.0)


def test_only_the_last_of_the_offered_tokens_counts() -> None:
    device = make_device()
    device.offer_token(digest_of(b"first"), 5.0)
    device.offer_token(digest_of(b"second"), 6.0)
    assert not device.has_token(b"first", 7.0, 0)
    assert device.has_token(b"second", 7.0, 0)


def test_a_token_expires_only_where_that_is_set() -> None:
    device = make_device()
    assert device.has_token(b"old", 1e9, 0)
    assert device.has_token(b"old", 1.0 + 30 * DAY_S, 30)
    assert not device.has_token(b"old", 2.0 + 30 * DAY_S, 30)


def test_a_revoked_device_has_no_credentials() -> None:
    device = make_device(claim_digest="c")
    certificate = DeviceCertificate("cert", b"", 9.0)
    device.offer_token(digest_of(b"new"), 5.0, certificate)
    assert device.has_certificate("cert")
    device.revoke(6.0)
    assert device.state(6.0) is DeviceState.REVOKED
    assert not device.has_token(b"old", 6.0, 0)
    assert not device.has_token(b"new", 6.0, 0)
    assert not device.has_token(b"", 6.0, 0)
    assert not device.has_certificate("cert")
    assert device.claim_digest == ""


def test_a_certificate_is_replaced_like_a_token() -> None:
    first, second = DeviceCertificate("1", b"k", 9.0), DeviceCertificate("2", b"k", 99.0)
    device = make_device(certificate=first)
    device.offer_token(digest_of(b"new"), 5.0, second)
    assert device.has_certificate("1")
    assert device.has_certificate("2")
    assert device.note_certificate("2")
    assert not device.has_certificate("1")
    assert device.certificate == second


@pytest.mark.parametrize(
    ("days", "age_days", "due"), [(0, 1000, False), (90, 89, False), (90, 91, True)]
)
def test_tokens_are_renewed_at_an_age(days: int, age_days: int, *, due: bool) -> None:
    assert RotationRule(days).is_due(make_device(), 1.0 + age_days * DAY_S) is due


def test_certificates_are_renewed_before_their_end() -> None:
    device = make_device(certificate=DeviceCertificate("1", b"", ends_at=CERTIFICATE_LEFT_S + 10))
    assert not RotationRule(0).is_due(device, 9.0)
    assert RotationRule(0).is_due(device, 11.0)
    device.revoke(12.0)
    assert not RotationRule(0).is_due(device, 13.0)


def test_two_boards_with_one_identity_are_a_state() -> None:  # case D19
    device = make_device()
    device.observe(f"devices/{DEVICE}/status", b"online", 0.0)
    assert device.state(0.0) is DeviceState.APPROVED
    while device.admit(1.0):
        pass
    assert device.state(2.0) is DeviceState.CONFLICT
    assert device.state(1000.0) is DeviceState.APPROVED


def test_a_device_that_waits_for_a_link_is_online_and_no_second_board_when_it_comes_back() -> None:
    device = make_device()
    for turn in range(50):
        assert device.admit(float(turn)), turn
        device.observe(f"devices/{DEVICE}/status", b"online", float(turn))
        assert not describe_device(device, (), 0.0)["online"]
        device.wait_for_link()
        assert describe_device(device, (), 0.0)["online"]
    assert device.conflicts == 0
    device.note_away()
    assert not device.is_up
    assert not describe_device(device, (), 0.0)["online"]


def test_a_will_ends_the_wait_for_a_link() -> None:
    device = make_device()
    device.observe(f"devices/{DEVICE}/status", b"online", 0.0)
    device.wait_for_link()
    device.observe(f"devices/{DEVICE}/status", b"offline", 1.0)
    assert not device.waits_for_link
    assert not device.is_up
