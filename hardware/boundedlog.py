"""Writes a log that cannot fill the disk: two files of half the bytes. Does I/O."""

from pathlib import Path


class BoundedLog:
    """Appends to path; at half the limit path replaces path.1."""

    def __init__(self, path: Path, limit_bytes: int) -> None:
        self.path = path
        self._half_bytes = limit_bytes // 2

    def write(self, output: bytes) -> None:
        """Append output; of more than half the limit at once, its end."""
        output = output[-self._half_bytes :]
        if self.path.exists() and self.path.stat().st_size + len(output) > self._half_bytes:
            self.path.replace(self.path.with_name(f"{self.path.name}.1"))
        with self.path.open("ab") as file:
            file.write(output)
