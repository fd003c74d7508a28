"""Assembles a large packet in one buffer as it arrives.

A buffer is as large as its packet, so a packet gets one only when a good part of it has come: the
memory that a peer takes is bounded by the bytes it has sent (quota/buffer_budget.py bounds the
total).
"""

from io import BytesIO

BUFFERED_REST_BYTES = 131_072  # a smaller rest comes with one more read
BUFFER_SHARE = 8  # a buffer is at most so many times what has come; one full read allows 2 MiB


def is_worth_buffering(have: int, need: int) -> bool:
    """Return whether enough of a packet has come, and enough is missing."""
    return need - have >= BUFFERED_REST_BYTES and have * BUFFER_SHARE >= need


class PacketBuffer:
    """Holds one incomplete packet."""

    __slots__ = ("_kept", "left", "size_bytes")

    def __init__(self, size_bytes: int, start: bytes) -> None:
        # speed: a BytesIO is written in place, and returns its bytes without a copy
        self._kept = BytesIO(bytes(size_bytes))
        self.size_bytes = size_bytes
        self.left = self._kept.getbuffer()  # the place of the rest
        self.left[: len(start)] = start
        self.left = self.left[len(start) :]

    def fill(self, size: int) -> bytes:
        """Note that size bytes were read into left; return the packet once it is whole."""
        before, self.left = self.left, self.left[size:]
        before.release()
        if self.left:
            return b""
        self.left.release()
        return self._kept.getvalue()
