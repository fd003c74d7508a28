"""Reads the small files that people write."""

from pathlib import Path

from broker.access.errors import AccessError

LIMIT_BYTES = 64 * 1024 * 1024  # a million users


def read_text(path: Path) -> str:
    """Return a file's text; AccessError when there is none."""
    try:
        with path.open("rb") as file:
            content = file.read(LIMIT_BYTES + 1)
    except OSError as exc:
        raise AccessError(path, [(exc.strerror or str(exc)).lower()]) from exc
    if len(content) > LIMIT_BYTES:
        raise AccessError(path, [f"larger than {LIMIT_BYTES} bytes"])
    if b"\0" in content:  # no path, name or word has one
        line = content.count(b"\n", 0, content.index(b"\0")) + 1
        raise AccessError(path, [f"line {line}: has a zero byte"])
    try:
        return content.decode()
    except UnicodeDecodeError as exc:
        line = content.count(b"\n", 0, exc.start) + 1
        raise AccessError(path, [f"line {line}: not UTF-8"]) from exc
