import pytest

from gateway.sensors.frames import (
    SERVICE_UUID,
    FrameError,
    FrameFault,
    is_changing_address,
    open_frame,
    parse_key,
    read_frame,
)
from hardware.radio.advertisement import Advertisement
from tests.bthome import ADDRESS, CLIMATE, KEY, OTHER_KEY, advertise, encrypt, of_data

# the example of https://bthome.io/encryption
EXAMPLE = "54:48:E6:8F:80:A5", "41a47266c95f730011223378237214"


def test_the_example_of_the_specification_is_opened() -> None:
    frame = read_frame(of_data(bytes.fromhex(EXAMPLE[1]), EXAMPLE[0]))
    assert frame is not None
    assert frame.is_encrypted
    assert frame.counter == 0x33221100
    assert open_frame(frame, bytes.fromhex(KEY)) == bytes.fromhex(CLIMATE)


def test_another_key_opens_nothing() -> None:
    frame = read_frame(encrypt(CLIMATE, 7))
    assert frame is not None
    assert open_frame(frame, bytes.fromhex(OTHER_KEY)) is None


def test_a_plain_frame_is_its_objects() -> None:
    frame = read_frame(advertise(CLIMATE))
    assert frame is not None
    assert (frame.address, frame.body) == (ADDRESS, bytes.fromhex(CLIMATE))
    assert not (frame.is_encrypted)
    assert not (frame.is_trigger_based)
    assert not (frame.holds_address)


def test_an_address_in_the_frame_counts() -> None:
    frame = read_frame(of_data(bytes.fromhex("46a5808fe648543a01"), ADDRESS))
    assert frame is not None
    assert (frame.address, frame.body.hex()) == ("54:48:E6:8F:80:A5", "3a01")
    assert frame.is_trigger_based
    assert frame.holds_address


def test_other_advertisements_hold_no_frame() -> None:
    assert read_frame(Advertisement(ADDRESS, -60, 0.0)) is None
    other = {"0000181c-0000-1000-8000-00805f9b34fb": b"\x40"}
    assert read_frame(Advertisement(ADDRESS, -60, 0.0, service_data=other)) is None


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        ("", FrameFault.LENGTH),
        ("40", FrameFault.LENGTH),  # no objects
        ("420102030405", FrameFault.LENGTH),  # an address that is cut
        ("42010203040506", FrameFault.LENGTH),
        ("410011223378237214", FrameFault.LENGTH),  # nothing is encrypted
        ("2002ca09", FrameFault.VERSION),
        ("6002ca09", FrameFault.VERSION),
        ("40" + "00" * 255, FrameFault.LENGTH),
    ],
)
def test_bad_frames_are_refused(data: str, fault: FrameFault) -> None:
    with pytest.raises(FrameError) as raised:
        read_frame(of_data(bytes.fromhex(data)))
    assert raised.value.fault is fault


def test_an_address_that_is_none_is_refused() -> None:
    named = Advertisement("not an address", -60, 0.0, service_data={SERVICE_UUID: b"\x40\x01\x64"})
    with pytest.raises(FrameError):
        read_frame(named)


def test_an_error_about_a_key_does_not_show_it() -> None:
    assert parse_key(f" {KEY}\n") == bytes.fromhex(KEY)
    for bad in (KEY[:-1], KEY + "0", "", f"{KEY[:-1]}x"):
        with pytest.raises(ValueError, match="32 hexadecimal digits") as raised:
            parse_key(bad)
        assert KEY[:8] not in str(raised.value)
        assert raised.value.__context__ is None or KEY[:8] not in str(raised.value.__context__)


def test_random_addresses_change_unless_they_are_static() -> None:
    assert is_changing_address("54:48:E6:8F:80:A5", "random")  # resolvable
    assert is_changing_address("14:48:E6:8F:80:A5", "random")
    assert not is_changing_address("D4:48:E6:8F:80:A5", "random")
    assert not is_changing_address("54:48:E6:8F:80:A5", "public")
    assert not is_changing_address("54:48:E6:8F:80:A5", "")
