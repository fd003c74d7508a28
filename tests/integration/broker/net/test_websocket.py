import json
import ssl
import subprocess
from collections.abc import Callable

import pytest

from broker import Limits, Listener
from tests.integration.broker.access.certificates import Authority
from tests.integration.broker.clients.with_mqttjs import install
from tests.integration.broker.conftest import BrokerThread
from tests.integration.broker.net.conftest import (
    CONNACK,
    WAIT_S,
    Raw,
    connect_packet,
    publish_packet,
)
from tests.paho_client import V4, V5, Paho
from tests.programs import until
from tests.unit.broker.net.frames import BINARY, CLOSE, PING, TEXT, frame, handshake

Start = Callable[..., BrokerThread]
Dial = Callable[..., Raw]

MQTT_JS = """
const { createRequire } = require("node:module");
const [folder, url, version, ca] = process.argv.slice(1);
const mqtt = createRequire(folder + "/")("mqtt");
const client = mqtt.connect(url, { protocolVersion: +version, reconnectPeriod: 0,
  ...(ca && { ca: require("node:fs").readFileSync(ca) }) });
const want = Buffer.alloc(200000, "js");
let count = 0;
client.on("error", (error) => { console.error(error); process.exit(1); });
client.on("message", (topic, payload) => {
  if (!payload.equals(want)) process.exit(2);
  if (++count === 3) client.end(false, () => console.log(JSON.stringify({ topic, count })));
});
client.on("connect", async () => {
  await client.subscribeAsync("from/#", { qos: 1 });
  for (let number = 0; number < 3; number++) await client.publishAsync("from/js", want, { qos: 1 });
});
"""


def open_websocket(raw: Raw) -> None:
    raw.send(handshake())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += raw.read(1)
    assert head.startswith(b"HTTP/1.1 101 ")


@pytest.mark.parametrize("version", [V4, V5])
def test_paho_over_websocket_and_secure_websocket(
    start_broker: Start, authority: Authority, server_tls: ssl.SSLContext, version: int
) -> None:
    broker = start_broker(
        Listener(port=0, websocket=True),
        Listener(port=0, websocket=True, tls=server_tls),
    )
    (plain, secure) = broker.broker.addresses
    assert isinstance(plain, tuple)
    assert isinstance(secure, tuple)
    with (
        Paho("ws", V4 if version == V4 else V5, transport="websockets") as ws,
        Paho("wss", V4 if version == V4 else V5, transport="websockets") as wss,
    ):
        ws.connect(*plain)
        wss.client.tls_set(ca_certs=str(authority.file))
        wss.connect(*secure)
        wss.subscribe("a/#", 1)
        payload = bytes(range(256)) * 2_000
        for number in range(20):
            ws.publish("a/b", b"%d" % number, 1)
        ws.publish("a/b", payload, 1)
        assert [wss.take().payload for _ in range(20)] == [b"%d" % n for n in range(20)]
        assert wss.take().payload == payload
        assert broker.call(lambda: broker.broker.is_connected("wss"))
    until(lambda: broker.broker.counters.connections == 0)
    assert not broker.call(lambda: dict(broker.broker.counters.refused))


# case G20
def test_one_port_for_plain_mqtt_and_websocket(
    start_broker: Start, authority: Authority, server_tls: ssl.SSLContext
) -> None:
    broker = start_broker(
        Listener(port=0, websocket=True, plain_too=True),
        Listener(port=0, websocket=True, plain_too=True, tls=server_tls),
    )
    (plain, secure) = broker.broker.addresses
    assert isinstance(plain, tuple)
    assert isinstance(secure, tuple)
    payload = bytes(range(256)) * 2_000
    with (
        Paho("tcp", V5) as tcp,
        Paho("ws", V4, transport="websockets") as ws,
        Paho("tls", V4) as tls,
        Paho("wss", V5, transport="websockets") as wss,
    ):
        tls.client.tls_set(ca_certs=str(authority.file))
        wss.client.tls_set(ca_certs=str(authority.file))
        for client, address in ((tcp, plain), (ws, plain), (tls, secure), (wss, secure)):
            client.connect(*address)
            client.subscribe("a/#", 1)
        for number, sender in enumerate((tcp, ws, tls, wss)):
            sender.publish("a/b", payload[number:], 1)
            for receiver in (tcp, ws, tls, wss):
                assert receiver.take().payload == payload[number:]
    until(lambda: broker.broker.counters.connections == 0)
    assert not broker.call(lambda: dict(broker.broker.counters.refused))


@pytest.mark.parametrize(("scheme", "version"), [("ws", 4), ("ws", 5), ("wss", 5)])
def test_mqtt_js(
    start_broker: Start,
    authority: Authority,
    server_tls: ssl.SSLContext,
    scheme: str,
    version: int,
) -> None:
    folder = install()
    tls = server_tls if scheme == "wss" else None
    broker = start_broker(Listener(port=0, websocket=True, tls=tls))
    url = f"{scheme}://127.0.0.1:{broker.port}/mqtt"
    done = subprocess.run(
        ["node", "-e", MQTT_JS, str(folder), url, str(version), str(authority.file)],
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"topic": "from/js", "count": 3}


