"""Boards in the real interpreter that join a real gateway over its TLS listener."""

import asyncio
import datetime
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hardware.simulated import DeviceSettings, SimulatedBoard
from settings.secret import Secret
from tests import aio
from tests.certificates import Files, make_authority
from tests.integration.gateway.devices.test_boards import PLAIN
from tests.mqtt_peer import Mqtt
from tests.ports import free_port
from tests.system import Gateway
from web.tls import authority

LATER = datetime.timedelta(days=300)


class TlsGateway(Gateway):
    """A gateway with the listeners of a configuration file."""

    def command(self) -> tuple[str, ...]:
        """Return what is started."""
        return (*super().command(), str(self.state.with_suffix(".toml")))

    def start(self) -> None:
        """Start the program without what the environment says of its listener."""
        self.environ.pop("HECATE_GATEWAY_BROKER_PORT", None)
        super().start()


def tls_gateway(state: Path, files: Files, required: str = "no") -> tuple[Gateway, int]:
    """Return a gateway with a TLS listener for devices, and that listener's port."""
    port = free_port()
    state.with_suffix(".toml").write_text(
        f"""
[[broker.listener]]
address = "127.0.0.1:0"

[[broker.listener]]
address = "127.0.0.1:{port}"
certificate = "{files.cert}"
key = "{files.key}"
client_certificates = "{required}"
{"" if required == "no" else f'client_ca = "{files.ca}"'}
"""
    )
    return TlsGateway(state), port


def secure_board(
    directory: Path, port: int, claim: str, certificates: dict[str, bytes], **more: object
) -> SimulatedBoard:
    """Return a board with a claim token and the given files on its flash."""
    directory.mkdir()
    for name, content in certificates.items():
        (directory / name).write_bytes(content)
    main = directory.with_name(f"{directory.name}.py")
    main.write_text(PLAIN)
    quick = {"tls": True, "retry_first_s": 0.05, "retry_cap_s": 0.2, "refused_cap_s": 0.2} | more
    settings = DeviceSettings(
        directory.name, "simulated", "127.0.0.1", port, Secret(claim), more=quick
    )
    return SimulatedBoard(directory, settings, main)


def play(board: SimulatedBoard, script: Callable[[], Awaitable[None]]) -> None:
    """Run a script while the board runs."""

    async def stage() -> None:
        await board.start()
        try:
            await script()
        finally:
            await board.stop()

    asyncio.run(stage())


@pytest.mark.parametrize("form", ["pem", "der"])
def test_a_board_verifies_the_gateway_and_joins(tmp_path: Path, form: str) -> None:
    files = make_authority(tmp_path / "tls")
    ca = files.ca.read_bytes() if form == "pem" else der_of(files.ca.read_bytes())
    gateway, port = tls_gateway(tmp_path / "node", files)
    with gateway, Mqtt(gateway.mqtt_port, "api", gateway.key, "owner") as owner:
        owner.subscribe("devices/+/readings/t")
        board = secure_board(tmp_path / "board", port, gateway.claim(), {"ca.crt": ca})

        async def script() -> None:
            await aio.until(lambda: board.device_id, "it joins")
            topic = f"devices/{board.device_id}/readings/t"
            await aio.until(lambda: len(owner.payloads(topic)) >= 3, "readings over TLS")
            await aio.until((board.directory / "time").exists, "the time is kept")

        play(board, script)


def der_of(pem: bytes) -> bytes:
    """Return a certificate in the other form."""
    return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)


def client_of(files: Files, key: EllipticCurvePrivateKey) -> x509.Certificate:
    """Return a device's certificate by an authority."""
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "attic")]))
        .issuer_name(files.issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(files.issuer.key, SHA256())
    )


def test_a_gateway_that_asks_for_a_certificate_gets_it(tmp_path: Path) -> None:
    files = make_authority(tmp_path / "tls")
    other = make_authority(tmp_path / "other")
    gateway, port = tls_gateway(tmp_path / "node", files, "required")
    with gateway:
        claim = gateway.claim()
        known = {"ca.crt": files.ca.read_bytes()}
        key = authority.new_key()
        mine = known | {
            "device.crt": authority.encode_certificate(client_of(files, key)),
            "device.key": authority.encode_key(key),
        }
        foreign = mine | {"device.crt": authority.encode_certificate(client_of(other, key))}
        for name, certificates in (("without", known), ("foreign", foreign)):
            board = secure_board(tmp_path / name, port, claim, certificates)
            play(board, says(board, "offline: cannot connect"))
            assert board.device_id is None
        board = secure_board(tmp_path / "board", port, claim, mine)
        play(board, says(board, "online"))


# case L20
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("stranger", "not correctly signed by the trusted CA"),
        ("future", "validity starts in the future: the board's clock says 20"),
        ("past", "validity has expired: the board's clock says 20"),
        ("name", "does not match with the expected CN"),
        ("nothing", "ca.crt is not on the board"),
    ],
)
def test_a_gateway_that_is_not_verified_gets_no_claim(
    tmp_path: Path, name: str, reason: str
) -> None:
    files = make_authority(tmp_path / "tls")
    trusted = make_authority(tmp_path / "other") if name == "stranger" else files
    now = datetime.datetime.now(datetime.UTC)
    if name in ("future", "past"):
        moment = now + LATER if name == "future" else now - 10 * LATER
        rewrite(files, moment)
    gateway, port = tls_gateway(tmp_path / "node", files)
    with gateway:
        certificates = {} if name == "nothing" else {"ca.crt": trusted.ca.read_bytes()}
        more = {"tls_name": "elsewhere.example"} if name == "name" else {}
        board = secure_board(
            tmp_path / "board", port, gateway.claim(), certificates, crash_limit=100, **more
        )
        play(board, says(board, reason))
        assert (board.directory / "claim").exists()
        assert gateway.status()["devices"] == []


def rewrite(files: Files, moment: datetime.datetime) -> None:
    """Replace the server's certificate by one made at another moment."""
    key = authority.new_key()
    names = ("localhost", "127.0.0.1")
    certificate = authority.make_server_certificate(files.issuer, key, names, moment)
    files.key.write_bytes(authority.encode_key(key))
    files.cert.write_bytes(authority.encode_certificate(certificate))


def says(board: SimulatedBoard, text: str) -> Callable[[], Awaitable[None]]:
    """Return a script that waits for a line of the board."""

    async def script() -> None:
        await aio.until(
            lambda: board.log_path.exists() and text in board.log_path.read_text(),
            f"{text!r}",
        )

    return script
