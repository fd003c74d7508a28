from gateway.links.ble.presence import AWAY_S, LONGEST_S, Presence


def test_a_device_that_waits_and_is_heard_is_online() -> None:
    presence = Presence()
    presence.park("dev-1", "A", 0.0)
    assert presence.take_away(lambda _: AWAY_S, AWAY_S * 1.5) == []
    presence.come_back("dev-1")
    assert presence.take_away(lambda _: None, 1e6) == []


def test_a_device_that_is_not_heard_any_more_is_offline_once() -> None:
    presence = Presence()
    presence.park("dev-1", "A", 0.0)
    assert presence.take_away(lambda _: None, AWAY_S) == []
    assert presence.take_away(lambda _: None, AWAY_S + 1) == ["dev-1"]
    assert presence.take_away(lambda _: None, AWAY_S + 2) == []


def test_an_address_that_is_heard_for_ever_does_not_keep_a_device_online() -> None:
    presence = Presence()
    presence.park("dev-1", "A", 0.0)
    assert presence.take_away(lambda _: LONGEST_S + 1, LONGEST_S + 1) == ["dev-1"]
