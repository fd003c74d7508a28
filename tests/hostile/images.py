"""Checks any bytes as headers of a tar, as the entries of layers, and as base64 in JSON."""

import contextlib
import io

from gateway.services.api.base64_json import Base64Field
from gateway.services.errors import ImageError
from gateway.services.images.archives.extent import Extent
from gateway.services.images.archives.layers import LayerTree
from gateway.services.images.archives.tars import Member, MemberKind, read_members
from gateway.services.images.limits import ImageLimits
from web import JsonError

LIMITS = ImageLimits(upload_bytes=10_000, content_bytes=5_000, files=50, layers=4)
KINDS = tuple(MemberKind)
BLOCK = 512


def check_images(data: bytes) -> None:
    """Let out ImageError and JsonError, and nothing else."""
    if data:
        (_check_tar, _check_layers, _check_json)[data[0] % 3](data[1:])


def _check_tar(data: bytes) -> None:
    blocks = [data[i : i + BLOCK].ljust(BLOCK, b"\0") for i in range(0, len(data), BLOCK)]
    tar = b"".join(_with_checksum(block) for block in blocks)
    with contextlib.suppress(ImageError):
        for member in read_members(Extent(io.BytesIO(tar), 0, len(tar)), LIMITS):
            assert sum(len(chunk) for chunk in member.content.chunks()) == member.content.size


def _with_checksum(block: bytes) -> bytes:
    """Return a block as a header whose checksum is right: no fuzzer finds one."""
    blank = block[:148] + b" " * 8 + block[156:]
    return block[:148] + b"%06o\0 " % sum(blank) + block[156:]


def _check_layers(data: bytes) -> None:
    content = io.BytesIO(data)
    tree = LayerTree(LIMITS)
    with contextlib.suppress(ImageError):
        for layer in data.split(b"\xff")[:4]:
            tree.add_layer(_members(layer, content))
        for parts, extent in tree.files(()):
            assert all(part not in ("", ".", "..") and "/" not in part for part in parts)
            assert extent.file is content


def _members(layer: bytes, content: io.BytesIO) -> list[Member]:
    """Return members of lines: a kind, a name, a tab, the target of a link."""
    members = []
    for line in layer.split(b"\n"):
        if line:
            name, _, link = line[1:].decode(errors="surrogateescape").partition("\t")
            extent = Extent(content, 0, min(len(line), len(content.getvalue())))
            members.append(Member(name, KINDS[line[0] % len(KINDS)], link, extent))
    return members


def _check_json(data: bytes) -> None:
    field = Base64Field()
    with contextlib.suppress(JsonError):
        for start in range(0, len(data), 7):
            field.feed(data[start : start + 7])
        assert isinstance(field.finish(), dict)


def image_seeds() -> list[bytes]:
    """Return the first inputs."""
    import tarfile

    from tests.image_archives import Content, hard_link, make_tar, symlink

    entries: dict[str, Content] = {
        "a/index.js": b"x",
        "l": symlink("a/index.js"),
        "h": hard_link("a/index.js"),
    }
    long: dict[str, Content] = {"n" * 120: b"y", "m": symlink("n" * 120)}
    tars = [make_tar(entries, tarfile.USTAR_FORMAT)]
    tars += [make_tar(entries | long, f) for f in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)]
    layers = b"0a/b\n2l\ta/b\n2d\ta\n3h\ta/b\n1f\xff0a/.wh.b\n0.wh..wh..opq\n2c\tc\n4x"
    return [
        *(b"\x00" + tar.rstrip(b"\0") for tar in tars),
        b"\x01" + layers,
        b'\x02{"a": [1, {"base64Image": 2}], "base64Image": "QUJD\\nRA=="}',
    ]
