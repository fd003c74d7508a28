"""All connections read into one buffer; none must see what another left there."""

import ssl
from collections.abc import Callable

import pytest

from broker import Listener
from broker.wire import encode_packet
from broker.wire.packets import Publish
from tests.integration.broker.access.certificates import Authority
from tests.integration.broker.conftest import BrokerThread
from tests.integration.broker.net.conftest import Raw, connect_packet, publish_packet
from tests.paho_client import V4, Paho
from tests.programs import until

Dial = Callable[..., Raw]


@pytest.mark.parametrize("secure", [False, True])
def test_packets_in_pieces_do_not_mix(
    start_broker: Callable[..., BrokerThread],
    dial: Dial,
    server_tls: ssl.SSLContext,
    client_tls: ssl.SSLContext,
    *,
    secure: bool,
) -> None:
    broker = start_broker(Listener(port=0), Listener(port=0, tls=server_tls))
    got: dict[str, list[bytes]] = {"1": [], "2": []}
    local = broker.broker.local_client("watch")
    broker.call(
        lambda: local.subscribe("+", lambda each: got[each.topic].append(bytes(each.payload)))
    )
    ends = [dial(broker, int(secure), tls=client_tls if secure else None) for _ in range(2)]
    for number, end in enumerate(ends, 1):
        end.send(connect_packet(f"c{number}"))
        end.expect_connack()
    packets = [publish_packet(str(number), b"%d" % number * 5_000) for number in (1, 2)]
    for at in range(0, len(packets[0]), 1_001):
        for end, packet in zip(ends, packets, strict=True):
            end.send(packet[at : at + 1_001])
    for end in ends:
        end.send(b"\xc0\x00")
        assert end.read(2) == b"\xd0\x00"
    assert got == {"1": [b"1" * 5_000], "2": [b"2" * 5_000]}


def test_a_large_message_over_tls(
    start_broker: Callable[..., BrokerThread], authority: Authority, server_tls: ssl.SSLContext
) -> None:
    broker = start_broker(Listener(port=0, tls=server_tls))
    with Paho("a", V4) as client:
        client.client.tls_set(ca_certs=str(authority.file))
        client.connect("127.0.0.1", broker.port)
        client.subscribe("big", 1)
        payload = bytes(range(256)) * 6_000
        client.publish("big", payload, 1)
        assert client.take().payload == payload


@pytest.mark.parametrize("secure", [False, True])
def test_a_packet_that_is_read_into_its_place(
    start_broker: Callable[..., BrokerThread],
    dial: Dial,
    server_tls: ssl.SSLContext,
    client_tls: ssl.SSLContext,
    *,
    secure: bool,
) -> None:
    broker = start_broker(Listener(port=0, tls=server_tls if secure else None))
    got: list[bytes] = []
    local = broker.broker.local_client("watch")
    broker.call(lambda: local.subscribe("big", lambda each: got.append(bytes(each.payload))))
    end = dial(broker, tls=client_tls if secure else None)
    end.send(connect_packet("a"))
    end.expect_connack()
    payload = bytes(range(250)) * 5_000
    packet = encode_packet(Publish("big", payload), 4)
    counters = broker.broker.counters
    before, begun = counters.bytes_received, len(packet) // 2
    end.send(packet[:begun])
    until(lambda: counters.bytes_received - before == begun)
    end.send(packet[begun:] + packet + b"\xc0\x00")
    assert end.read(2) == b"\xd0\x00"
    assert got == [payload, payload]
    assert counters.bytes_received - before == 2 * len(packet) + 2
