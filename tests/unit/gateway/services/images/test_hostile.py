"""Hostile and damaged archives: each is refused with its reason, in bounded memory."""

import bz2
import contextlib
import gzip
import io
import json
import lzma
import tarfile
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.services.errors import ImageError, ImageSizeError
from gateway.services.images.archives import compression
from gateway.services.images.archives.extent import Extent
from gateway.services.images.archives.tars import read_members
from gateway.services.images.image import Image, read_image
from gateway.services.images.limits import MIB, ImageLimits
from tests import image_archives as made
from tests.image_archives import CODE, Special, make_tar, sha256, symlink

LIMITS = ImageLimits(upload_bytes=400_000, content_bytes=200_000, files=40, layers=8)
WIDE = ImageLimits(upload_bytes=64 * MIB, content_bytes=64 * MIB, files=2000)
JS = {"index.js": CODE}
LAYER = make_tar(JS)


def read(packed: bytes, limits: ImageLimits = LIMITS) -> Image:
    return read_image(io.BytesIO(packed), io.BytesIO(), limits)


def archive(layer: bytes, **more: made.Content) -> bytes:
    entry = json.dumps([{"RepoTags": ["probe-v1:1"], "Layers": ["layer"]}]).encode()
    return make_tar({"layer": layer, "manifest.json": entry, **more})


def repack(packed: bytes, name: str, content: bytes | None) -> bytes:
    """Return an archive with one file changed, or left out."""
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        files: dict[str, made.Content] = {}
        for info in tar:
            member = tar.extractfile(info)
            files[info.name] = member.read() if member else Special(info.type, info.linkname)
    assert name in files
    del files[name]
    return make_tar(files | ({name: content} if content is not None else {}))


def names(packed: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        return [info.name for info in tar if info.isreg()]


# Digests ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("builder", [made.docker_old, made.oci_layout, made.kaniko, made.jib])
def test_no_file_of_an_archive_may_be_exchanged(builder: Any) -> None:
    packed = builder([LAYER])
    free = ("manifest.json", "index.json", "oci-layout", "repositories", "json", "VERSION")
    for name in names(packed):
        if not name.endswith(free):
            with pytest.raises(ImageError):
                read(repack(packed, name, make_tar({"index.js": b"evil"})))
            with pytest.raises(ImageError, match="cannot read image"):
                read(repack(packed, name, None))


@pytest.mark.parametrize("builder", [made.docker_25, made.oci_layout])
def test_blobs_have_the_digest_in_their_names(builder: Any) -> None:
    packed = builder([LAYER])
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        members = [(info.name, tar.extractfile(info)) for info in tar if info.isreg()]
        contents = {name: member.read() for name, member in members if member}
    ((name, config),) = ((n, c) for n, c in contents.items() if b'"diff_ids"' in c)
    with pytest.raises(ImageError, match="does not have the digest in its name"):
        read(repack(packed, name, config.replace(b"amd64", b"arm64")))


def test_a_config_is_the_one_in_its_name() -> None:
    packed = made.docker_old([LAYER])
    config = next(n for n in names(packed) if n.endswith(".json") and n != "manifest.json")
    with pytest.raises(ImageError, match="config does not have the digest in its name"):
        read(repack(packed, config, made.config_of([make_tar({"index.js": b"evil"})])))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"size": 1}, "its descriptor says 1"),
        ({"size": None}, "its descriptor says None"),
        ({"digest": f"sha256:{'0' * 64}"}, "is not in it"),
        ({"digest": "md5:abc"}, "has no digest"),
        ({"digest": "sha256:../../x"}, "has no digest"),
    ],
)
def test_oci_descriptors_must_be_true(change: dict[str, Any], why: str) -> None:
    packed = made.oci_layout([LAYER])
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        member = tar.extractfile("index.json")
        assert member is not None
        index = json.loads(member.read())
    index["manifests"][0] |= change
    with pytest.raises(ImageError, match=why):
        read(repack(packed, "index.json", json.dumps(index).encode()))