# [MQTT-6.0.0-2]
def test_packets_and_frames_are_cut_alike_or_not(start_broker: Start, dial: Dial) -> None:
    broker = start_broker(Listener(port=0, websocket=True))
    raw = dial(broker)
    open_websocket(raw)
    connect = connect_packet("raw")
    for byte in connect[:-1]:
        raw.send(frame(BINARY, bytes([byte])))
    raw.send(frame(BINARY, connect[-1:] + b"\xc0\x00") + frame(PING, b"!") + frame(BINARY, b"\xc0"))
    raw.send(frame(BINARY, b"\x00"))
    pong, answers = frame(0x0A, b"!", masked=False), CONNACK + b"\xd0\x00\xd0\x00"
    received = b""
    while len(received.replace(pong, b"").replace(b"\x82", b"")) < len(answers) + 1:
        received += raw.read(1)
    assert pong in received
    raw.send(frame(CLOSE, b"\x03\xe8"))
    assert raw.read_to_end().endswith(frame(CLOSE, b"\x03\xe8", masked=False))
    until(lambda: broker.broker.counters.connections == 0)


# [MQTT-6.0.0-1]
def test_a_text_frame_closes_that_connection(start_broker: Start, dial: Dial) -> None:
    broker = start_broker(Listener(port=0, websocket=True))
    raw = dial(broker)
    open_websocket(raw)
    raw.send(frame(TEXT, connect_packet("raw")))
    assert raw.read_to_end()[:4] == b"\x88\x10\x03\xeb"  # 1003
    until(lambda: broker.broker.counters.connections == 0)
    assert broker.broker.counters.refused["websocket_text"] == 1


def test_another_path_is_not_found(start_broker: Start, dial: Dial) -> None:
    broker = start_broker(Listener(port=0, websocket=True))
    raw = dial(broker)
    raw.send(handshake("/"))
    assert raw.read_to_end().startswith(b"HTTP/1.1 404 ")
    assert broker.broker.counters.refused["websocket_handshake"] == 1


def test_mqtt_fault_is_answered_by_a_close_frame(start_broker: Start, dial: Dial) -> None:
    broker = start_broker(Listener(port=0, websocket=True), limits=Limits(close_timeout_s=0.1))
    raw = dial(broker)
    open_websocket(raw)
    raw.send(frame(BINARY, connect_packet("raw")))
    assert raw.read(6) == frame(BINARY, CONNACK, masked=False)
    raw.send(frame(BINARY, b"\x00\x00"))
    assert raw.read(4) == b"\x88\x02\x03\xe8"
    raw.send(frame(BINARY, b"\xc0\x00"))  # too late
    assert raw.read_to_end() == b""  # the broker does not wait for ever
    until(lambda: broker.broker.counters.connections == 0)


def test_a_long_frame_before_connect_is_not_waited_for(start_broker: Start, dial: Dial) -> None:
    broker = start_broker(Listener(port=0, websocket=True), limits=Limits(connect_bytes=1_000))
    raw = dial(broker)
    open_websocket(raw)
    raw.send(frame(BINARY, b"\x10" * 1_500_000)[:5_000])
    assert raw.read_to_end() == b""
    assert broker.broker.counters.refused["connect_bytes"] == 1


def test_frames_in_pieces_do_not_mix(start_broker: Start, dial: Dial) -> None:
    broker = start_broker(Listener(port=0, websocket=True))
    got: list[bytes] = []
    local = broker.broker.local_client("watch")
    broker.call(lambda: local.subscribe("+", lambda each: got.append(bytes(each.payload))))
    ends = [dial(broker) for _ in range(2)]
    streams = []
    for number, end in enumerate(ends):
        open_websocket(end)
        end.send(frame(BINARY, connect_packet(f"c{number}")))
        assert end.read(6) == frame(BINARY, CONNACK, masked=False)
        streams.append(frame(BINARY, publish_packet("t", b"%d" % number * 5_000)))
    for at in range(0, len(streams[0]), 900):
        for end, stream in zip(ends, streams, strict=True):
            end.send(stream[at : at + 900])
    until(lambda: len(got) == 2)
    assert sorted(got) == [b"0" * 5_000, b"1" * 5_000]


def test_a_peer_that_pings_and_reads_nothing_gets_no_more_pongs(
    start_broker: Start, dial: Dial
) -> None:
    limit = 100_000
    broker = start_broker(Listener(port=0, websocket=True), limits=Limits(output_bytes=limit))
    raw = dial(broker)
    open_websocket(raw)
    raw.send(frame(BINARY, connect_packet("raw")))
    pings = frame(PING, b"p" * 125) * 1_000
    for _ in range(100):  # 13 MB: more than the kernel keeps
        raw.send(pings)
    until(lambda: broker.call(lambda: broker.broker.unread_bytes) > 0)
    # of one read more at most
    assert broker.call(lambda: broker.broker.unread_bytes) <= limit + 300_000


# case G6
@pytest.mark.parametrize(("known_only", "status"), [(True, b"403"), (False, b"101")])
def test_a_name_bound_to_this_machine_opens_nothing_without_a_password(
    start_broker: Start, dial: Dial, status: bytes, *, known_only: bool
) -> None:
    broker = start_broker(Listener(port=0, websocket=True, known_hosts_only=known_only))
    raw = dial(broker)
    raw.send(handshake(Host="evil.example", Origin="http://evil.example"))
    assert raw.read(12) == b"HTTP/1.1 " + status
