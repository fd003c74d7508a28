"""Wills when the broker stops, and when it is killed."""

import pytest

from broker.quota.limits import Limits
from broker.wire.packets import MQTT_3_1_1, MQTT_5, ConnAck, Disconnect, Publish, Will
from broker.wire.property_values import NO_PROPERTIES, Properties
from broker.wire.reasons import Reason
from tests.unit.broker.rig import Peer, Rig
from tests.unit.broker.stored_rig import StoredRig

STATUS = "d/status"


def make_will(
    delay_s: int | None = None, expiry_s: int | None = None, payload: bytes = b"offline"
) -> Will:
    properties = NO_PROPERTIES
    if delay_s is not None or expiry_s is not None:
        properties = Properties(will_delay_s=delay_s, message_expiry_s=expiry_s, content_type="x")
    return Will(STATUS, payload, 1, True, properties)


def status_of(rig: Rig) -> bytes | None:
    found = rig.core.retained(STATUS, rig.now)
    return found[0].payload if found else None


def come(
    rig: StoredRig, version: int, will: Will, *, stays: bool, expiry_s: int | None = None
) -> Peer:
    properties = Properties(session_expiry_s=expiry_s or 3600 * stays or None)
    options = {"properties": properties} if version == MQTT_5 else {}
    peer = rig.online("d", version, will=will, clean_start=not stays, **options)
    peer.publish(STATUS, b"online", qos=1, retain=True)
    rig.commit()
    peer.take()
    assert status_of(rig) == b"online"
    return peer


# case B7
@pytest.mark.parametrize("version", [MQTT_3_1_1, MQTT_5])
@pytest.mark.parametrize("stays", [False, True])
def test_a_crash_of_the_broker_is_the_end_of_all_connections(version: int, stays: bool) -> None:
    rig = StoredRig()
    rig.subscribe(rig.online("away"), "d/+", 1)
    come(rig, version, make_will(), stays=stays)
    rig.crash()
    assert status_of(rig) == b"offline"
    rig.commit()
    reader = rig.online("away")
    assert [each.payload for each in reader.take() if isinstance(each, Publish)] == [
        b"online", b"offline",
    ]  # fmt: skip
    rig.crash()
    assert [each.payload for each in rig.online("away").take() if isinstance(each, Publish)] == [
        b"online", b"offline",
    ], "published once; what was not acknowledged comes again"  # fmt: skip


# case B7
def test_connack_waits_until_the_will_is_safe() -> None:
    rig = StoredRig()
    peer = rig.connect("d", will=make_will())
    assert not peer.take()
    rig.commit()
    answer = peer.take()[0]
    assert isinstance(answer, ConnAck)
    assert not answer.session_present


# case B7
@pytest.mark.parametrize("stays", [False, True])
@pytest.mark.parametrize("is_polite", [False, True])
def test_a_will_that_has_ended_before_the_crash_is_not_published(
    stays: bool, is_polite: bool
) -> None:
    rig = StoredRig()
    peer = come(rig, MQTT_5, make_will(), stays=stays)
    if is_polite:
        peer.send(Disconnect())
    else:
        peer.hang_up()
        assert status_of(rig) == b"offline"
    rig.commit()
    plain = rig.online("p")
    plain.publish(STATUS, b"newer", qos=1, retain=True)
    rig.commit()
    rig.crash()
    assert status_of(rig) == b"newer"


# case B7
def test_a_client_that_comes_back_within_the_delay_takes_its_will_back() -> None:
    for away_s, expected in ((0, b"online"), (30, b"online")):
        rig = StoredRig()
        come(rig, MQTT_5, make_will(60), stays=True)
        rig.crash(away_s=away_s)
        rig.pass_time(59)
        assert status_of(rig) == b"online"
        rig.online("d")
        assert rig.was_present
        rig.pass_time(100)
        assert status_of(rig) == expected
        rig.commit()
        rig.crash()
        rig.pass_time(100)
        assert status_of(rig) == expected


# case B7
def test_a_delay_goes_on_over_a_second_crash() -> None:
    rig = StoredRig()
    come(rig, MQTT_5, make_will(60, expiry_s=500), stays=True)
    rig.crash()
    rig.commit()
    rig.pass_time(40)
    rig.crash(away_s=10)
    rig.pass_time(9)
    assert status_of(rig) == b"online"
    rig.pass_time(2)
    assert status_of(rig) == b"offline"
    (message,) = rig.core.retained(STATUS, rig.now)
    assert message.properties.content_type == "x"
    assert message.expires_at is not None
    assert 495 < message.expires_at - rig.now <= 500
    assert message.properties.message_expiry_s is None


