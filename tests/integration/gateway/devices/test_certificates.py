"""Devices with client certificates, made by the gateway's own authority."""

import json
import ssl
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from gateway.cli.keys.make import make_keys
from tests import aio
from tests.integration.gateway.devices.test_boards_over_tls import play, secure_board
from tests.mqtt_peer import Mqtt
from tests.programs import until
from tests.system import Gateway
from web.tls import authority


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Give a gateway with TLS that makes certificates for devices."""
    folder = tmp_path_factory.mktemp("secure")
    make_keys(folder / "tls", [], [], as_json=True)
    environ = {
        "HECATE_GATEWAY_BROKER_TLS_CERT": str(folder / "tls/gateway.crt"),
        "HECATE_GATEWAY_BROKER_TLS_KEY": str(folder / "tls/gateway.key"),
        "HECATE_GATEWAY_BROKER_TLS_PORT": "0",
        "HECATE_GATEWAY_DEVICES_CERTIFICATES": "true",
    }
    with Gateway(folder / "node", **environ) as gateway:
        yield gateway


def tls_port(gateway: Gateway) -> int:
    plain, encrypted = gateway.status()["broker"]["listeners"]
    assert plain.endswith(f":{gateway.mqtt_port}")
    return int(encrypted.rpartition(":")[2])


def trust(gateway: Gateway, certificate: str = "", key: str = "") -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=gateway.state.parent / "tls/authority.crt")
    if certificate:
        file = gateway.state.parent / "client.pem"
        file.write_text(certificate + key)
        context.load_cert_chain(file)
    return context


def join(gateway: Gateway, board: str, *, encrypted: bool = True, **wish: Any) -> dict[str, Any]:
    port = tls_port(gateway) if encrypted else gateway.mqtt_port
    tls = trust(gateway) if encrypted else None
    with Mqtt(port, "claim", gateway.claim(), board, tls=tls) as peer:
        assert peer.is_in, peer.reason
        assert peer.subscribe(f"$hec/join/{board}/response")
        request = {"name": board, "model": "paho", **wish}
        peer.publish(f"$hec/join/{board}/request", request)
        answer: dict[str, Any] = until(peer.payloads, "the gateway answers")[0]
        return answer


def log_in(gateway: Gateway, answer: dict[str, Any], key: str = "", **login: str) -> Mqtt:
    context = trust(gateway, answer["certificate"], key or answer.get("key", ""))
    port, device_id = tls_port(gateway), answer["device_id"]
    return Mqtt(port, login.get("user"), login.get("password"), device_id, tls=context)


def test_a_certificate_logs_its_device_in_without_a_password(secure: Gateway) -> None:
    answer = join(secure, "with-key", certificate=True)
    with log_in(secure, answer) as device:
        assert device.is_in, device.reason
        assert device.publish(f"{answer['prefix']}/status", "online", retain=True)
        assert not device.subscribe("devices/#")
    device_of = secure.call("GET", f"/devices/v1/devices/{answer['device_id']}")
    assert device_of["certificate"]["ends_at"] > device_of["joined_at"] + 800 * 86400
    assert answer["key"] not in str(secure.status())
    with log_in(secure, answer, user=answer["device_id"]) as named:
        assert named.is_in


def test_the_key_may_stay_on_the_device(secure: Gateway) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "whatever")])
    csr = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, SHA256())
    answer = join(secure, "own-key", csr=csr.public_bytes(Encoding.PEM).decode())
    assert "key" not in answer
    own = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    with log_in(secure, answer, own) as device:
        assert device.is_in


def test_a_bad_request_for_a_certificate_says_why(secure: Gateway) -> None:
    assert "csr is not a certificate request" in join(secure, "bad", csr="x")["error"]
    key = ec.generate_private_key(ec.SECP384R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    csr = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, SHA256())
    answer = join(secure, "curve", csr=csr.public_bytes(Encoding.PEM).decode())
    assert "P-256" in answer["error"]


def test_a_key_never_travels_without_tls(secure: Gateway) -> None:
    answer = join(secure, "plain", encrypted=False, certificate=True)
    assert "password" in answer
    assert not {"key", "certificate"} & set(answer)


def test_a_revoked_device_cannot_use_its_certificate(secure: Gateway) -> None:
    answer = join(secure, "revoked", certificate=True)
    with log_in(secure, answer) as device:
        assert device.is_in
        secure.ask("POST", f"/devices/v1/devices/{answer['device_id']}/revoke").raise_for_status()
        assert device.lost.wait(5)
    with log_in(secure, answer) as again:
        assert not again.is_in


def test_the_certificate_of_one_device_opens_no_other(secure: Gateway) -> None:
    answer, other = join(secure, "mine", certificate=True), join(secure, "other")
    with log_in(secure, answer, user=other["device_id"]) as thief:
        assert not thief.is_in
    with log_in(secure, answer | {"device_id": other["device_id"]}) as thief:
        assert not thief.is_in  # the client id of another device


def test_a_new_certificate_is_for_the_same_key(secure: Gateway) -> None:
    answer = join(secure, "renewed", certificate=True)
    path = f"/devices/v1/devices/{answer['device_id']}"
    with log_in(secure, answer) as device:
        topic = f"$hec/devices/{answer['device_id']}/credentials"
        assert device.subscribe(topic)
        secure.call("POST", f"{path}/rotate")
        new = until(lambda: device.payloads(topic), "new credentials")[0]
    assert "key" not in new
    assert new["certificate"] != answer["certificate"]
    with log_in(secure, answer) as old:  # good until the new one was used once
        assert old.is_in
    with log_in(secure, new, answer["key"]) as device:
        assert device.is_in
    with log_in(secure, answer) as old:
        assert not old.is_in


def test_the_authority_is_private_and_stays(secure: Gateway) -> None:
    key = secure.state / "devices-authority.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    answer = join(secure, "restart", certificate=True)
    before = key.read_bytes()
    secure.program.kill()
    secure.start()
    assert key.read_bytes() == before
    with log_in(secure, answer) as device:
        assert device.is_in


def come_back_with(secure: Gateway, folder: Path, changes: dict[str, Any]) -> dict[str, str]:
    """Let a board join, change its credentials while it is off, and see it online again."""
    ca = (secure.state.parent / "tls/authority.crt").read_bytes()
    board = secure_board(folder, tls_port(secure), secure.claim(), {"ca.crt": ca})
    path = board.directory / "credentials.json"

    def credentials() -> dict[str, str]:
        return dict(json.loads(path.read_text()))

    def is_online() -> bool:
        device = secure.call("GET", f"/devices/v1/devices/{credentials()['device_id']}")
        return bool(device["online"])

    async def script() -> None:
        await aio.until(path.exists, "it joins")
        await aio.until(is_online, "it is online")
        await board.stop()
        await aio.until(lambda: not is_online(), "it is away")
        path.write_text(json.dumps(credentials() | changes))
        await board.start()
        await aio.until(is_online, "it is online again")

    play(board, script)
    return credentials()


def test_a_board_gets_a_certificate_and_uses_it(secure: Gateway, tmp_path: Path) -> None:
    replaced = come_back_with(secure, tmp_path / "attic", {"password": "no longer the right one"})
    assert "PRIVATE KEY" in replaced["key"]


def test_a_board_uses_a_new_certificate_with_the_key_that_it_has(
    secure: Gateway, tmp_path: Path
) -> None:
    ca = (secure.state.parent / "tls/authority.crt").read_bytes()
    board = secure_board(tmp_path / "loft", tls_port(secure), secure.claim(), {"ca.crt": ca})
    credentials = board.directory / "credentials.json"

    def stored() -> dict[str, str]:
        return dict(json.loads(credentials.read_text()))

    def shown() -> dict[str, Any]:
        return dict(secure.call("GET", f"/devices/v1/devices/{stored()['device_id']}"))

    async def script() -> None:
        await aio.until(credentials.exists, "it joins")
        await aio.until(lambda: shown()["online"], "it is online")
        before = stored()
        secure.call("POST", f"/devices/v1/devices/{before['device_id']}/rotate")
        await aio.until(lambda: not shown()["token"]["is_new_waiting"], "it uses its new token")
        assert stored()["certificate"] != before["certificate"]
        assert stored()["key"] == before["key"]
        await board.stop()
        await aio.until(lambda: not shown()["online"], "it is away")
        credentials.write_text(json.dumps(stored() | {"password": "no longer the right one"}))
        await board.start()
        await aio.until(lambda: shown()["online"], "it is online by its new certificate")

    play(board, script)


@pytest.mark.parametrize("spoiled", ["key", "certificate", "text", "type"])
def test_a_board_with_a_spoiled_key_or_certificate_uses_its_token(
    secure: Gateway, tmp_path: Path, spoiled: str
) -> None:
    other: dict[str, dict[str, Any]] = {
        "key": {"key": authority.encode_key(authority.new_key()).decode()},
        "certificate": {"certificate": "-----BEGIN X-----\nAAAA\n-----END X-----\n"},
        "text": {"certificate": "-----BEGIN X-----\nA\n-----END X-----\n"},
        "type": {"key": 5},
    }
    come_back_with(secure, tmp_path / "cellar", other[spoiled])
