"""Advertisements of anybody, and the rules of counters and copies."""

import contextlib
import math

from bthome_ble import BTHomeBluetoothDeviceData
from bthome_ble.const import MEAS_TYPES
from habluetooth import BluetoothServiceInfoBleak
from hypothesis import given
from hypothesis import strategies as st

from gateway.sensors.bthome import decode_objects
from gateway.sensors.counter_guard import RESERVE, CounterGuard, CounterVerdict
from gateway.sensors.frames import SERVICE_UUID, FrameError, open_frame, read_frame
from gateway.sensors.sensor import FrameOutcome, Sensor, SensorSettings
from gateway.sensors.values import Packet, encode_packet
from tests.bthome import ADDRESS, CLIMATE, KEY, advertise, encrypt, of_data

FIXED = [k for k, t in MEAS_TYPES.items() if t.data_format not in ("raw", "string", "command")]
COUNTED = [k for k, t in MEAS_TYPES.items() if t.data_format in ("raw", "string")]
counters = st.integers(0, 2**32 - 1)


@st.composite
def objects(draw: st.DrawFn) -> bytes:
    """Make one whole object."""
    if draw(st.booleans()):
        kind = draw(st.sampled_from(FIXED))
        length = MEAS_TYPES[kind].data_length
        return bytes((kind,)) + draw(st.binary(min_size=length, max_size=length))
    if draw(st.booleans()):
        arguments = draw(st.binary(max_size=4))
        return bytes((0x3B, len(arguments))) + draw(st.binary(min_size=1, max_size=1)) + arguments
    text = draw(st.binary(max_size=6))
    return bytes((draw(st.sampled_from(COUNTED)), len(text))) + text


packets = st.lists(objects(), min_size=1, max_size=6).map(b"".join)


def decode(payload: bytes) -> Packet:
    packet = decode_objects(payload, ADDRESS, "")
    for topic, message in encode_packet("dev-000000000001", packet, 1.0, 0):
        assert topic.startswith("devices/dev-000000000001/")
        assert not set(topic) & set("+#\0")
        assert b"NaN" not in message
    for name, value in packet.attributes.items():
        assert name in ("battery", "firmware")
        assert isinstance(value, str) or math.isfinite(value)
    return packet


# case L9
@given(st.binary(max_size=300))
def test_any_bytes_are_a_packet_or_a_frame_error(data: bytes) -> None:
    try:
        frame = read_frame(of_data(data))
        assert frame is not None
        if frame.is_encrypted:
            assert open_frame(frame, bytes.fromhex(KEY)) is None
        else:
            decode(frame.body)
    except FrameError:
        pass
    assert decode(bytes.fromhex(CLIMATE)).values


# case L9
@given(packets, st.data())
def test_a_packet_that_is_cut_inside_an_object_is_dropped(
    payload: bytes, data: st.DataObject
) -> None:
    decode(payload)
    cut = data.draw(st.integers(1, len(payload)))
    try:
        left = decode(payload[:-cut])
    except FrameError:
        return
    whole = [v.name.rstrip("_123456") for v in decode(payload).values]
    assert all(value.name.rstrip("_123456") in whole for value in left.values)


@given(packets, st.integers(0, 400), st.integers(0, 255))
def test_a_mutated_packet_is_a_packet_or_a_frame_error(
    payload: bytes, place: int, byte: int
) -> None:
    mutated = bytearray(payload)
    mutated[place % len(mutated)] = byte
    with contextlib.suppress(FrameError):
        decode(bytes(mutated))


@given(packets, counters)
def test_the_library_opens_and_reads_the_same(payload: bytes, counter: int) -> None:
    sent = encrypt(payload.hex(), counter)
    frame = read_frame(sent)
    assert frame is not None
    assert open_frame(frame, bytes.fromhex(KEY)) == payload
    library = BTHomeBluetoothDeviceData(bindkey=bytes.fromhex(KEY))
    update = library.update(
        BluetoothServiceInfoBleak(
            name="", address=ADDRESS, rssi=0, manufacturer_data={}, service_uuids=[],
            service_data={SERVICE_UUID: sent.service_data[SERVICE_UUID]}, source="",
            device=None, advertisement=None, connectable=False, time=0.0, tx_power=None,  # type: ignore[arg-type]
        )
    )  # fmt: skip
    assert library.bindkey_verified
    theirs = {k.key for k in update.entity_values} - {"packet_id", "signal_strength", "battery"}
    ours = {value.name for value in decode(payload).values}
    assert theirs <= ours


@given(st.lists(counters | st.integers(0, 60), max_size=40))
def test_no_counter_counts_twice_and_none_below_one_that_counted(sent: list[int]) -> None:
    guard, counted = CounterGuard(), list[int]()
    for counter in sent:
        if guard.judge(counter, b"") is CounterVerdict.NEW:
            assert all(counter > before for before in counted)
            counted.append(counter)


@given(
    st.lists(st.tuples(st.integers(0, 100), st.sampled_from(["send", "cut", "stop"])), max_size=60),
    st.booleans(),
)
def test_no_frame_counts_twice_over_any_restarts(steps: list[tuple[int, str]], exact: bool) -> None:
    guard, stored, counted = CounterGuard(), -1, set[int]()
    for counter, step in steps:
        if step == "send" and guard.judge(counter, b"") is CounterVerdict.NEW:
            if (floor := guard.floor_to_store(is_exact=exact)) is not None:
                stored = floor
                guard.note_stored(floor)
            assert counter not in counted
            counted.add(counter)
        if step == "stop" and (floor := guard.floor_to_store(is_exact=True)) is not None:
            stored = floor
        if step != "send":
            guard = CounterGuard(stored)
    assert stored <= max(counted, default=-1) + RESERVE


@given(st.lists(st.tuples(packets, st.floats(0, 30), st.booleans()), max_size=20))
def test_a_sensor_takes_anything_in_any_order(sent: list[tuple[bytes, float, bool]]) -> None:
    sensors = [
        Sensor(SensorSettings("dev-000000000001", ADDRESS, bytes.fromhex(key)), 0.0)
        for key in ("", KEY)
    ]
    for number, (payload, at, is_sealed) in enumerate(sent):
        made = (
            encrypt(payload.hex(), number, at=at) if is_sealed else advertise(payload.hex(), at=at)
        )
        frame = read_frame(made)
        assert frame is not None
        for sensor in sensors:
            outcome, packet = sensor.take(frame, "", at, decode_objects)
            assert (packet is not None) == (outcome is FrameOutcome.TAKEN)
            assert packet is None or frame.is_encrypted == sensor.is_encrypted
