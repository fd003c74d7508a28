"""Encrypts streams between nodes by TLS 1.3, each end with a certificate of its node key.

The certificates are signed by themselves: a node id is the digest of the key, so that no authority
has to vouch for it. Only the key counts, which the peer has proved in the handshake. The dates of a
certificate do not count, because a node without a battery does not know the time when it starts.
Python's ssl module cannot accept such a certificate of a client; pyOpenSSL can.
"""

import contextlib
import datetime
import ssl
from collections.abc import Iterator, Sequence
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL

from protocol.keys import NodeKey, public_key_id
from protocol.tls import PIECE_BYTES, READ_BYTES

_OUTPUT_BYTES = 1 << 20
_FROM = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_UNTIL = datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC)  # RFC 5280, 4.1.2.5


class NodeTlsContext:
    """The certificate of a node, for any number of connections in both directions."""

    def __init__(self, key: NodeKey, protocols: Sequence[str]) -> None:
        """Make a certificate; protocols are the ALPN names that this end speaks (RFC 7301)."""
        self.node_id = key.node_id
        self._protocols = tuple(name.encode() for name in protocols)
        certificate = _certify(key)
        self._server = self._make(key, certificate)
        self._server.set_alpn_select_callback(self._select)
        self._key, self._certificate = key, certificate

    def accept(self) -> "NodeTlsCodec":
        """Return the server's end of a connection."""
        return NodeTlsCodec(self._server, is_server=True)

    def connect(self, protocol: str) -> "NodeTlsCodec":
        """Return the client's end of a connection that speaks one protocol."""
        context = self._make(self._key, self._certificate)
        context.set_alpn_protos([protocol.encode()])
        return NodeTlsCodec(context, is_server=False)

    def _make(self, key: NodeKey, certificate: x509.Certificate) -> SSL.Context:
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_min_proto_version(SSL.TLS1_3_VERSION)
        context.set_options(SSL.OP_NO_TICKET)  # a resumed session would skip the proof of the key
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)  # 34 KiB of each link that is silent
        context.use_certificate(certificate)
        context.use_privatekey(key.private)
        # the handshake itself proves the key; nothing else of the certificate is used
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)
        return context

    def _select(self, _: SSL.Connection, offered: list[bytes]) -> Any:
        chosen = next((name for name in offered if name in self._protocols), None)
        return SSL.NO_OVERLAPPING_PROTOCOLS if chosen is None else chosen


class NodeTlsCodec:
    """One end of a TLS connection between nodes; the methods are those of protocol.tls.TlsCodec.

    Every method may raise ssl.SSLError, after which take_output() returns the alert for the peer.
    """

    __slots__ = ("_tls", "has_ended", "is_open", "peer_id", "protocol")

    def __init__(self, context: SSL.Context, *, is_server: bool) -> None:
        self._tls = SSL.Connection(context, None)
        if is_server:
            self._tls.set_accept_state()
        else:
            self._tls.set_connect_state()
        self.is_open = False  # the handshake is done
        self.has_ended = False  # the peer sends nothing more
        self.peer_id = ""  # the node id that the peer has proved
        self.protocol = ""  # the ALPN name that both speak

    def feed(self, data: bytes | memoryview) -> None:
        """Feed bytes from the peer; continue the handshake while it is not done."""
        with _errors():
            self._tls.bio_write(bytes(data))
        if not self.is_open:
            self.shake_hands()

    def shake_hands(self) -> None:
        """Do the next step of the handshake; a client calls it once to begin."""
        try:
            with _errors():
                self._tls.do_handshake()
        except SSL.WantReadError:
            return
        self.peer_id = self._identify()
        self.protocol = self._tls.get_alpn_proto_negotiated().decode("ascii", "replace")
        if not self.protocol:
            raise ssl.SSLError(1, "no common protocol (ALPN)")
        self.is_open = True

    def read(self, limit: int = READ_BYTES) -> bytes:
        """Return decrypted bytes; b"" while there are none, or when has_ended."""
        if not self.is_open or self.has_ended:
            return b""
        try:
            with _errors():
                return self._tls.recv(limit)
        except SSL.WantReadError:
            return b""
        except SSL.ZeroReturnError:
            self.has_ended = True
            return b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt bytes; take_output() returns them."""
        view = memoryview(data)
        while view:
            with _errors():
                view = view[self._tls.send(bytes(view[:PIECE_BYTES])) :]

    def end(self) -> None:
        """Send close_notify; reading continues."""
        if self.is_open:
            with contextlib.suppress(SSL.Error):
                self._tls.shutdown()

    def take_output(self) -> bytes:
        """Return the bytes to send to the peer."""
        pieces = []
        with contextlib.suppress(SSL.WantReadError):
            while True:
                pieces.append(self._tls.bio_read(_OUTPUT_BYTES))
        return b"".join(pieces)

    def _identify(self) -> str:
        try:
            certificate = self._tls.get_peer_certificate(as_cryptography=True)
            public = certificate.public_key() if certificate is not None else None
        except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion) as exc:
            # OpenSSL reads more than cryptography does
            raise ssl.SSLError(1, "the certificate of the peer is malformed") from exc
        if not isinstance(public, ec.EllipticCurvePublicKey) or public.curve.name != "secp256r1":
            raise ssl.SSLError(1, "the peer has no key of a node")
        return public_key_id(public)


def _certify(key: NodeKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, key.node_id)])
    builder = x509.CertificateBuilder(
        issuer_name=name,
        subject_name=name,
        public_key=key.private.public_key(),
        serial_number=1,
        not_valid_before=_FROM,
        not_valid_after=_UNTIL,
    )
    return builder.sign(key.private, hashes.SHA256())


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    """Raise OpenSSL's errors as those of the ssl module; what means "wait" or "ended" passes."""
    try:
        yield
    except (SSL.WantReadError, SSL.ZeroReturnError):
        raise
    except SSL.SysCallError as exc:
        raise ssl.SSLError(1, f"the TLS connection was cut off ({exc})") from exc
    except SSL.Error as exc:
        reasons = exc.args[0] if exc.args and isinstance(exc.args[0], list) else []
        why = "; ".join(str(each[-1]) for each in reasons) or "TLS failed"
        raise ssl.SSLError(1, why) from exc
