from broker.quota.limits import Limits
from broker.wire.packets import MQTT_5, PingReq, PingResp, PubAck, Publish
from broker.wire.property_values import Properties
from tests.unit.broker.rig import Rig


def test_qos_0_is_dropped_and_counted_and_qos_1_waits() -> None:
    rig = Rig()
    slow, quick, sender = rig.online("slow"), rig.online("quick"), rig.online("s")
    for client in (slow, quick):
        client.subscribe("a", 1)
    rig.core.pause(slow.client)
    sender.send(
        Publish("a", b"0"),
        Publish("a", b"1"),
        Publish("a", b"2", 1, packet_id=1),
        Publish("a", b"3", 1, packet_id=2),
    )
    slow.send(PingReq())
    assert slow.take() == []
    assert len(quick.messages()) == 4
    assert rig.core.counters.dropped["slow_reader"] == 2
    rig.core.resume(slow.client, rig.now)
    rig.settle()
    ping, *messages = slow.take()
    assert ping == PingResp()
    assert [each.payload for each in messages if isinstance(each, Publish)] == [b"2", b"3"]
    sender.publish("a", b"4")
    assert slow.messages() == [("a", b"4")]


def test_a_lone_answer_is_written_after_the_message_to_its_subscriber() -> None:
    rig = Rig()
    subscriber, sender = rig.online("c"), rig.online("s")
    subscriber.subscribe("a", 0)
    rig.written.clear()
    sender.send(Publish("a", b"0", 1, packet_id=1))
    assert rig.written == [subscriber, sender]
    rig.written.clear()
    sender.send(*(Publish("a", b"0", 1, packet_id=each) for each in (2, 3)))
    assert rig.written == [sender, subscriber]  # more of it is under way meanwhile


def test_what_waits_is_bounded_in_messages_and_bytes() -> None:
    for limits in (Limits(in_flight=2, queued_messages=3), Limits(in_flight=2, queued_bytes=4000)):
        rig = Rig(limits)
        client, sender = rig.online("c"), rig.online("s")
        client.subscribe("a", 1)
        for number in range(50):
            sender.publish("a", b"%02d" % number + b"x" * 598, qos=1)
        assert len(client.take()) == 2
        counters = rig.core.counters
        assert 40 <= counters.dropped["queue_full"] < 48
        assert counters.queued_bytes <= 5000


def test_all_clients_together_are_bounded() -> None:
    rig = Rig(Limits(queued_bytes_total=10_000))
    sender = rig.online("s")
    properties = Properties(session_expiry_s=100)
    for number in range(10):
        away = rig.online(f"c{number}", MQTT_5, properties=properties)
        away.subscribe("a", 1)
        away.hang_up()
    for _ in range(10):
        sender.publish("a", b"x" * 1000, qos=1)
    assert rig.core.counters.queued_bytes <= 10_000
    assert rig.core.counters.dropped["queue_full"] > 80
    rig.pass_time(100)
    assert rig.core.counters.queued_bytes == 0


def test_a_client_that_never_reads_answers_is_not_heard_until_it_does() -> None:
    rig = Rig()
    client = rig.online("c")
    rig.core.pause(client.client)
    burst = b"".join(b"\x32\x06\x00\x01a\x00\x01x" for _ in range(17_000))
    client.send_bytes(burst)
    assert not client.reads
    rig.core.resume(client.client, rig.now)
    rig.settle()
    assert client.reads
    assert client.take().count(PubAck(1)) == 17_000


def test_a_closed_client_that_does_not_take_its_last_bytes_is_aborted() -> None:
    rig = Rig(Limits(close_timeout_s=5))
    client = rig.online("c", MQTT_5)
    rig.core.pause(client.client)
    client.send_bytes(b"\x00\x00")
    assert len(client.take()) == 1
    assert client.closed
    assert not client.aborted
    rig.pass_time(5)
    assert client.aborted
