from hardware.radio.advertisement import Advertisement
from hardware.radio.hecate_service import SERVICE, ServiceState, read_service_state


def _state(*uuids: str, data: bytes | None = None) -> ServiceState | None:
    service_data = {} if data is None else {SERVICE: data}
    return read_service_state(Advertisement("A", -60, 0.0, "", uuids, service_data))


def test_flags_and_layout_are_read() -> None:
    assert _state(data=b"\x01\x07") == ServiceState(has_data=True, layout=7)
    assert _state(data=b"\x02") == ServiceState(wants_to_join=True)
    assert _state(data=b"\xff\xff" + bytes(8)) == ServiceState(
        has_data=True, wants_to_join=True, layout=255
    )


def test_a_device_may_say_nothing_but_its_service() -> None:
    assert _state(SERVICE) == ServiceState()
    assert _state(data=b"") == ServiceState()


def test_others_are_no_hecate_devices() -> None:
    assert _state("0000180f-0000-1000-8000-00805f9b34fb") is None
