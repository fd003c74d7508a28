"""Makes a client's WebSocket frames by hand, so that they can be wrong."""

import struct

BINARY, TEXT, MORE, CLOSE, PING, PONG = 2, 1, 0, 8, 9, 10
MASK = b"\x11\x22\x33\x44"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455 1.3


def frame(opcode: int, payload: bytes = b"", *, first: int = 0x80, masked: bool = True) -> bytes:
    """Return one frame; first holds FIN and the reserved bits."""
    size, bit = len(payload), 0x80 * masked
    if size < 126:
        length = bytes([bit | size])
    elif size < 65_536:
        length = bytes([bit | 126]) + struct.pack(">H", size)
    else:
        length = bytes([bit | 127]) + struct.pack(">Q", size)
    if masked:
        payload = MASK + bytes(byte ^ MASK[at % 4] for at, byte in enumerate(payload))
    return bytes([first | opcode]) + length + payload


def handshake(path: str = "/mqtt", **invalidator: str | None) -> bytes:
    """Return a request to open; a header that is None is left out."""
    headers: dict[str, str | None] = {
        "Host": "broker.example:8083",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": KEY,
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Protocol": "mqtt",
    }
    headers.update({name.replace("_", "-"): value for name, value in invalidator.items()})
    lines = [f"{name}: {value}" for name, value in headers.items() if value is not None]
    return "\r\n".join([f"GET {path} HTTP/1.1", *lines, "", ""]).encode()
