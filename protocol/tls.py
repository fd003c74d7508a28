"""Encrypts and decrypts one TLS stream: bytes in, bytes out, no sockets.

The HTTP server and the couplings of BEPs run on it. OpenSSL works on two memory buffers, so that a
connection costs nothing before its first byte and a half-close leaves the other direction open.
"""

import contextlib
import ssl

READ_BYTES = 65_536  # decrypted at once
PIECE_BYTES = 65_536  # given to OpenSSL at once


class TlsCodec:
    """One end of a TLS connection.

    Every method may raise ssl.SSLError, after which take_output() returns the alert for the peer.
    """

    __slots__ = ("_incoming", "_outgoing", "_tls", "has_ended", "is_open")

    def __init__(self, context: ssl.SSLContext, server_name: str | None = None) -> None:
        """Act as client if there is a server name, else as server."""
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming,
            self._outgoing,
            server_side=server_name is None,
            server_hostname=server_name,
        )
        self.is_open = False  # the handshake is done
        self.has_ended = False  # the peer sends nothing more

    def feed(self, data: bytes | memoryview) -> None:
        """Feed bytes from the peer; continue the handshake while it is not done."""
        self._incoming.write(data)
        if not self.is_open:
            self.shake_hands()

    def shake_hands(self) -> None:
        """Do the next step of the handshake; a client calls it once to begin."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return
        self.is_open = True

    def read(self, limit: int = READ_BYTES) -> bytes:
        """Return decrypted bytes; b"" while there are none, or when has_ended."""
        if not self.is_open or self.has_ended:
            return b""
        try:
            data = self._tls.read(limit)
        except ssl.SSLWantReadError:
            return b""
        except ssl.SSLZeroReturnError:
            data = b""
        self.has_ended = not data
        return data

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt bytes; take_output() returns them."""
        view = memoryview(data)
        while view:
            view = view[self._tls.write(view[:PIECE_BYTES]) :]

    def end(self) -> None:
        """Send close_notify; reading continues."""
        if self.is_open:
            # OpenSSL reports that the peer has not ended yet, which is no fault
            with contextlib.suppress(ssl.SSLError):
                self._tls.unwrap()

    def take_output(self) -> bytes:
        """Return the bytes to send to the peer."""
        return self._outgoing.read()
