"""Reads images: docker-save tars, without trusting them.

Only regular files count. A link, a device, an absolute path or one with .. refuses the whole
image: nobody makes such a tar for us by accident. Sizes are added up before anything is copied.
"""

import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, Any

from gateway.services.errors import ImageError, ImageSizeError
from gateway.services.images.manifest import FILE_NAME, Manifest, parse_manifest
from gateway.services.images.tars import ImageLimits, check_headers, digest_of, list_members
from web import JsonError, parse_json

CHUNK_BYTES = 64 * 1024
JSON_LIMIT_BYTES = 1024 * 1024  # manifest.json, the config
MANIFEST_LIMIT_BYTES = 64 * 1024
NAME_LIMIT = 200  # characters of a path inside a layer
GZIP_MAGIC = b"\x1f\x8b"
JUNK_PREFIX = "._"  # macOS puts extended attributes into tars under such names

# what tarfile raises besides TarError when headers lie; consecutive extended headers recurse
_LIBRARY_FAULTS = (ValueError, ArithmeticError, LookupError, RecursionError)

# the file that makes a layer the microservice's, and what runs it
ENTRIES = {"service.py": "python", "index.js": "js"}


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One file of an image's content."""

    path: PurePosixPath
    offset: int  # in the layer
    size: int


@dataclass(frozen=True, slots=True)
class Image:
    """An image as read from its archive."""

    name: str  # "climate-v1"
    repo_tags: tuple[str, ...]
    runtime: str
    manifest: Manifest
    digest: str  # sha256:… of the tar
    size: int
    files: tuple[ImageFile, ...]
    layer: IO[bytes]

    def read(self, file: ImageFile) -> Iterator[bytes]:
        """Yield a file's bytes."""
        self.layer.seek(file.offset)
        left = file.size
        while left > 0:
            chunk = self.layer.read(min(left, CHUNK_BYTES))
            if not chunk:
                raise ImageError(f"cannot read image: {file.path} is cut off")
            left -= len(chunk)
            yield chunk


def read_image(source: IO[bytes], scratch: IO[bytes], limits: ImageLimits) -> Image:
    """Return the image in a tar.

    Args:
        source: the tar; must stay open while the image is used.
        scratch: an empty file for a layer that is compressed.
        limits: how much is taken.

    Raises:
        ImageError: "cannot read image: why".
    """
    try:
        digest, size = digest_of(source, limits.upload_bytes)
        check_headers(source, limits)
        with tarfile.open(fileobj=source, mode="r:") as tar:
            outer = _Outer(tar, list_members(tar, limits))
            return _read(outer, scratch, limits, (digest, size))
    except (tarfile.TarError, zlib.error, EOFError, *_LIBRARY_FAULTS) as exc:
        raise ImageError(f"cannot read image: not a whole tar ({exc})") from exc


class _Outer:
    """The tar's members, by name."""

    def __init__(self, tar: tarfile.TarFile, members: dict[str, tarfile.TarInfo]) -> None:
        self._tar, self._members = tar, members

    def open(self, name: str) -> IO[bytes]:
        info = self._members.get(name)
        member = self._tar.extractfile(info) if info is not None and info.isreg() else None
        if member is None:
            raise ImageError(f"cannot read image: no file {name:.80} in it")
        return member


def _read(
    outer: _Outer, scratch: IO[bytes], limits: ImageLimits, identity: tuple[str, int]
) -> Image:
    entry = _manifest_entry(outer)
    diff_ids = _diff_ids(outer, entry)
    names = _texts(entry, "Layers")
    if not 0 < len(names) <= limits.layers:
        raise ImageError(f"cannot read image: {len(names)} layers, not 1 to {limits.layers}")
    if diff_ids and len(diff_ids) != len(names):
        raise ImageError("cannot read image: config and manifest.json name different layers")
    # the last layer that holds a service wins; the ones before it need not be unpacked
    for position in reversed(range(len(names))):
        layer = _open_layer(outer.open(names[position]), scratch, limits)
        if diff_ids and digest_of(layer, limits.content_bytes)[0] != diff_ids[position]:
            raise ImageError(f"cannot read image: {names[position]} is not the layer in the config")
        files = _list_files(layer, limits)
        runtime = next((ENTRIES[str(f.path)] for f in files if str(f.path) in ENTRIES), None)
        if runtime is not None:
            repo_tags = tuple(_texts(entry, "RepoTags"))
            return _image(repo_tags, runtime, identity, files, layer)
    raise ImageError(f"cannot read image: no layer holds {' or '.join(ENTRIES)}")


