import socket
from collections.abc import Callable

import pytest

from broker import AllowAll, BrokerError, Credentials, Identity, Listener, Refusal
from broker.listening import bind_tcp
from tests.integration.broker.conftest import BrokerThread
from tests.integration.broker_listeners.conftest import Raw, connect_packet

Start = Callable[..., BrokerThread]
Dial = Callable[..., Raw]


class ByListener(AllowAll):
    """Has one policy for each listener."""

    async def authenticate(self, credentials: Credentials) -> Identity | Refusal:
        if credentials.listener == "closed":
            return Refusal.NOT_AUTHORIZED
        name = f"{credentials.listener} {credentials.peer}"
        return Identity(name, f"{credentials.listener} {credentials.client_id}")


def test_ipv6(start_broker: Start) -> None:
    broker = start_broker(Listener(host="::1", port=0, name="six"), authenticator=ByListener())
    with socket.create_connection(("::1", broker.port)) as client:
        raw = Raw(client)
        raw.send(connect_packet("a"))
        raw.expect_connack()
        assert broker.call(broker.broker.connected) == {"six ::1"}
    with pytest.raises(BrokerError) as caught:
        start_broker(Listener(host="::1", port=broker.port))
    assert str(caught.value) == f"cannot listen on [::1]:{broker.port}: address already in use"


def test_a_host_with_several_addresses_listens_on_all(start_broker: Start) -> None:
    broker = start_broker(Listener(host="", port=0))
    assert broker.broker.all_addresses == ((("0.0.0.0", broker.port), ("::", broker.port)),)
    for address in ("127.0.0.1", "::1"):
        with socket.create_connection((address, broker.port)) as client:
            raw = Raw(client)
            raw.send(connect_packet(address))
            raw.expect_connack()


def test_listeners_have_policies_of_their_own(start_broker: Start, dial: Dial) -> None:
    broker = start_broker(
        Listener(port=0, name="open"),
        Listener(port=0, name="closed"),
        Listener(port=0, name="other"),
        authenticator=ByListener(),
    )
    ends = [dial(broker, number, first=connect_packet("same")) for number in range(3)]
    ends[0].expect_connack()
    ends[2].expect_connack()  # of another name: takes nothing over
    assert ends[1].read_to_end() == b"\x20\x02\x00\x05"
    assert broker.call(broker.broker.connected) == {"open 127.0.0.1", "other 127.0.0.1"}


def test_a_name_that_is_none_is_said_so(start_broker: Start) -> None:
    with pytest.raises(BrokerError, match=r"cannot listen on no\.such\.invalid:0: "):
        start_broker(Listener(host="no.such.invalid", port=0))
    with pytest.raises(BrokerError) as caught:
        start_broker(Listener(host="203.0.113.77", port=0))
    assert str(caught.value) == "cannot listen on 203.0.113.77:0: cannot assign requested address"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_small_answers_are_sent_at_once(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    (listening,) = bind_tcp([(family, host)], 0)
    with listening, socket.create_connection(listening.getsockname()[:2]):
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
