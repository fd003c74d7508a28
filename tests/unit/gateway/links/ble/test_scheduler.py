"""Tests the turns of devices at an adapter with few links."""

from gateway.links.ble.advertisers import HEARD_S
from gateway.links.ble.scheduler import PROOF_S, Ending, LinkScheduler
from hardware.radio.hecate_service import ServiceState
from tests.unit.gateway.links.ble.field import CLOSE_S, OPEN_S, Field, FieldDevice, address_of


def _devices(count: int, *, talks: bool = False, has_data: bool = False) -> list[FieldDevice]:
    return [FieldDevice(address_of(n), talks=talks, has_data=has_data) for n in range(count)]


def test_with_room_everybody_keeps_a_link() -> None:
    field = Field(3, _devices(3))
    field.run(600)
    assert len(field.linked()) == 3
    assert all(d.turns == 1 for d in field.devices.values())


def test_ten_devices_take_turns_over_three_links_and_all_have_the_same_time() -> None:
    field = Field(3, _devices(10, talks=True, has_data=True))
    field.run(60)
    assert all(d.served_at for d in field.devices.values()), "not everybody had a turn in a minute"
    field.run(1800)
    served = [d.served_s for d in field.devices.values()]
    assert field.most == 3
    assert max(served) < 1.3 * min(served)
    for device in field.devices.values():
        waits = [b - a for a, b in zip(device.served_at, device.served_at[1:], strict=False)]
        assert max(waits) < 75, f"{device.address} waited {max(waits):.0f} s"


def test_a_device_with_something_to_send_has_not_to_wait_for_idle_ones() -> None:
    devices = _devices(10)
    field = Field(3, devices)
    field.run(300)
    waiting = next(d for d in devices if d.address not in field.linked())
    waiting.has_data, before = True, len(waiting.served_at)
    field.run(12)
    assert len(waiting.served_at) > before


def test_commands_at_the_broker_pull_their_device_forward() -> None:
    devices = _devices(10)
    field = Field(3, devices)
    field.run(300)
    waiting = field.scheduler.waiting(field.now)[-1]
    field.scheduler.note_commands(frozenset({waiting.proved}))
    assert field.scheduler.waiting(field.now)[0].has_commands
    field.run(12)
    assert field.devices[waiting.address].served_at[-1] > field.now - 12


def test_urgent_devices_do_not_starve_the_others() -> None:
    devices = _devices(9, has_data=True, talks=True)
    quiet = FieldDevice(address_of(99))
    field = Field(3, [*devices, quiet])
    field.run(1200)
    waits = [b - a for a, b in zip(quiet.served_at, quiet.served_at[1:], strict=False)]
    assert len(quiet.served_at) > 6
    assert max(waits) < 240


def test_the_loser_of_four_devices_at_three_links_is_not_always_the_same() -> None:  # case L3
    field = Field(3, _devices(4))
    field.run(600)
    assert min(d.turns for d in field.devices.values()) > 4


def test_strangers_without_end_do_not_starve_who_has_joined() -> None:
    joined = _devices(10, talks=True, has_data=True)
    field = Field(3, joined)
    field.run(120)
    before = [d.served_s for d in joined]
    field.run(600)
    alone = [d.served_s - b for d, b in zip(joined, before, strict=True)]
    for n in range(1000, 1300):
        field.devices[address_of(n)] = FieldDevice(address_of(n), proves=False)
    before = [d.served_s for d in joined]
    field.run(600)
    beset = [d.served_s - b for d, b in zip(joined, before, strict=True)]
    assert sum(beset) > 0.6 * sum(alone)
    assert min(beset) > 0.4 * min(alone)


def test_a_new_device_gets_a_turn_though_joined_ones_are_busy() -> None:
    field = Field(3, _devices(10, talks=True, has_data=True))
    field.run(120)
    new = FieldDevice(address_of(500))
    field.devices[new.address] = new
    field.run(60)
    assert new.served_at


def test_strangers_have_turns_with_a_single_link_but_not_all() -> None:
    joined = FieldDevice(address_of(1), talks=True, has_data=True)
    field = Field(1, [joined])
    field.run(30)
    for n in range(100, 140):
        field.devices[address_of(n)] = FieldDevice(address_of(n), proves=False)
    field.run(900)
    assert sum(d.turns for d in field.devices.values() if not d.proves) > 3
    assert joined.served_s > 300


def test_a_device_that_proves_no_key_loses_its_link_and_waits_ever_longer() -> None:
    stranger = FieldDevice(address_of(1), proves=False)
    field = Field(3, [stranger])
    field.run(OPEN_S + PROOF_S + CLOSE_S + 1)
    assert field.scheduler.counters.unproved == 1
    field.run(3600)
    assert 4 <= stranger.turns < 14


def test_one_link_is_opened_at_a_time() -> None:
    scheduler = LinkScheduler(3, lambda: 0.0)
    for n in range(4):
        scheduler.hear(address_of(n), ServiceState(), -60, 0.0)
    first = scheduler.next_turn(0.0)
    assert first is not None
    assert scheduler.next_turn(0.1) is None
    scheduler.opened(first, 1.0)
    assert scheduler.next_turn(1.0) not in (None, first)


def test_a_failure_is_retried_after_a_growing_wait_and_hurts_nobody_else() -> None:
    away = FieldDevice(address_of(1))
    field = Field(1, [away, FieldDevice(address_of(2), has_data=True, talks=True)])
    field.run(60)
    away.is_away = True
    field.run(HEARD_S)  # it may still be tried
    before = away.turns
    field.run(600)
    assert away.turns == before, "a device that is not heard was connected to"


def test_a_lost_link_frees_its_slot() -> None:  # case L3
    field = Field(3, _devices(4))
    field.run(60)
    lost = field.linked()[0]
    field.devices[lost].is_away = True
    field.lose(lost)
    field.run(10)
    assert len(field.linked()) == 3
    assert field.scheduler.counters.lost == 1


def test_after_another_adapter_all_are_back_within_a_minute() -> None:  # case L2
    field = Field(3, _devices(10))
    field.run(300)
    for turn in field.scheduler.turns:
        field.lose(turn.address)
    field.scheduler.start_over(field.now)
    at = field.now
    field.run(60)
    assert all(d.served_at[-1] > at for d in field.devices.values())


def test_a_link_that_ends_is_told_once() -> None:
    scheduler = LinkScheduler(1, lambda: 0.0)
    scheduler.hear("A", ServiceState(), -60, 0.0)
    assert scheduler.next_turn(0.0) == "A"
    scheduler.opened("A", 1.0)
    assert scheduler.to_end(1.0 + PROOF_S) == [("A", Ending.UNPROVED)]
    assert scheduler.to_end(2.0 + PROOF_S) == []
