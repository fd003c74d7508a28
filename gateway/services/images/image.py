"""Reads images: archives of every builder, without trusting them.

Nothing is unpacked here. The archive and its layers are read in place (extent.py), what is
compressed goes to a scratch file once, within bounds (compression.py), and the result is a list of
files that are parts of those. layout.py finds the layers, layers.py merges them.
"""

import io
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO

from gateway.services.errors import ImageError, ImageSizeError
from gateway.services.images.archives.compression import decompress
from gateway.services.images.archives.extent import Extent, Scratch
from gateway.services.images.archives.layers import LayerTree, Parts
from gateway.services.images.archives.layout import Layout, find_layout
from gateway.services.images.archives.members import ImageArchive
from gateway.services.images.archives.paths import NAME_LIMIT, as_path, read_path
from gateway.services.images.archives.tars import BLOCK_BYTES, Member, read_members
from gateway.services.images.limits import ImageLimits
from gateway.services.images.manifest import FILE_NAME, Manifest, parse_manifest
from gateway.services.images.naming import check_tags, default_manifest, name_of_tags
from gateway.services.images.signature import content_digest

MANIFEST_LIMIT_BYTES = 64 * 1024

# the file that makes an image a microservice, and what runs it
ENTRIES = {"service.py": "python", "index.js": "js", "index.wasm": "wasm"}
SELF_DESCRIBING = frozenset({"js", "wasm"})  # others' images of these need no microservice.toml

_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "armv6l": "arm", "i686": "386"}


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One file of an image's content."""

    path: PurePosixPath
    content: Extent
    sha256: str

    @property
    def size(self) -> int:
        """Its bytes."""
        return self.content.size


@dataclass(frozen=True, slots=True)
class Image:
    """An image as read from its archive."""

    name: str  # "climate-v1"
    repo_tags: tuple[str, ...]
    runtime: str
    manifest: Manifest
    digest: str  # sha256:… of the content (signature.py), however it was packed
    size: int  # of the archive
    files: tuple[ImageFile, ...]
    signature: str = ""  # the text of signature.json, not verified

    @property
    def content_bytes(self) -> int:
        """The bytes of all files."""
        return sum(file.size for file in self.files)

    def read(self, file: ImageFile) -> Iterator[bytes]:
        """Yield a file's bytes."""
        return file.content.chunks()


def read_image(source: IO[bytes], scratch: IO[bytes], limits: ImageLimits) -> Image:
    """Return the image in an archive.

    Args:
        source: the archive; must stay open while the image is used.
        scratch: an empty file for what is compressed; must stay open likewise.
        limits: how much is taken.

    Raises:
        ImageError: "cannot read image: why".
    """
    upload = Extent(source, 0, source.seek(0, io.SEEK_END))
    if upload.size > limits.upload_bytes:
        raise ImageSizeError(f"cannot read image: more than {limits.upload_bytes} bytes")
    room = Scratch(scratch, 2 * limits.content_bytes)  # an archive, and the layers in it
    tar = decompress(upload, room, limits.content_bytes, "the archive")
    layout = find_layout(ImageArchive(tar, limits), limits, machine_name())
    tree = _merge(layout, room, limits)
    root, entry = _find_entry(tree, layout)
    files = dict(tree.files(root))
    return _describe(files, ENTRIES[entry], layout, room, upload.size)


def machine_name() -> str:
    """Return the architecture of this machine as OCI names it."""
    machine = platform.machine().lower()
    return _MACHINES.get(machine, machine)


def _merge(layout: Layout, room: Scratch, limits: ImageLimits) -> LayerTree:
    tree = LayerTree(limits)
    opened: dict[int, Extent] = {}  # a layer that occurs twice is decompressed once
    for layer in layout.layers:
        content = opened.get(layer.content.offset)
        if content is None:
            content = decompress(layer.content, room, limits.content_bytes, layer.name[:80])
            opened[layer.content.offset] = content
        if layer.diff_id and f"sha256:{content.sha256()}" != layer.diff_id:
            raise ImageError(f"cannot read image: {layer.name:.80} is not the layer in the config")
        if content.size:
            tree.add_layer(_read_layer(content, limits))
    return tree


def _read_layer(content: Extent, limits: ImageLimits) -> list[Member]:
    """Return the members of a layer; a tar of nothing but its end is an empty layer."""
    if not content.read_at(0, BLOCK_BYTES).strip(b"\0"):
        return []
    return list(read_members(content, limits))


def _find_entry(tree: LayerTree, layout: Layout) -> tuple[Parts, str]:
    """Return the folder of the microservice, and the file that makes it one.

    It is the top, the working directory, or the folder nearest to the top, if there is one such.
    """
    roots: list[Parts] = [()]
    if layout.working_dir.strip("/"):
        roots.append(read_path(layout.working_dir.lstrip("/")))
    places = tree.folders_with(ENTRIES)
    nearest = [each for each in places if len(each) == min(map(len, places))]
    if len(nearest) == 1:
        roots += nearest
    for root in roots:
        for entry in ENTRIES:
            if isinstance(tree.find((*root, entry)), Extent):
                return root, entry
    raise ImageError(
        f"cannot read image: no layer holds {' or '.join(ENTRIES)}, at its top, in its WORKDIR or "
        "in one folder"
    )


def _describe(
    found: dict[Parts, Extent], runtime: str, layout: Layout, room: Scratch, size: int
) -> Image:
    described = found.get((FILE_NAME,))
    if described is not None:
        manifest = _read_manifest(described)
        check_tags(layout.repo_tags, manifest)
        name = manifest.image
    elif runtime in SELF_DESCRIBING:
        name = name_of_tags(layout.repo_tags)
        text = default_manifest(name)
        manifest = parse_manifest(text)
        found = found | {(FILE_NAME,): room.append(iter([text.encode()]))}
    else:
        raise ImageError(f"cannot read image: no {FILE_NAME} beside its code")
    files = tuple(_file(parts, content) for parts, content in found.items())
    digest = content_digest((str(file.path), file.sha256) for file in files)
    repo_tags = layout.repo_tags or (f"{name}:latest",)
    return Image(name, repo_tags, runtime, manifest, digest, size, files, layout.signature)


def _file(parts: Parts, content: Extent) -> ImageFile:
    path = as_path(parts)
    if len(str(path)) > NAME_LIMIT:
        raise ImageError(f"cannot read image: {path!s:.80}… is too long a path")
    return ImageFile(path, content, content.sha256())


def _read_manifest(content: Extent) -> Manifest:
    if content.size > MANIFEST_LIMIT_BYTES:
        raise ImageSizeError(f"cannot read image: {FILE_NAME} has {content.size} bytes")
    try:
        return parse_manifest(content.read_at(0, content.size).decode())
    except UnicodeDecodeError as exc:
        raise ImageError(f"cannot read image: {FILE_NAME} is not UTF-8") from exc
