"""Packs a stored image for another node, as docker save would, without a copy on disk.

The same image gives the same bytes: any range of them can be read, so that a tunnel which carries
small answers can fetch them piece by piece. The content digest and the signature stay as they were.
"""

import hashlib
import json
import os
import tarfile
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gateway.services.errors import ImageError
from gateway.services.images.archives.extent import CHUNK_BYTES
from gateway.services.images.catalogue import StoredImage
from gateway.services.images.signature import SIGNATURE_NAME

MODE = 0o444
BLOCK_BYTES = 512
END = bytes(2 * BLOCK_BYTES)


@dataclass(frozen=True, slots=True)
class _Part:
    """Bytes in memory, or a file."""

    source: bytes | Path
    size: int


class Tarball:
    """The archive of one image."""

    def __init__(self, parts: list[_Part]) -> None:
        self._parts = parts
        self._starts: list[int] = []
        self.size = 0
        for part in parts:
            self._starts.append(self.size)
            self.size += part.size

    def read(self, start: int, end: int) -> Iterator[bytes]:
        """Yield the bytes from start to end, which is not included. Blocks.

        Raises:
            ImageError: the image was removed meanwhile.
        """
        index = bisect_right(self._starts, start) - 1
        while start < end:
            part, begin = self._parts[index], self._starts[index]
            upto = min(end, begin + part.size)
            yield from _read(part, start - begin, upto - begin)
            start, index = max(start, upto), index + 1


def pack_stored(image: StoredImage, folder: Path) -> Tarball:
    """Return the archive of a stored image with its files in a folder. Blocks.

    Raises:
        ImageError: the files cannot be read.
    """
    try:
        layer = _layer(folder)
        digest = hashlib.sha256()
        for part in layer:
            for chunk in _read(part, 0, part.size):
                digest.update(chunk)
    except OSError as exc:
        raise ImageError(f"cannot pack image {image.name}: {exc.strerror}") from exc
    layer_id = digest.hexdigest()
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer_id}"]},
        }
    ).encode()
    config_name, layer_name = f"{hashlib.sha256(config).hexdigest()}.json", f"{layer_id}/layer.tar"
    tags = list(image.repo_tags)
    manifest = [{"Config": config_name, "RepoTags": tags, "Layers": [layer_name]}]
    layer_bytes = sum(part.size for part in layer)
    parts = [*_member(config_name, config), _header(layer_name, layer_bytes), *layer]
    parts += _member("manifest.json", json.dumps(manifest).encode())
    if image.signature:
        parts += _member(SIGNATURE_NAME, image.signature.encode())
    return Tarball([*parts, _Part(END, len(END))])


def _layer(folder: Path) -> list[_Part]:
    """Return the layer; its size is a multiple of a block."""
    parts: list[_Part] = []
    files = [Path(where, name) for where, _, names in os.walk(folder) for name in names]
    for path in sorted(files, key=lambda file: file.relative_to(folder).as_posix().encode()):
        size = path.stat().st_size
        parts += [_header(path.relative_to(folder).as_posix(), size), _Part(path, size)]
        parts += _padding(size)
    return [*parts, _Part(END, len(END))]


def _member(name: str, content: bytes) -> list[_Part]:
    parts = [_header(name, len(content)), _Part(content, len(content))]
    return parts + _padding(len(content))


def _header(name: str, size: int) -> _Part:
    info = tarfile.TarInfo(name)  # mtime, uid and gid are 0
    info.size, info.mode = size, MODE
    header = info.tobuf(tarfile.PAX_FORMAT)
    return _Part(header, len(header))


def _padding(size: int) -> list[_Part]:
    missing = -size % BLOCK_BYTES
    return [_Part(bytes(missing), missing)] if missing else []


def _read(part: _Part, start: int, end: int) -> Iterator[bytes]:
    if isinstance(part.source, bytes):
        yield part.source[start:end]
        return
    with part.source.open("rb") as file:
        file.seek(start)
        while start < end:
            chunk = file.read(min(CHUNK_BYTES, end - start))
            if not chunk:
                raise ImageError(f"cannot pack image: {part.source.name} has changed")
            start += len(chunk)
            yield chunk