def test_nested_indexes_end() -> None:
    files: dict[str, made.Content] = {}
    index: dict[str, Any] = {"manifests": []}
    for _ in range(6):
        content = json.dumps(index).encode()
        digest = sha256(content)
        files[f"blobs/sha256/{digest}"] = content
        index = {"manifests": [{"digest": f"sha256:{digest}", "size": len(content)}]}
    files["index.json"] = json.dumps(index).encode()
    with pytest.raises(ImageError, match="leads to no image manifest"):
        read(make_tar(files))


@pytest.mark.parametrize(
    "manifest",
    [b"{}", b"[]", b"[1]", b"[{}, {}]", b"x", b'[{"Layers": "x"}]', b'[{"Layers": [1]}]',
     b'[{"Layers": ["../x"]}]', b'[{"Layers": [""]}]', b'[{"Layers": ["none"]}]',
     b'[{"Config": "none", "Layers": ["layer"]}]', b"[" * 5000],
)  # fmt: skip
def test_a_malformed_manifest_is_refused(manifest: bytes) -> None:
    with pytest.raises(ImageError, match="cannot read image"):
        read(make_tar({"layer": LAYER, "manifest.json": manifest}))


# Names --------------------------------------------------------------------------------------------


def test_a_name_may_not_stand_for_two_contents() -> None:
    twice = make_tar([("index.js", CODE), ("index.js", b"evil")])
    with pytest.raises(ImageError, match=r"index\.js is in it twice"):
        read(archive(twice))
    assert read(archive(make_tar([("index.js", CODE), ("./index.js", CODE)])))
    entry = json.dumps([{"RepoTags": ["a-v1:1"], "Layers": ["l"]}]).encode()
    other = entry.replace(b"a-v1", b"b-v1")
    with pytest.raises(ImageError, match=r"manifest.json is in it twice"):
        read(make_tar([("l", LAYER), ("manifest.json", entry), ("manifest.json", other)]))
    assert read(make_tar([("l", LAYER), ("l", LAYER), ("manifest.json", entry)]))


@pytest.mark.parametrize("name", ["../manifest.json", "/etc/x", "a/../../b", "a\\b", "a\nb"])
def test_names_of_the_archive_stay_inside(name: str) -> None:
    with pytest.raises(ImageError, match="is not a path inside it"):
        read(archive(LAYER, **{name: b"x"}))


def test_no_file_is_written_through_a_link() -> None:
    lower, upper = make_tar({"lib": symlink("/etc")}), make_tar({**JS, "lib/cron": b"x"})
    with pytest.raises(ImageError, match="lib/cron goes through a link"):
        read(made.docker_old([lower, upper]))


# Sizes --------------------------------------------------------------------------------------------


class EndlessTar(io.RawIOBase):
    """A tar of a million empty files that is nowhere as a whole."""

    SIZE = 1_000_000 * 512

    def __init__(self) -> None:
        self._position = 0
        self.read_bytes = 0

    def seek(self, offset: int, whence: int = 0) -> int:
        self._position = self.SIZE if whence == 2 else offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        self.read_bytes += size
        number = self._position // 512
        return tarfile.TarInfo(f"{number:08}").tobuf(tarfile.USTAR_FORMAT)[:size]


def test_a_million_entries_are_refused_early_and_in_little_memory() -> None:
    tar = EndlessTar()
    tracemalloc.start()
    with pytest.raises(ImageSizeError, match="more than 2000 files"):
        list(read_members(Extent(tar, 0, tar.SIZE), WIDE))  # type: ignore[arg-type]
    assert tracemalloc.get_traced_memory()[1] < 4 * MIB
    tracemalloc.stop()
    assert tar.read_bytes < 2 * MIB


