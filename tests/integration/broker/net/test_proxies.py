"""A permitted proxy names its client first, and the broker treats it as that client."""

import socket
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from broker import AllowAll, BrokerError, Credentials, Identity, Limits, Listener, Refusal
from broker.net.proxy_protocol import V2_SIGNATURE
from tests.integration.broker.conftest import BrokerThread
from tests.integration.broker.net.conftest import WAIT_S, Raw, connect_packet
from tests.peers import require
from tests.programs import until
from tests.unit.broker.net.frames import handshake

Start = Callable[..., BrokerThread]
Dial = Callable[..., Raw]

LOOPBACK = ("127.0.0.1/32",)
V1 = b"PROXY TCP4 203.0.113.7 10.0.0.1 5000 1883\r\n"
V2 = (
    V2_SIGNATURE
    + b"\x21\x11\x00\x0f"
    + bytes([198, 51, 100, 9, 10, 0, 0, 1, 1, 1, 2, 2])
    + b"\4\0\0"
)


class ByPeer(AllowAll):
    """Names clients after the address they came from."""

    async def authenticate(self, credentials: Credentials) -> Identity | Refusal:
        return Identity(credentials.peer, credentials.client_id)


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize(
    ("header", "peer"),
    [
        (V1, "203.0.113.7"),
        (V2, "198.51.100.9"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
        (V2_SIGNATURE + b"\x20\x00\x00\x00", "127.0.0.1"),
    ],
)
def test_the_peer_is_whom_the_proxy_speaks_for(
    start_broker: Start,
    dial: Dial,
    server_tls: ssl.SSLContext,
    client_tls: ssl.SSLContext,
    header: bytes,
    peer: str,
    *,
    secure: bool,
) -> None:
    broker = start_broker(
        Listener(port=0, proxies=LOOPBACK, tls=server_tls if secure else None),
        authenticator=ByPeer(),
    )
    if secure:
        raw = dial(broker, first=header, tls=client_tls)
        raw.send(connect_packet("a"))
    else:  # in one piece: what follows the header is not lost
        raw = dial(broker, first=header + connect_packet("a"))
    raw.expect_connack()
    assert broker.call(broker.broker.connected) == {peer}


def test_a_header_may_come_in_pieces(start_broker: Start, dial: Dial) -> None:
    broker = start_broker(Listener(port=0, proxies=LOOPBACK, websocket=True))
    raw = dial(broker)
    for byte in V2:
        raw.send(bytes([byte]))
    raw.send(handshake())
    assert raw.read(13) == b"HTTP/1.1 101 "


@pytest.mark.parametrize(
    "start",
    [
        connect_packet("a") + b"\xc0\x00" * 60,
        b"PROXY TCP4 nonsense\r\n",
        V2_SIGNATURE + b"\x21\x11\x00\x01x",
        handshake(),
    ],
)
def test_what_is_no_header_closes(start_broker: Start, dial: Dial, start: bytes) -> None:
    broker = start_broker(Listener(port=0, proxies=LOOPBACK))
    assert dial(broker, first=start).read_to_end() == b""
    assert broker.broker.counters.refused == {"proxy_header": 1}
    assert broker.broker.counters.connections_total == 0


def test_a_half_header_is_not_waited_for(start_broker: Start, dial: Dial) -> None:
    limits = Limits(connect_timeout_s=0.1, unauthenticated=1)
    broker = start_broker(Listener(port=0, proxies=LOOPBACK), limits=limits)
    raw = dial(broker, first=V1[:20])
    until(lambda: bool(broker.broker.counters.refused["proxy_header"]))
    assert raw.read_to_end() == b""
    raw = dial(broker, first=V1 + connect_packet("a"))  # its place is free again
    raw.expect_connack()


def test_others_than_the_proxies_are_refused(start_broker: Start, dial: Dial) -> None:
    broker = start_broker(Listener(port=0, proxies=("10.0.0.0/8", "127.0.0.2")))
    assert dial(broker, first=V1 + connect_packet("a")).read_to_end() == b""
    assert broker.broker.counters.refused == {"proxy_not_trusted": 1}
    dial(broker, first=V1 + connect_packet("a"), source="127.0.0.2").expect_connack()


def test_a_unix_socket_trusts_clients_that_may_open_it(
    start_broker: Start, dial: Dial, tmp_path: Path
) -> None:
    listener = Listener(path=tmp_path / "s", proxies=LOOPBACK)
    broker = start_broker(listener, authenticator=ByPeer())
    dial(broker, first=V1 + connect_packet("a")).expect_connack()
    assert broker.call(broker.broker.connected) == {"203.0.113.7"}


def test_without_proxies_a_header_is_no_mqtt(start_broker: Start, dial: Dial) -> None:
    broker = start_broker(Listener(port=0))
    assert dial(broker, first=V1 + connect_packet("a")).read_to_end() == b""
    assert broker.broker.counters.connections == 0


def test_proxies_that_are_no_networks_are_named(start_broker: Start) -> None:
    with pytest.raises(BrokerError, match=r"cannot listen on 127\.0\.0\.1:0: proxies: '10\.0\.0'"):
        start_broker(Listener(port=0, proxies=("10.0.0",)))


def test_clients_behind_a_proxy_are_counted_by_their_own_address(
    start_broker: Start, dial: Dial
) -> None:
    limits = Limits(connections_per_address=2)
    broker = start_broker(Listener(port=0, proxies=LOOPBACK), limits=limits)
    ends = [dial(broker, first=V1 + connect_packet(name)) for name in "ab"]
    for end in ends:
        end.expect_connack()
    assert dial(broker, first=V1 + connect_packet("c")).read_to_end() == b""
    assert broker.broker.counters.refused == {"connections_per_address": 1}
    dial(broker, first=V2 + connect_packet("d")).expect_connack()
    ends[0].socket.close()
    until(lambda: broker.broker.counters.connections == 2)
    dial(broker, first=V1 + connect_packet("e")).expect_connack()


@pytest.mark.parametrize("send", ["send-proxy", "send-proxy-v2"])
def test_haproxy(start_broker: Start, tmp_path: Path, send: str) -> None:
    haproxy = require("haproxy")
    broker = start_broker(Listener(port=0, proxies=LOOPBACK), authenticator=ByPeer())
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = tmp_path / "haproxy.cfg"
        config.write_text(
            "defaults\n mode tcp\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n"
            f"listen mqtt\n bind fd@{listening.fileno()}\n"
            f" server broker 127.0.0.1:{broker.port} {send}\n"
        )
        process = subprocess.Popen(
            [haproxy, "-db", "-q", "-f", str(config)], pass_fds=[listening.fileno()]
        )
        try:
            client = socket.create_connection(
                listening.getsockname(), WAIT_S, source_address=("127.0.0.9", 0)
            )
            with client:
                raw = Raw(client)
                raw.send(connect_packet("a"))
                raw.expect_connack()
                assert broker.call(broker.broker.connected) == {"127.0.0.9"}
        finally:
            process.terminate()
            process.wait(WAIT_S)
