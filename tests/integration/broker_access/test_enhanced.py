"""SCRAM-SHA-256 and tokens by AUTH, against `hecate broker` with its files."""

import json
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from broker.access.tokens import LEEWAY_S
from broker.packets import MQTT_5, Auth, ConnAck, Connect, Disconnect, Packet, PingReq, PingResp
from broker.properties import Properties
from broker.reasons import Reason
from broker.wire import decode_packet, encode_packet
from tests.integration.broker_access.conftest import ALONE, Alone, rights
from tests.programs import HECATE, PATIENCE, run
from tests.scram import prove

Start = Callable[..., Alone]
Dial = Callable[[int], "Wire"]

SCRAM, BEARER = "SCRAM-SHA-256", "OAUTHBEARER"
FIRST = b"n,,n=anna,r=fyko+d2lbbFgONRv9qkxdawL"


class Wire:
    """An MQTT 5 client that can only read and write packets."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 10 * PATIENCE)
        self._received = b""

    def send(self, packet: Packet) -> None:
        self.socket.sendall(encode_packet(packet, MQTT_5))

    def read(self) -> Packet:
        while True:
            decoded = decode_packet(self._received, MQTT_5)
            if decoded is not None:
                self._received = self._received[decoded[1] :]
                return decoded[0]
            chunk = self.socket.recv(65_536)
            assert chunk, "closed"
            self._received += chunk

    def ask(self, packet: Packet) -> Packet:
        self.send(packet)
        return self.read()

    def log_in(self, password: str) -> tuple[Packet, bytes]:
        """Return the last answer, and what it has to prove."""
        challenge = self.ask(connect(SCRAM, FIRST))
        return self._prove(challenge, password)

    def log_in_again(self, password: str) -> tuple[Packet, bytes]:
        challenge = self.ask(auth(SCRAM, FIRST, Reason.RE_AUTHENTICATE))
        return self._prove(challenge, password)

    def _prove(self, challenge: Packet, password: str) -> tuple[Packet, bytes]:
        assert isinstance(challenge, Auth)
        assert challenge.reason == Reason.CONTINUE_AUTHENTICATION
        assert challenge.properties.authentication_method == SCRAM
        assert challenge.properties.authentication_data is not None
        final, signature = prove(challenge.properties.authentication_data, FIRST, password)
        return self.ask(auth(SCRAM, final)), signature


def connect(method: str, data: bytes) -> Connect:
    properties = Properties(authentication_method=method, authentication_data=data)
    return Connect("c", MQTT_5, properties=properties)


def auth(method: str, data: bytes, reason: Reason = Reason.CONTINUE_AUTHENTICATION) -> Auth:
    return Auth(reason, Properties(authentication_method=method, authentication_data=data))


def check_code(answer: Packet, code: Reason) -> None:
    assert isinstance(answer, ConnAck)
    assert answer.code == code


@pytest.fixture
def dial() -> Iterator[Dial]:
    opened: list[Wire] = []

    def dial(port: int) -> Wire:
        opened.append(Wire(port))
        return opened[-1]

    yield dial
    for each in opened:
        each.socket.close()


def test_scram_with_the_password_file(alone: Start, dial: Dial, tmp_path: Path) -> None:
    rights(tmp_path, "topic readwrite #\n")
    command = [*HECATE, "broker", "passwd", str(tmp_path / "passwords"), "anna", "--scram"]
    subprocess.run([*command, "--stdin"], input=b"pencil", check=True, timeout=60)
    assert "anna:$scram-sha-256$600000$" in (tmp_path / "passwords").read_text()
    broker = alone()

    client = dial(broker.port)
    answer, signature = client.log_in("pencil")
    check_code(answer, Reason.SUCCESS)
    assert isinstance(answer, ConnAck)
    assert answer.properties.authentication_data == signature
    assert client.ask(PingReq()) == PingResp()
    answer, signature = client.log_in_again("pencil")
    assert answer == auth(SCRAM, signature, Reason.SUCCESS)
    assert client.ask(PingReq()) == PingResp()

    answer, _ = dial(broker.port).log_in("pen")
    check_code(answer, Reason.NOT_AUTHORIZED)
    check_code(dial(broker.port).ask(connect("OTHER", b"")), Reason.BAD_AUTHENTICATION_METHOD)
    with broker.client("anna", "pencil") as plain:
        assert plain.connect("127.0.0.1", broker.port)[1] == "Success"

    client = dial(broker.port)
    client.log_in("pencil")
    answer, _ = client.log_in_again("pen")
    assert answer == Disconnect(Reason.NOT_AUTHORIZED)

    generated = run([*command, "--generate"]).strip()
    assert "anna:$scram-sha-256$4096$" in (tmp_path / "passwords").read_text()
    broker.reload()
    check_code(dial(broker.port).log_in("pencil")[0], Reason.NOT_AUTHORIZED)
    check_code(dial(broker.port).log_in(generated)[0], Reason.SUCCESS)


TOKENS = """
[access.tokens]
keys = "keys.json"
"""


def test_a_new_token_in_time_keeps_the_connection(alone: Start, dial: Dial, tmp_path: Path) -> None:
    rights(tmp_path, "topic readwrite #\n")
    key = ECKey.generate_key("P-256")
    (tmp_path / "keys.json").write_text(json.dumps(key.as_dict(private=False)))
    broker = alone(ALONE.replace('password_file = "passwords"\n', "") + TOKENS)

    def message(ttl_s: float) -> bytes:
        claims = {"sub": "anna", "exp": time.time() - LEEWAY_S + ttl_s}
        token = jwt.encode({"alg": "ES256"}, claims, key).encode()
        return b"n,,\x01auth=Bearer " + token + b"\x01\x01"

    client = dial(broker.port)
    check_code(client.ask(connect(BEARER, message(2))), Reason.SUCCESS)
    renewed = time.monotonic()
    answer = client.ask(auth(BEARER, message(6), Reason.RE_AUTHENTICATE))
    assert isinstance(answer, Auth)
    assert answer.reason == Reason.SUCCESS
    assert client.read() == Disconnect(Reason.MAXIMUM_CONNECT_TIME)
    assert time.monotonic() - renewed > 3.5  # the first token would have ended by then
    check_code(dial(broker.port).ask(connect(BEARER, message(-1))), Reason.NOT_AUTHORIZED)
