import asyncio
import datetime
import ipaddress
import socket
import ssl
import stat
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import broker as package
from broker import AllowAll, Broker, BrokerError, Credentials, Identity, Listener, Refusal
from tests.integration.broker.conftest import BrokerThread
from tests.paho_client import V4, V5, Paho


def make_certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    certificate_path, key_path = folder / "cert.pem", folder / "key.pem"
    certificate_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate_path, key_path


class ByListener(AllowAll):
    """Names clients after the listener they came in by."""

    async def authenticate(self, credentials: Credentials) -> Identity | Refusal:
        return Identity(f"{credentials.listener} {credentials.peer}", credentials.client_id)


def test_tcp_tls_and_unix_socket_at_once(
    start_broker: Callable[..., BrokerThread], tmp_path: Path
) -> None:
    certificate, key = make_certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    path = tmp_path / "mqtt.sock"
    broker = start_broker(
        Listener(port=0, name="plain"),
        Listener(port=0, tls=context, name="tls"),
        Listener(path=path, name="inside"),
        authenticator=ByListener(),
    )
    plain, secure, unix = broker.broker.addresses
    assert isinstance(plain, tuple)
    assert isinstance(secure, tuple)
    assert unix == path
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    tls_client = Paho("t", V5)
    tls_client.client.tls_set(ca_certs=str(certificate))
    with Paho("p", V4) as tcp, tls_client, Paho("u", V4, transport="unix") as inside:
        tcp.connect(*plain)
        tls_client.connect(*secure)
        inside.connect(path)
        tls_client.subscribe("a", 1)
        payload = b"x" * 300_000
        tcp.publish("a", payload, 1)
        inside.publish("a", b"unix", 1)
        assert tls_client.take().payload == payload
        assert tls_client.take().payload == b"unix"
        assert broker.call(broker.broker.connected) == {
            "plain 127.0.0.1",
            "tls 127.0.0.1",
            "inside ",
        }
    broker.stop()
    assert not path.exists()


def test_a_taken_address_is_named_and_nothing_stays_open(tmp_path: Path) -> None:
    async def run() -> None:
        policy = AllowAll()
        path = tmp_path / "s"
        first = Broker([Listener(port=0), Listener(path=path)], policy, policy)
        await first.start()
        address = first.addresses[0]
        assert isinstance(address, tuple)
        for listener, where in (
            (Listener(port=address[1]), f"127.0.0.1:{address[1]}"),
            (Listener(path=path), str(path)),
        ):
            second = Broker([Listener(port=0), listener], policy, policy)
            with pytest.raises(BrokerError) as caught:
                await second.start()
            assert str(caught.value) == f"cannot listen on {where}: address already in use"
            assert second.addresses == ()
        assert path.exists()
        await first.stop()

    asyncio.run(run())


def test_a_socket_left_behind_is_replaced(
    start_broker: Callable[..., BrokerThread], tmp_path: Path
) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    start_broker(Listener(path=path))
    with Paho("u", V4, transport="unix") as client:
        client.connect(path)


def test_a_stopped_broker_can_start_again() -> None:
    async def run() -> None:
        policy = AllowAll()
        broker = Broker([Listener(port=0)], policy, policy)
        for _ in range(2):
            await broker.start()
            assert len(broker.addresses) == 1
            await broker.stop()

    asyncio.run(run())


def test_the_example_in_the_package_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert package.__doc__ is not None
    example = textwrap.dedent(package.__doc__.split("\n", 1)[1])
    assert "port=1883" in example
    example = example.replace("port=1883", "port=0")
    example = example.replace("asyncio.Event().wait()", "asyncio.sleep(0)")
    code = compile(example, "example", "exec")
    exec(code, {"__name__": "example"})
    assert "listening on ('127.0.0.1'" in capsys.readouterr().out
    body = [line for line in example.splitlines() if line.strip()]
    assert len([line for line in body if "import" not in line]) <= 10
