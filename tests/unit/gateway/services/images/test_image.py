import contextlib
import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.services.errors import ImageError, ImageSizeError
from gateway.services.images.image import Image, read_image
from gateway.services.images.limits import ImageLimits
from gateway.services.images.pack import pack_image

LIMITS = ImageLimits(upload_bytes=400_000, content_bytes=200_000, files=20, layers=4)
TOML = b'name = "climate"\n'
GOOD = {"service.py": b"print()\n", "microservice.toml": TOML}


def member(name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.type = len(content), kind
    return info


def make_tar(files: Mapping[str, bytes], extra: tuple[tarfile.TarInfo, ...] = ()) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in files.items():
            tar.addfile(member(name, content), io.BytesIO(content))
        for info in extra:
            tar.addfile(info, io.BytesIO(bytes(max(0, info.size))))
    return packed.getvalue()


def make_image(*layers: bytes, diff_ids: list[str] | None = None, tag: str = "climate-v1") -> bytes:
    files = {f"{n}/layer.tar": layer for n, layer in enumerate(layers)}
    entry: dict[str, object] = {"RepoTags": [f"{tag}:latest"], "Layers": list(files)}
    if diff_ids is not None:
        entry["Config"] = "config.json"
        files["config.json"] = json.dumps({"rootfs": {"diff_ids": diff_ids}}).encode()
    return make_tar(files | {"manifest.json": json.dumps([entry]).encode()})


def read(packed: bytes) -> Image:
    return read_image(io.BytesIO(packed), io.BytesIO(), LIMITS)


def contents(image: Image) -> dict[str, bytes]:
    return {str(f.path): b"".join(image.read(f)) for f in image.files}


def test_image_has_name_digest_runtime_and_files() -> None:
    packed = make_image(make_tar(GOOD))
    image = read(packed)
    assert (image.name, image.repo_tags, image.runtime) == (
        "climate-v1",
        ("climate-v1:latest",),
        "python",
    )
    printed = "".join(f"{hashlib.sha256(GOOD[p]).hexdigest()}  {p}\n" for p in sorted(GOOD))
    assert image.digest == f"sha256:{hashlib.sha256(printed.encode()).hexdigest()}"
    assert image.size == len(packed)
    assert contents(image) == GOOD


def test_last_layer_with_an_entry_wins() -> None:
    old = make_tar(GOOD | {"old.txt": b"old"})
    new = make_tar({"service.py": b"new", "microservice.toml": TOML})
    other = make_tar({"etc/hosts": b""})
    assert contents(read(make_image(old, new, other)))["service.py"] == b"new"


def test_compressed_layer_is_read() -> None:
    layer = make_tar(GOOD)
    digest = f"sha256:{hashlib.sha256(layer).hexdigest()}"
    assert contents(read(make_image(gzip.compress(layer), diff_ids=[digest]))) == GOOD


def test_layer_must_be_the_one_in_the_config() -> None:
    with pytest.raises(ImageError, match="is not the layer in the config"):
        read(make_image(make_tar(GOOD), diff_ids=["sha256:" + 64 * "0"]))


def test_config_must_name_as_many_layers() -> None:
    with pytest.raises(ImageError, match="different layers"):
        read(make_image(make_tar(GOOD), diff_ids=["a", "b"]))


@pytest.mark.parametrize(
    "name", ["../service.py", "/etc/passwd", "a/../../b", "a\\b", "a\nb", "x" * 201]
)
def test_paths_outside_are_refused(name: str) -> None:
    with pytest.raises(ImageError, match="not a path inside"):
        read(make_image(make_tar({**GOOD, name: b"x"})))


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_devices_are_refused(kind: bytes) -> None:
    with pytest.raises(ImageError, match="dev is a device"):
        read(make_image(make_tar(GOOD, (member("dev", kind=kind),))))
    with pytest.raises(ImageError, match="dev is a device"):
        read(make_tar({}, (member("dev", kind=kind),)))


def test_junk_of_other_systems_is_ignored() -> None:
    assert contents(read(make_image(make_tar({"._service.py": b"x", **GOOD})))) == GOOD


def test_sizes_are_bounded() -> None:
    with pytest.raises(ImageSizeError):
        read(bytes(400_001))
    with pytest.raises(ImageSizeError):  # a bomb: 1 KiB that becomes 1 MiB
        read(make_image(gzip.compress(bytes(1_000_000))))
    with pytest.raises(ImageSizeError):
        read(make_image(make_tar({**GOOD, **{f"f{n}": b"" for n in range(20)}})))
    with pytest.raises(ImageSizeError):
        read(make_image(make_tar({**GOOD, "big": bytes(200_000)})))


def test_long_headers_are_refused_before_they_are_read() -> None:
    info = member("x")
    info.pax_headers = {"comment": "c" * 20_000}
    with pytest.raises(ImageSizeError, match="header"):
        read(make_image(make_tar(GOOD, (info,))))


@pytest.mark.parametrize("size", ["-512", "-1024", "999999999"])
def test_sizes_replaced_by_extended_headers_are_refused(size: str) -> None:
    info = member("x")
    info.pax_headers = {"size": size}
    with pytest.raises(ImageError):
        read(make_image(make_tar(GOOD, (info, member("y")))))


def test_sparse_members_cannot_claim_more_than_there_is() -> None:
    sparse = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "150000"}
    info = member("x")
    info.pax_headers = sparse
    packed = make_image(make_tar(GOOD, (info,)))
    with pytest.raises(ImageError):
        contents(read(packed))


