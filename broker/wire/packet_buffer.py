"""Assembles a large packet in one buffer as it arrives.

A room is as large as its packet, so it is given only to one of which a good part has come: what a
peer has sent bounds what it makes the broker keep (pressure.py has the total of all).
"""

from io import BytesIO

BUFFERED_REST_BYTES = (
    131_072  # of a packet that still are to come; below, one more read brings them
)
BUFFER_SHARE = 8  # a room is at most so many times what has come; one full read begins 2 MiB


def is_worth_buffering(have: int, need: int) -> bool:
    """Return whether enough of a packet has come, and enough is to come."""
    return need - have >= BUFFERED_REST_BYTES and have * BUFFER_SHARE >= need


class PacketBuffer:
    """One packet that is not whole."""

    __slots__ = ("_kept", "left", "size_bytes")

    def __init__(self, size_bytes: int, start: bytes) -> None:
        # speed: what a BytesIO holds can be written in place, and is given away uncopied
        self._kept = BytesIO(bytes(size_bytes))
        self.size_bytes = size_bytes
        self.left = self._kept.getbuffer()  # where the rest is to be read to
        self.left[: len(start)] = start
        self.left = self.left[len(start) :]

    def fill(self, size: int) -> bytes:
        """Note that so many bytes were read into what was left; return the packet once whole."""
        before, self.left = self.left, self.left[size:]
        before.release()
        if self.left:
            return b""
        self.left.release()
        return self._kept.getvalue()
