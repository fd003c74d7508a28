import contextlib
import ssl
from collections.abc import Callable
from pathlib import Path

from broker import AllowAll, Credentials, Identity, Limits, Listener, Refusal
from tests.integration.broker.access.certificates import Authority
from tests.integration.broker.conftest import BrokerThread
from tests.integration.broker.net.conftest import Raw, connect_packet
from tests.programs import until

Start = Callable[..., BrokerThread]
Dial = Callable[..., Raw]


class Remember(AllowAll):
    """Lets everybody in and keeps what they said."""

    def __init__(self) -> None:
        self.seen: list[Credentials] = []

    async def authenticate(self, credentials: Credentials) -> Identity | Refusal:
        self.seen.append(credentials)
        return Identity(credentials.client_id, credentials.client_id)


def test_a_certificate_is_shown_to_the_authenticator(
    start_broker: Start,
    dial: Dial,
    authority: Authority,
    server_tls: ssl.SSLContext,
    client_tls: ssl.SSLContext,
) -> None:
    server_tls.load_verify_locations(authority.file)
    server_tls.verify_mode = ssl.CERT_OPTIONAL
    remember = Remember()
    broker = start_broker(
        Listener(port=0, tls=server_tls, name="tls"),
        Listener(port=0, name="plain"),
        authenticator=remember,
    )
    dialled = [dial(broker, tls=client_tls)]
    certificate, key = authority.sign("device 7")
    client_tls.load_cert_chain(certificate, key)
    dialled += [dial(broker, tls=client_tls), dial(broker, 1)]
    for number, raw in enumerate(dialled):
        raw.send(connect_packet(f"c{number}"))
        raw.expect_connack()
    without, shown, plain = remember.seen
    der = ssl.PEM_cert_to_DER_cert(certificate.read_text())
    assert (without.certificate, without.certificate_names) == (None, ())
    assert shown.certificate == der
    assert shown.certificate_names == (
        ("commonName", "device 7"),
        ("IP Address", "127.0.0.1"),
    )
    assert (plain.certificate, plain.certificate_names) == (None, ())
    assert [each.listener for each in remember.seen] == ["tls", "tls", "plain"]
    assert "device 7" not in repr(shown)


def test_a_certificate_that_nobody_signed_is_refused(
    start_broker: Start,
    dial: Dial,
    authority: Authority,
    server_tls: ssl.SSLContext,
    client_tls: ssl.SSLContext,
    tmp_path: Path,
) -> None:
    server_tls.load_verify_locations(authority.file)
    server_tls.verify_mode = ssl.CERT_REQUIRED
    remember = Remember()
    broker = start_broker(Listener(port=0, tls=server_tls), authenticator=remember)
    client_tls.load_cert_chain(*Authority(tmp_path, "other").sign("stranger"))
    with contextlib.suppress(OSError):  # in TLS 1.3 only the first read tells
        assert dial(broker, tls=client_tls).socket.recv(1) == b""
    until(lambda: broker.broker.counters.refused["tls_handshake"] == 1)
    assert not remember.seen


def test_failed_handshakes_leave_nothing_behind(
    start_broker: Start, dial: Dial, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    limits = Limits(unauthenticated=2, connections=2)
    broker = start_broker(Listener(port=0, tls=server_tls), limits=limits)
    for number in range(1, 6):
        dial(broker, first=connect_packet("plain")).read_to_end()
        until(lambda number=number: broker.broker.counters.refused["tls_handshake"] == number)  # type: ignore[misc]  # bound now
    raw = dial(broker, tls=client_tls)
    raw.send(connect_packet("a"))
    raw.expect_connack()


def test_a_silent_handshake_is_not_waited_for(
    start_broker: Start, dial: Dial, server_tls: ssl.SSLContext
) -> None:
    limits = Limits(connect_timeout_s=0.1)
    broker = start_broker(Listener(port=0, tls=server_tls), limits=limits)
    assert dial(broker).read_to_end() == b""
    until(lambda: broker.broker.counters.refused["tls_handshake"] == 1)