@pytest.mark.parametrize(
    ("toml", "why"),
    [
        (b'name = "Climate"', "a-z 0-9"),
        (b'name = "climate"\nport = 1', "is not known"),
        (b'name = "climate"\n[http]\nbase = "/../x"', "must be a path"),
        (b'name = "climate"\n[http]\nexpose = "all"', "must be"),
        (b'name = "climate"\n[mqtt]\npublish = ["$hec/nodes/x"]', "belongs to the gateway"),
        (b'name = "climate"\n[mqtt]\nsubscribe = ["a/#/b"]', "not a topic filter"),
        (b'name = "climate"\n[limits]\nmemory_mib = 1', "must be 16"),
        (b"name = ", "microservice.toml"),
        (b"\xff", "not UTF-8"),
    ],
)
def test_manifest_is_checked(toml: bytes, why: str) -> None:
    with pytest.raises(ImageError, match=why):
        read(make_image(make_tar({"service.py": b"", "microservice.toml": toml})))


def test_many_extended_headers_are_refused() -> None:
    info = member("p", b"", tarfile.XHDTYPE)
    many = make_tar({}, (info,) * 3000)
    big = ImageLimits(files=5000)
    with pytest.raises(ImageError):
        read_image(io.BytesIO(many), io.BytesIO(), big)


def test_tag_and_manifest_must_agree() -> None:
    with pytest.raises(ImageError, match="tagged other-v1"):
        read(make_image(make_tar(GOOD), tag="other-v1"))


def test_what_is_no_image_is_refused() -> None:
    for packed in (b"", b"hello", bytes(10240), make_tar({"a": b""}), make_image()):
        with pytest.raises(ImageError):
            read(packed)


@given(st.binary(max_size=3000), st.integers(0, 20_000), st.integers(0, 30_000))
def test_any_damage_gives_an_image_or_an_image_error(noise: bytes, start: int, cut: int) -> None:
    packed = make_image(make_tar(GOOD))
    damaged = packed[:start] + noise + packed[start + len(noise) :]
    with contextlib.suppress(ImageError):
        contents(read(damaged[: cut or None]))


def write_service(directory: Path) -> None:
    (directory / "lib").mkdir(parents=True)
    (directory / "__pycache__").mkdir()
    (directory / "service.py").write_text("x = 1\n")
    (directory / "lib/part.py").write_text("y = 1\n")
    (directory / "__pycache__/service.pyc").write_bytes(b"z")
    (directory / ".env").write_text("SECRET=1")
    (directory / "microservice.toml").write_bytes(TOML)


def test_packing_is_reproducible_and_leaves_caches_out(tmp_path: Path) -> None:
    write_service(tmp_path / "a")
    write_service(tmp_path / "b")
    packed = pack_image(tmp_path / "a")
    assert packed == pack_image(tmp_path / "b")
    image = read(packed)
    assert {f.path for f in image.files} == {
        PurePosixPath(p) for p in ("service.py", "lib/part.py", "microservice.toml")
    }


def test_packing_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"cannot pack .*: no microservice.toml in it"):
        pack_image(tmp_path)
    (tmp_path / "microservice.toml").write_bytes(TOML)
    with pytest.raises(ImageError, match=r"cannot pack .*: it holds neither service.py nor"):
        pack_image(tmp_path)
    (tmp_path / "service.py").symlink_to("/etc/passwd")
    with pytest.raises(ImageError, match=r"cannot pack .*: .*(is a link|beside)"):
        pack_image(tmp_path)
