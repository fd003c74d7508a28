"""Carries MQTT within WebSocket frames [MQTT-6]: bytes of a socket in, bytes of MQTT out.

The frames and the handshake are the websockets package's (RFC 6455); what may come is decided
here: binary frames only, cut in any way; one path; the subprotocols of MQTT; no extensions.
"""

from __future__ import annotations

import ipaddress
import logging
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from websockets.datastructures import MultipleValuesError
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

if TYPE_CHECKING:
    from websockets.http11 import Response
    from websockets.protocol import Event

_QUIET = logging.getLogger(f"{__name__}.frames")  # logs every connection at INFO
_QUIET.setLevel(logging.WARNING)

PATH = "/mqtt"
SUBPROTOCOLS = (Subprotocol("mqtt"), Subprotocol("mqttv3.1"))  # [MQTT-6.0.0-3] [MQTT-6.0.0-4]
HANDSHAKE_BYTES = 16_384  # as much as common HTTP servers take
ANY_ORIGIN = "*"


class WebSocketCodec:
    """The server's end of one connection."""

    def __init__(
        self, origins: tuple[str, ...], frame_bytes: int, hosts: frozenset[str] | None = None
    ) -> None:
        """Take whose pages may connect; with hosts, only pages of these and of addresses are own.

        A page can bind its own name to this machine's loopback (DNS rebinding): for a browser here
        the name of the host says nothing unless it is known.
        """
        self.done = False  # nothing more is read; close when the output is written
        self.refusal = ""  # the counter's name for a fault of the peer
        self.unread_bytes = 0  # of a frame or a handshake that is not whole
        self._origins = origins
        self._hosts = hosts
        self._protocol = ServerProtocol(
            subprotocols=SUBPROTOCOLS, max_size=frame_bytes, logger=_QUIET
        )
        self._output: list[bytes] = []

    def receive(self, data: bytes) -> bytes:
        """Handle the bytes of one read; return the MQTT in them."""
        if self.done:
            return b""
        protocol = self._protocol
        is_opening = protocol.state is State.CONNECTING
        protocol.receive_data(data)
        self.unread_bytes += len(data)
        events = protocol.events_received()
        if events:
            self.unread_bytes = 0  # or the rest of this read, which is no more than that
        if is_opening:
            self._open(events)
            return b""
        chunks = []
        for event in events:
            assert isinstance(event, Frame)  # the handshake is over
            if event.opcode is Opcode.TEXT:  # [MQTT-6.0.0-1]
                protocol.fail(CloseCode.UNSUPPORTED_DATA, "MQTT is binary")
                self.refusal = "websocket_text"
                break
            if event.opcode in (Opcode.BINARY, Opcode.CONT):  # [MQTT-6.0.0-2]
                chunks.append(bytes(event.data))
        self._collect()
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def encode(self, output: bytes) -> bytes:
        """Return MQTT as a frame, behind all waiting frames."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_binary(output)  # [MQTT-6.0.0-1]
            self._collect()
        return self.take_output()

    def take_output(self) -> bytes:
        """Return the waiting bytes, once."""
        output = b"".join(self._output)
        self._output.clear()
        return output

    def close(self) -> None:
        """Queue a close frame; done once the peer has answered."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(CloseCode.NORMAL_CLOSURE)
            self._collect()
        elif self._protocol.state is State.CONNECTING:
            self.done = True

    def _open(self, events: list[Event]) -> None:
        # malformed bytes followed the request, and the package has queued a close frame
        is_over = self._protocol.eof_sent
        if events and isinstance(events[0], Request) and not is_over:
            response = self._find_fault(events[0]) or self._accept(events[0])
            self._protocol.send_response(response)
            if response.status_code != 101:
                self.refusal = "websocket_handshake"
        self._collect()
        # frames before the answer were read by the package, whatever the answer is
        if len(events) > 1 or is_over or self.unread_bytes > HANDSHAKE_BYTES:
            self.refusal, self.done = "websocket_handshake", True

    def _accept(self, request: Request) -> Response:
        try:
            return self._protocol.accept(request)
        except UnicodeEncodeError:  # the package's refusal quotes text that is not ASCII
            return self._protocol.reject(400, "headers are ASCII\n")

    def _find_fault(self, request: Request) -> Response | None:
        if request.path.partition("?")[0] != PATH:
            return self._protocol.reject(404, f"MQTT is at {PATH}\n")
        try:
            host, origin = request.headers["Host"], request.headers.get("Origin")
        except (KeyError, MultipleValuesError):
            return self._protocol.reject(400, "one Host, and one Origin at most\n")
        if origin is not None and not is_origin_allowed(origin, host, self._origins, self._hosts):
            return self._protocol.reject(403, "this page may not connect: it is in no origins\n")
        return None

    def _collect(self) -> None:
        for chunk in self._protocol.data_to_send():
            if chunk:
                self._output.append(chunk)
            else:  # the package's sign to close
                self.done = True
        if self._protocol.handshake_exc is not None:
            self.refusal = "websocket_handshake"
        elif self._protocol.parser_exc is not None:
            self.refusal = "websocket_protocol"


def is_origin_allowed(
    origin: str, host: str, origins: tuple[str, ...], hosts: frozenset[str] | None = None
) -> bool:
    """Return whether a page may connect: one of the same host, or one that is listed."""
    if ANY_ORIGIN in origins or origin in origins:
        return True
    try:
        own = urlsplit(f"//{host}").hostname
        is_own = own is not None and urlsplit(origin).hostname == own
    except ValueError:
        return False
    return is_own and (hosts is None or _is_known(own or "", hosts))


def _is_known(name: str, hosts: frozenset[str]) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name in hosts or name == "localhost" or name.endswith(".localhost")
    return True  # a page cannot rebind a name that is an address