def test_bombs_are_refused_by_size_and_by_ratio() -> None:
    with pytest.raises(ImageSizeError, match="the archive has more than 200000 bytes"):
        read(gzip.compress(bytes(1_000_000)))
    for how in ("gzip", "zstd"):
        with pytest.raises(ImageSizeError, match="layer has more than 200000 bytes"):
            read(archive(made.compress(bytes(1_000_000), how)))
        with pytest.raises(ImageSizeError, match="more than 200 times as large"):
            read(archive(made.compress(bytes(20 * MIB), how)), WIDE)


def test_a_bomb_in_a_bomb_is_refused() -> None:
    inner = gzip.compress(archive(gzip.compress(make_tar({"index.js": bytes(190_000)}))))
    assert read(inner)
    with pytest.raises(ImageSizeError):
        read(gzip.compress(archive(gzip.compress(make_tar({"index.js": bytes(210_000)})))))
    several = [make_tar({f"{n}": bytes(190_000)}) for n in range(4)]
    with pytest.raises(ImageSizeError, match="when decompressed"):
        read(made.jib([*several, LAYER]))


def test_layers_together_are_bounded() -> None:
    limits = ImageLimits(upload_bytes=MIB, content_bytes=200_000, files=40)
    layers = [make_tar({**JS, str(n): bytes(90_000)}) for n in range(3)]
    with pytest.raises(ImageSizeError, match="or 200000 bytes"):
        read(made.docker_old(layers), limits)
    with pytest.raises(ImageSizeError, match="more than 40 files"):
        read(made.docker_old([make_tar({f"{n}/{m}": b"" for m in range(30)}) for n in range(2)]))
    with pytest.raises(ImageError, match="9 layers, not 1 to 8"):
        read(made.docker_old([make_tar({**JS, str(n): b""}) for n in range(9)]))


@pytest.mark.parametrize(
    ("pack", "name"), [(bz2.compress, "bzip2"), (lzma.compress, "xz")], ids=["bzip2", "xz"]
)
def test_other_compressions_are_named(pack: Any, name: str) -> None:
    with pytest.raises(ImageError, match=f"compressed with {name}; use gzip or zstd"):
        read(archive(pack(LAYER)))


def test_a_window_of_zstd_is_bounded() -> None:
    from backports import zstd

    options: dict[int, int] = {
        zstd.CompressionParameter.window_log: 27,
        zstd.CompressionParameter.checksum_flag: 1,
    }
    compressor = zstd.ZstdCompressor(options=options)
    packed = compressor.compress(LAYER) + compressor.flush()
    with pytest.raises(ImageError, match="damaged"):
        read(archive(packed))


def test_many_gzip_members_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression, "MEMBERS_LIMIT", 100)
    with pytest.raises(ImageSizeError, match="more than 100 parts"):
        read(archive(gzip.compress(b"") * 101))


@pytest.mark.parametrize("kind", [b"S", b"M", b"D", b"Z"])
def test_members_of_unknown_types_are_refused(kind: bytes) -> None:
    with pytest.raises(ImageError, match="is of type"):
        read(archive(make_tar({**JS, "x": Special(kind)})))


def header(name: str, **fields: bytes) -> bytes:
    """Return the header of a member with some fields of its own."""
    places = {"size": (124, 12), "kind": (156, 1)}
    raw = bytearray(tarfile.TarInfo(name).tobuf(tarfile.USTAR_FORMAT))
    for key, value in fields.items():
        start, length = places[key]
        raw[start : start + length] = value.ljust(length, b"\0")
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw)
    return bytes(raw)


@pytest.mark.parametrize(
    "size",
    [b"\xff" * 12, b"\x80" + b"\xff" * 11, b"-1", b"+7", b"1_0", b"9", b"77777777777", b"0x10"],
)
def test_sizes_that_lie_are_refused(size: bytes) -> None:
    with pytest.raises(ImageError, match="cannot read image"):
        read(archive(header("x", size=size) + bytes(1024)))


