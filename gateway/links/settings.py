"""Defines [[serial]]: the serial lines with devices."""

from dataclasses import dataclass

from protocol.chunks.wire import MAX_CHUNK, MIN_CHUNK

BAUDS = range(1200, 4_000_001)


@dataclass(frozen=True, slots=True)
class SerialSettings:
    """A serial line with a [device](device.md#without-ip-serial-lines-and-bluetooth-le) at its end.

    `path` is best one of `/dev/serial/by-id/`. A port that is unplugged is found again by the
    identity of its USB device, under another name as well.
    """

    path: str
    baud: int = 115200
    chunk_bytes: int = 60  # the most that is sent at once; four must fit the board's receive buffer

    def check(self) -> None:
        """Refuse what is no path, and numbers out of range."""
        if not self.path.startswith("/"):
            raise ValueError(f'path = "{self.path}": must be absolute, as /dev/ttyUSB0')
        if self.baud not in BAUDS:
            raise ValueError(f"baud = {self.baud}: must be {BAUDS[0]} to {BAUDS[-1]}")
        if not MIN_CHUNK <= self.chunk_bytes <= MAX_CHUNK:
            raise ValueError(
                f"chunk_bytes = {self.chunk_bytes}: must be {MIN_CHUNK} to {MAX_CHUNK}"
            )