# case B7
@pytest.mark.parametrize("expiry_s", [0, 20])
def test_a_will_does_not_outlive_its_session(expiry_s: int) -> None:
    rig = StoredRig()
    come(rig, MQTT_5, make_will(60), stays=expiry_s > 0, expiry_s=expiry_s)
    rig.crash()
    if expiry_s:
        assert status_of(rig) == b"online"
        rig.pass_time(expiry_s + 1)
    assert status_of(rig) == b"offline"


# case B7
def test_a_session_that_is_there_for_its_will_alone_is_not_present() -> None:
    rig = StoredRig()
    for number in range(3):  # the journal knows more than one tick ends
        rig.online(f"d{number}", will=make_will(), clean_start=True)
    come(rig, MQTT_5, make_will(), stays=False)
    rig.crash()
    peer = rig.online("d", MQTT_5, properties=Properties(session_expiry_s=60))
    assert not rig.was_present
    assert peer.client.session is not None
    assert not peer.client.session.subscriptions


# case B7
def test_a_new_will_takes_the_place_of_the_old_one() -> None:
    rig = StoredRig()
    come(rig, MQTT_5, make_will(60, payload=b"first"), stays=True)
    rig.online("d", will=make_will(60, payload=b"second"))  # takes over
    rig.crash()
    rig.pass_time(61)
    assert status_of(rig) == b"second"
    assert len(rig.store.image.messages) <= 2


# case B7
def test_without_room_a_client_with_a_will_may_connect_nevertheless() -> None:
    rig = StoredRig()
    peer = rig.connect("d", will=make_will())
    rig.store.refuse()
    rig.settle()
    answer = peer.take()[0]
    assert isinstance(answer, ConnAck)
    assert not answer.code
    assert rig.core.counters.refused["will_not_stored"] == 1
    peer.hang_up()
    assert status_of(rig) == b"offline"
    kept = rig.connect("k", will=make_will(), clean_start=False)
    rig.store.refuse()
    rig.settle()
    refused = kept.take()[0]
    assert isinstance(refused, ConnAck)
    assert refused.code == 3


# case B7
@pytest.mark.parametrize("version", [MQTT_3_1_1, MQTT_5])
@pytest.mark.parametrize("is_stored", [False, True])
def test_a_broker_that_stops_publishes_the_wills_that_are_due(
    version: int, is_stored: bool
) -> None:
    rig = StoredRig() if is_stored else Rig()
    reader = rig.connect("r")
    rig.connect("d", version, will=make_will(), clean_start=True)
    rig.connect("e", MQTT_5, will=make_will(60, payload=b"late"), clean_start=True)
    if isinstance(rig, StoredRig):
        rig.commit()
    reader.take()
    reader.subscribe("d/+")
    rig.core.shut_down(rig.now)
    rig.settle()
    # a delay does not outlive the session, which ends with the connection
    assert sorted(payload for _, payload in reader.messages()) == [b"late", b"offline"]
    assert reader.closed
    if isinstance(rig, StoredRig):
        rig.commit()
        rig.crash()
        assert status_of(rig) is not None


# case B7
def test_a_broker_that_stops_keeps_the_wills_that_wait() -> None:
    rig = StoredRig()
    come(rig, MQTT_5, make_will(60), stays=True)
    rig.core.shut_down(rig.now)
    rig.commit()
    assert status_of(rig) == b"online"
    rig.crash(away_s=30)
    assert status_of(rig) == b"online"
    rig.pass_time(31)
    assert status_of(rig) == b"offline"


# case B7
def test_without_a_store_a_will_that_waits_is_due_when_the_broker_stops() -> None:
    rig = Rig()
    reader = rig.online("r")
    reader.subscribe("d/+")
    kept = Properties(session_expiry_s=3600)
    rig.online("d", MQTT_5, will=make_will(60), properties=kept)
    rig.online("e", MQTT_5, will=make_will(60, payload=b"away"), properties=kept).hang_up()
    rig.core.shut_down(rig.now)
    rig.settle()
    assert sorted(payload for _, payload in reader.messages()) == [b"away", b"offline"]


# case B7
def test_of_two_that_come_at_once_the_second_has_the_session() -> None:
    rig = StoredRig(Limits())
    properties = Properties()
    first = rig.connect("d", MQTT_5, will=make_will(), clean_start=False, properties=properties)
    second = rig.connect("d", MQTT_5, will=make_will(), clean_start=False, properties=properties)
    rig.commit()
    refused, admitted = first.take()[0], second.take()[0]
    assert isinstance(refused, ConnAck)
    assert isinstance(admitted, ConnAck)
    assert refused.code == Reason.SERVER_BUSY
    assert (admitted.code, admitted.session_present) == (0, False)
    second.hang_up()
    assert status_of(rig) == b"offline"
    rig.commit()
    assert not rig.store.image.sessions
