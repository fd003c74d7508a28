"""The broker's last packet arrives, also at a client that goes on sending."""

import socket
import ssl
from collections.abc import Callable

import pytest

from broker import Limits, Listener
from broker.net.connection import LINGER_BYTES
from broker.wire import decode_packet, encode_packet
from broker.wire.packets import MQTT_5, Connect, Disconnect
from broker.wire.reasons import Reason
from tests.integration.broker.conftest import BrokerThread
from tests.integration.broker.net.conftest import Raw, connect_packet
from tests.programs import until

Dial = Callable[..., Raw]
Start = Callable[..., BrokerThread]

FAULT = b"\x36\x05\x00\x01a\x00\x01"  # a PUBLISH of QoS 3
MORE_BYTES = 2_000_000  # sent after the fault; more than the kernel's buffers take at first


@pytest.mark.parametrize("secure", [False, True])
def test_a_disconnect_reaches_a_client_that_goes_on_sending(
    start_broker: Start,
    dial: Dial,
    server_tls: ssl.SSLContext,
    client_tls: ssl.SSLContext,
    *,
    secure: bool,
) -> None:
    broker = start_broker(Listener(port=0), Listener(port=0, tls=server_tls))
    client = dial(broker, int(secure), tls=client_tls if secure else None)
    client.send(encode_packet(Connect("c", MQTT_5), MQTT_5))
    until(lambda: broker.broker.connected() == {"c"})
    client.send(FAULT)
    for _ in range(40):
        client.send(bytes(MORE_BYTES // 40))
    received = client.read_to_end()
    connack, used = decode_packet(received, MQTT_5) or (None, 0)
    assert connack is not None
    found = decode_packet(received[used:], MQTT_5)
    assert found is not None
    assert isinstance(found[0], Disconnect)
    assert found[0].reason == Reason.MALFORMED_PACKET


def test_a_client_that_never_closes_is_not_waited_for(start_broker: Start, dial: Dial) -> None:
    broker = start_broker(limits=Limits(close_timeout_s=0.5))
    client = dial(broker, first=connect_packet("c"))
    client.expect_connack()
    client.send(FAULT)
    assert client.read_to_end() == b""
    until(lambda: broker.broker.counters.connections == 0)


def test_input_of_a_client_that_never_stops_is_ignored(start_broker: Start, dial: Dial) -> None:
    broker = start_broker()
    client = dial(broker, first=connect_packet("c"))
    client.expect_connack()
    client.send(FAULT)
    client.socket.shutdown(socket.SHUT_RD)
    with pytest.raises(OSError, match=r"reset|Broken pipe"):
        client.send(bytes(4 * LINGER_BYTES))
    until(lambda: broker.broker.counters.connections == 0)
