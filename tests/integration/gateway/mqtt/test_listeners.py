"""The gateway's broker with listeners of every kind."""

import socket
import ssl
from pathlib import Path

from tests.integration.broker.access.certificates import Authority
from tests.system import Gateway

CONNECT = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01a"
CONNACK = b"\x20\x02\x00\x00"


def test_it_has_tls_websocket_and_proxy_listeners(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.sign("gateway")
    listener = f"""[
        {{address = "127.0.0.1:0"}},
        {{address = "127.0.0.1:0", certificate = "{certificate}", key = "{key}"}},
        {{address = "127.0.0.1:0", websocket = true}},
        {{address = "127.0.0.1:0", proxies = ["127.0.0.1"]}},
        {{path = "{tmp_path}/mqtt.sock"}},
    ]"""
    gateway = Gateway(
        tmp_path / "state",
        HECATE_GATEWAY_BROKER_LISTENER=listener,
        HECATE_GATEWAY_BROKER_PORT="1883",
        HECATE_GATEWAY_BROKER_ANONYMOUS="loopback",
    )
    with gateway.program:
        listeners = gateway.status()["broker"]["listeners"]
        plain, tls, websocket, proxied = (int(each.rpartition(":")[2]) for each in listeners)
        assert ask(plain, CONNECT) == CONNACK
        assert ask(proxied, b"PROXY TCP4 127.0.0.9 127.0.0.1 1 2\r\n" + CONNECT) == CONNACK
        assert ask(websocket, b"GET /mqtt HTTP/1.1\r\n\r\n").startswith(b"HTTP")
        context = ssl.create_default_context(cafile=authority.file)
        context.check_hostname = False
        with (
            socket.create_connection(("127.0.0.1", tls)) as connection,
            context.wrap_socket(connection) as secure,
        ):
            secure.sendall(CONNECT)
            assert secure.recv(4) == CONNACK


def ask(port: int, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(data)
        return connection.recv(4)
