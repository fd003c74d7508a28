"""Follows a stream of MQTT packets as far as to know where one ends. Pure."""

LENGTH_BYTES = 4


class PacketBoundary:
    """The place in the packet that was fed last."""

    def __init__(self) -> None:
        self._left = 0  # bytes of the packet
        self._length: bytearray | None = None  # of the packet, as far as it has come
        self._is_lost = False

    @property
    def is_between(self) -> bool:
        """True when what was fed ends with a packet."""
        return not self._is_lost and self._left == 0 and self._length is None

    def feed(self, data: bytes) -> None:
        """Follow further bytes; after a length that is none, no boundary is known any more."""
        at = 0
        while at < len(data) and not self._is_lost:
            if self._left:
                step = min(self._left, len(data) - at)
                self._left -= step
                at += step
            elif self._length is None:
                self._length = bytearray()
                at += 1
            else:
                self._take_length(self._length, data[at])
                at += 1

    def _take_length(self, length: bytearray, octet: int) -> None:
        length.append(octet)
        if octet & 0x80:
            self._is_lost = len(length) >= LENGTH_BYTES
            return
        self._left = sum((each & 0x7F) << (7 * n) for n, each in enumerate(length))
        self._length = None