@pytest.mark.parametrize(
    "record",
    [
        b"5 a=b\n",
        b"x",
        b"99 path=y\n",
        b"0 a=b\n",
        b"12 path:abcd\n",
        b"9 size=\n ",
        b"-9 path=y\n",
    ],
)
def test_malformed_pax_records_are_refused(record: bytes) -> None:
    extended = header("pax", size=b"%o" % len(record), kind=b"x") + record.ljust(512, b"\0")
    with pytest.raises(ImageError, match="cannot read image"):
        read(archive(extended + header("index.js") + bytes(1024)))


@pytest.mark.parametrize("key", ["path", "size", "linkpath"])
def test_a_header_for_all_members_may_not_rename_them(key: str) -> None:
    record = f"{len(key) + 6} {key}=1\n".encode()
    record = b"%d" % len(record) + record[record.index(b" ") :]
    extended = header("g", size=b"%o" % len(record), kind=b"g") + record.ljust(512, b"\0")
    with pytest.raises(ImageError, match="cannot read image"):
        read(archive(extended + header("index.js") + bytes(1024)))


# Damage -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["", "gzip", "zstd"])
def test_cut_at_any_length_it_is_refused_or_the_same_image(how: str) -> None:
    packed = made.oci_layout([LAYER], how=how)
    whole = read(packed).digest
    same = 0
    for length in range(0, len(packed), 16):
        with contextlib.suppress(ImageError):
            assert read(packed[:length]).digest == whole
            same += 1
    assert same < 10240 / 16  # only the padding at its end may be missing


@pytest.mark.parametrize("how", ["gzip", "zstd"])
def test_a_compressed_archive_cut_anywhere_is_refused(how: str) -> None:
    packed = made.compress(made.docker_old([LAYER]), how)
    for length in range(len(packed)):
        with pytest.raises(ImageError):
            read(packed[:length])


@settings(max_examples=60)
@given(
    st.sampled_from([made.docker_old, made.docker_25, made.oci_layout, made.skopeo_docker]),
    st.binary(min_size=1, max_size=40),
    st.floats(0, 1),
)
def test_any_damage_gives_an_image_or_an_image_error(
    builder: Any, noise: bytes, where: float
) -> None:
    packed = bytearray(builder([make_tar({**JS, "l": symlink("index.js"), ".wh.x": b""})]))
    start = int(where * len(packed))
    packed[start : start + len(noise)] = noise
    with contextlib.suppress(ImageError):
        image = read(bytes(packed))
        for file in image.files:
            assert sum(len(chunk) for chunk in image.read(file)) == file.size


ENTRY_NAMES = st.sampled_from(["a", "a/b", "a/b/c", "b", "d", ".wh.a", "a/.wh.b", "a/.wh..wh..opq"])
ENTRY = st.one_of(
    st.binary(max_size=3),
    st.builds(symlink, st.sampled_from(["a", "b", "../b", "/a/b", ".", "..", "a/b/c/d", ""])),
    st.builds(made.hard_link, st.sampled_from(["a", "a/b", "b", "index.js"])),
    st.just(made.FOLDER),
)


@settings(max_examples=150)
@given(st.lists(st.lists(st.tuples(ENTRY_NAMES, ENTRY), max_size=6), min_size=1, max_size=3))
def test_layers_of_any_entries_stay_inside(layers: list[list[tuple[str, made.Content]]]) -> None:
    packed = made.docker_old([*(make_tar(layer) for layer in layers), LAYER])
    with contextlib.suppress(ImageError):
        image = read(packed)
        paths = [file.path for file in image.files]
        assert len(set(paths)) == len(paths) <= LIMITS.files + 1
        assert not any(parent in paths for path in paths for parent in path.parents)
        assert not any(part in ("..", "") or part[:4] == ".wh." for p in paths for part in p.parts)


def test_the_checksum_of_gzip_is_checked() -> None:
    packed = bytearray(gzip.compress(archive(LAYER)))
    packed[-6] ^= 1
    with pytest.raises(ImageError, match="damaged"):
        read(bytes(packed))