def _image(
    repo_tags: tuple[str, ...],
    runtime: str,
    identity: tuple[str, int],
    files: tuple[ImageFile, ...],
    layer: IO[bytes],
) -> Image:
    described = next((f for f in files if str(f.path) == FILE_NAME), None)
    if described is None:
        raise ImageError(f"cannot read image: no {FILE_NAME} beside its code")
    if described.size > MANIFEST_LIMIT_BYTES:
        raise ImageSizeError(f"cannot read image: {FILE_NAME} has {described.size} bytes")
    layer.seek(described.offset)
    try:
        manifest = parse_manifest(layer.read(described.size).decode())
    except UnicodeDecodeError as exc:
        raise ImageError(f"cannot read image: {FILE_NAME} is not UTF-8") from exc
    for tag in repo_tags:
        if tag.split(":")[0] != manifest.image:
            raise ImageError(
                f"cannot read image: tagged {tag:.80}, but {FILE_NAME} says {manifest.image}"
            )
    digest, size = identity
    return Image(
        manifest.image,
        repo_tags or (f"{manifest.image}:latest",),
        runtime,
        manifest,
        digest,
        size,
        files,
        layer,
    )


def _manifest_entry(outer: _Outer) -> dict[str, Any]:
    entries = _json(outer.open("manifest.json"), "manifest.json")
    if not isinstance(entries, list) or len(entries) != 1 or not isinstance(entries[0], dict):
        raise ImageError("cannot read image: manifest.json does not describe one image")
    entry: dict[str, Any] = entries[0]
    return entry


def _diff_ids(outer: _Outer, entry: dict[str, Any]) -> list[str]:
    name = entry.get("Config")
    if name is None:
        return []
    config = _json(outer.open(str(name)), "config")
    rootfs = config.get("rootfs") if isinstance(config, dict) else None
    if rootfs is None:
        return []
    if not isinstance(rootfs, dict):
        raise ImageError("cannot read image: rootfs of its config is not an object")
    return _texts(rootfs, "diff_ids")


def _open_layer(member: IO[bytes], scratch: IO[bytes], limits: ImageLimits) -> IO[bytes]:
    magic = member.read(len(GZIP_MAGIC))
    member.seek(0)
    if magic != GZIP_MAGIC:
        return member
    scratch.seek(0)
    scratch.truncate()
    inflate = zlib.decompressobj(wbits=31)
    while chunk := member.read(CHUNK_BYTES):
        while chunk:
            scratch.write(inflate.decompress(chunk, CHUNK_BYTES))
            chunk = inflate.unconsumed_tail
            if scratch.tell() > limits.content_bytes:
                raise ImageSizeError(
                    f"cannot read image: a layer has more than {limits.content_bytes} bytes"
                )
    if not inflate.eof:
        raise ImageError("cannot read image: a layer is cut off")
    return scratch


def _list_files(layer: IO[bytes], limits: ImageLimits) -> tuple[ImageFile, ...]:
    check_headers(layer, limits)
    files: dict[PurePosixPath, ImageFile] = {}
    with tarfile.open(fileobj=layer, mode="r:") as inner:
        for info in list_members(inner, limits).values():
            path = _safe_path(info)
            if path is not None:
                files[path] = ImageFile(path, info.offset_data, info.size)
    return tuple(files.values())


def _safe_path(info: tarfile.TarInfo) -> PurePosixPath | None:
    path = PurePosixPath(info.name)
    if not info.isreg() and not info.isdir():
        raise ImageError(f"cannot read image: {info.name:.80} is a link or device")
    if (
        path.is_absolute()
        or ".." in path.parts
        or len(info.name) > NAME_LIMIT
        or not info.name.isprintable()
        or "\\" in info.name
    ):
        raise ImageError(f"cannot read image: {info.name!r:.80} is not a path inside it")
    if info.isdir() or path.name.startswith(JUNK_PREFIX) or not path.parts:
        return None
    return path


def _json(member: IO[bytes], what: str) -> Any:
    text = member.read(JSON_LIMIT_BYTES + 1)
    if len(text) > JSON_LIMIT_BYTES:
        raise ImageSizeError(f"cannot read image: {what} is too long")
    try:
        return parse_json(text)
    except JsonError as exc:
        raise ImageError(f"cannot read image: {what}: {exc}") from exc


def _texts(table: dict[str, Any], key: str) -> list[str]:
    values = table.get(key) or []
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ImageError(f"cannot read image: {key} is not a list of texts")
    return values
