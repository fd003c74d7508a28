import datetime
import ipaddress
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from tests.programs import until
from tests.system import Gateway


def make_certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gateway")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pems = folder / "cert.pem", folder / "key.pem"
    pems[0].write_bytes(certificate.public_bytes(Encoding.PEM))
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    pems[1].write_bytes(private)
    return pems


def test_devices_connect_over_tls(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    settings = {
        "HECATE_GATEWAY_BROKER_TLS_CERT": str(certificate),
        "HECATE_GATEWAY_BROKER_TLS_KEY": str(key),
        "HECATE_GATEWAY_BROKER_TLS_PORT": "0",
        "HECATE_GATEWAY_BROKER_ANONYMOUS": "loopback",
    }
    with Gateway(tmp_path / "state", **settings) as gateway:
        plain, secure = gateway.status()["broker"]["listeners"]
        assert plain.endswith(f":{gateway.mqtt_port}")
        client = paho.Client(CallbackAPIVersion.VERSION2, "secure")
        client.tls_set_context(ssl.create_default_context(cafile=certificate))
        client.connect("127.0.0.1", int(secure.rpartition(":")[2]))
        client.loop_start()
        until(client.is_connected, "connected over TLS")
        client.disconnect()
        client.loop_stop()
