"""Reads the BTHome v2 frame in an advertisement, and opens an encrypted one. Pure.

The service data of the UUID 0xFCD2 holds one byte of information (bit 0: encrypted, bit 1: an
address follows, bit 2: trigger-based, bits 5 to 7: version), then the objects. An encrypted frame
ends with a counter of 4 bytes and a MIC of 4 bytes (https://bthome.io/encryption).
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESCCM

from hardware.radio.advertisement import Advertisement

SERVICE_UUID = "0000fcd2-0000-1000-8000-00805f9b34fb"
KEY_BYTES = 16
DATA_LIMIT_BYTES = 255  # of one field of an advertisement; BTHome uses about 25
MIC_BYTES, COUNTER_BYTES = 4, 4
ADDRESS = re.compile(r"[0-9A-F]{2}(:[0-9A-F]{2}){5}")

_UUID_16 = b"\xd2\xfc"
_ENCRYPTED, _HAS_ADDRESS, _TRIGGER_BASED = 1, 2, 4
_VERSION, _VERSION_SHIFT = 2, 5


class FrameFault(StrEnum):
    """The reasons why a frame is dropped."""

    LENGTH = "bad length"
    VERSION = "unknown version"
    TRUNCATED = "truncated object"
    NOTHING_KNOWN = "no known object"
    UNREADABLE = "unreadable object"


class FrameError(ValueError):
    """A frame cannot be read."""

    def __init__(self, fault: FrameFault) -> None:
        super().__init__(str(fault))
        self.fault = fault


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame as it was sent."""

    address: str  # the sender's; from the frame itself if it holds one
    information: int
    body: bytes  # objects; encrypted if the information says so
    counter: int = 0
    mic: bytes = b""

    @property
    def is_encrypted(self) -> bool:
        """True when only the holder of the key can read it."""
        return bool(self.information & _ENCRYPTED)

    @property
    def holds_address(self) -> bool:
        """True when the address is part of the frame."""
        return bool(self.information & _HAS_ADDRESS)

    @property
    def is_trigger_based(self) -> bool:
        """True when the sensor sends only when something happens."""
        return bool(self.information & _TRIGGER_BASED)


def read_frame(advertisement: Advertisement) -> Frame | None:
    """Return the frame in an advertisement, None if it holds none; FrameError for a bad one."""
    data = advertisement.service_data.get(SERVICE_UUID)
    if data is None:
        return None
    if not 1 <= len(data) <= DATA_LIMIT_BYTES:
        raise FrameError(FrameFault.LENGTH)
    information, address, body = data[0], advertisement.address.upper(), data[1:]
    if information >> _VERSION_SHIFT != _VERSION:
        raise FrameError(FrameFault.VERSION)
    if information & _HAS_ADDRESS:
        if len(body) < 6:
            raise FrameError(FrameFault.LENGTH)
        address, body = body[5::-1].hex(":").upper(), body[6:]
    if not ADDRESS.fullmatch(address):
        raise FrameError(FrameFault.LENGTH)
    if not information & _ENCRYPTED:
        if not body:
            raise FrameError(FrameFault.LENGTH)
        return Frame(address, information, body)
    end = len(body) - MIC_BYTES - COUNTER_BYTES
    if end < 1:
        raise FrameError(FrameFault.LENGTH)
    counter = int.from_bytes(body[end : end + COUNTER_BYTES], "little")
    return Frame(address, information, body[:end], counter, body[-MIC_BYTES:])


def open_frame(frame: Frame, key: bytes) -> bytes | None:
    """Return the objects of an encrypted frame; None when the key does not open it."""
    nonce = b"".join(
        (
            bytes.fromhex(frame.address.replace(":", "")),
            _UUID_16,
            bytes((frame.information,)),
            frame.counter.to_bytes(COUNTER_BYTES, "little"),
        )
    )
    try:
        return AESCCM(key, tag_length=MIC_BYTES).decrypt(nonce, frame.body + frame.mic, None)
    except InvalidTag:
        return None


def parse_key(text: str) -> bytes:
    """Return a bind key written in hexadecimal digits; ValueError without the text of the key."""
    try:
        key = bytes.fromhex(text.strip())
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ValueError(f"a bind key has {2 * KEY_BYTES} hexadecimal digits")
    return key


def is_changing_address(address: str, address_type: str) -> bool:
    """Return whether a sender changes its address: a private random one (Core 5.4, 6.B, 1.3.2).

    The two highest bits of a random address are 11 for one that stays; of a public address they
    mean nothing.
    """
    return address_type == "random" and int(address[:2], 16) >> 6 != 0b11
