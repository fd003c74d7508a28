"""Handshakes between nodes: what a stranger shows is an error of TLS, never one of the program."""

import contextlib
import ssl
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives import serialization
from OpenSSL import SSL, crypto

from protocol.keys import NodeKey, new_node_key
from protocol.node_tls import NodeTlsCodec, NodeTlsContext, _certify

NAMES = ("hecate-cluster/1",)
VERSION = b"\xa0\x03\x02\x01"  # of a certificate: [0] EXPLICIT INTEGER


def newer_version(der: bytes) -> bytes:
    at = der.index(VERSION) + len(VERSION)
    return der[:at] + b"\x07" + der[at + 1 :]


def broken_date(der: bytes) -> bytes:
    at = der.index(b"700101000000Z")
    return der[:at] + b"x" + der[at + 1 :]


class Stranger:
    """One end of a connection, with a certificate of which some bytes are changed."""

    def __init__(self, key: NodeKey, change: Callable[[bytes], bytes], *, is_server: bool) -> None:
        der = change(_certify(key).public_bytes(serialization.Encoding.DER))
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_min_proto_version(SSL.TLS1_3_VERSION)
        context.use_certificate(crypto.load_certificate(crypto.FILETYPE_ASN1, der))
        context.use_privatekey(key.private)
        context.set_verify(SSL.VERIFY_PEER, lambda *_: True)
        if is_server:
            context.set_alpn_select_callback(lambda _, offered: offered[0])
        else:
            context.set_alpn_protos([name.encode() for name in NAMES])
        self._tls = SSL.Connection(context, None)
        (self._tls.set_accept_state if is_server else self._tls.set_connect_state)()

    def answer(self, data: bytes) -> bytes:
        if data:
            self._tls.bio_write(data)
        with contextlib.suppress(SSL.WantReadError):
            self._tls.do_handshake()
        try:
            return self._tls.bio_read(1 << 16)
        except SSL.WantReadError:
            return b""


def shake_hands(codec: NodeTlsCodec, stranger: Stranger) -> None:
    codec.shake_hands()
    for _ in range(8):
        data = stranger.answer(codec.take_output())
        if data:
            codec.feed(data)
        if codec.is_open:
            return


def connect(change: Callable[[bytes], bytes], *, is_server: bool) -> str:
    """Return the node id that one end proves to this one."""
    context, key = NodeTlsContext(new_node_key(), NAMES), new_node_key()
    codec = context.connect(NAMES[0]) if is_server else context.accept()
    shake_hands(codec, Stranger(key, change, is_server=is_server))
    assert codec.is_open
    assert codec.peer_id == key.node_id
    return codec.peer_id


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("is_server", [False, True])
@pytest.mark.parametrize("change", [newer_version, broken_date])
def test_a_certificate_that_cannot_be_read_ends_the_handshake(
    change: Callable[[bytes], bytes], is_server: bool
) -> None:
    assert connect(bytes, is_server=is_server)
    with pytest.raises(ssl.SSLError, match="certificate of the peer is malformed"):
        connect(change, is_server=is_server)
