"""Archives of every builder: all give the same files, and so the same digest."""

import gzip
import io
import json
import tarfile
from collections.abc import Callable, Sequence

import pytest

from gateway.services.errors import ImageError, ImageSizeError
from gateway.services.images.image import Image, machine_name, read_image
from gateway.services.images.limits import ImageLimits
from tests import image_archives as made
from tests.image_archives import CODE, FOLDER, hard_link, make_tar, symlink

LIMITS = ImageLimits(upload_bytes=400_000, content_bytes=200_000, files=40, layers=8)
WIDE = ImageLimits(files=1000)
JS = {"index.js": CODE}
TOML = b'name = "probe"\n'
BUILDERS: dict[str, Callable[[Sequence[bytes]], bytes]] = {
    "docker before 25": made.docker_old,
    "docker since 25": made.docker_25,
    "docker since 25, no OCI layers": lambda layers: made.docker_25(layers, oci_layers=False),
    "buildx": made.oci_layout,
    "buildx with zstd": lambda layers: made.oci_layout(layers, how="zstd"),
    "buildx uncompressed": lambda layers: made.oci_layout(layers, how=""),
    "buildx for several platforms": lambda layers: made.nested_oci(
        {machine_name(): layers, "riscv64": [make_tar({"index.js": b"other"})]}
    ),
    "skopeo, buildah": made.skopeo_oci,
    "podman save": made.skopeo_docker,
    "kaniko": made.kaniko,
    "jib": made.jib,
}


def read(packed: bytes) -> Image:
    return read_image(io.BytesIO(packed), io.BytesIO(), LIMITS)


def contents(image: Image) -> dict[str, bytes]:
    return {str(f.path): b"".join(image.read(f)) for f in image.files}


def merged(*layers: made.Files) -> dict[str, bytes]:
    """Return the files of an image of these layers, without the manifest it gets."""
    files = contents(read(made.docker_old([make_tar(layer) for layer in layers])))
    files.pop("microservice.toml")
    return files


# case S16
@pytest.mark.parametrize("builder", BUILDERS)
def test_images_of_every_builder_are_read(builder: str) -> None:
    layers = [make_tar({"index.js": b"old", "lib/a.js": b"a"}), make_tar(JS)]
    image = read(BUILDERS[builder](layers))
    assert (image.name, image.runtime) == ("probe-v1", "js")
    files = contents(image)
    assert (files["index.js"], files["lib/a.js"]) == (CODE, b"a")
    assert image.digest == read(made.docker_old(layers)).digest


# case S16
def test_manifest_json_wins_when_the_oci_layers_are_empty() -> None:
    packed = made.docker_25([make_tar(JS)], oci_layers=False)
    assert contents(read(packed))["index.js"] == CODE


@pytest.mark.parametrize("builder", BUILDERS)
def test_a_whole_archive_may_be_compressed(builder: str) -> None:
    packed = BUILDERS[builder]([make_tar(JS)])
    for again in (gzip.compress(packed), made.compress(packed, "zstd")):
        assert contents(read(again))["index.js"] == CODE


# case S17
@pytest.mark.parametrize("kind", [symlink, hard_link])
def test_a_layer_may_link_to_another_member(kind: Callable[[str], made.Special]) -> None:
    layer = make_tar(JS)
    linked = {"symlink": "../aa/layer.tar", "hard_link": "aa/layer.tar"}[kind.__name__]
    entry = [{"RepoTags": ["probe-v1:1"], "Layers": ["aa/layer.tar", "bb/layer.tar"]}]
    files: dict[str, made.Content] = {
        "bb/layer.tar": kind(linked),  # before its target
        "aa/layer.tar": layer,
        "manifest.json": json.dumps(entry).encode(),
    }
    assert contents(read(make_tar(files)))["index.js"] == CODE
    del files["aa/layer.tar"]
    entry[0]["Layers"] = ["bb/layer.tar"]
    files["manifest.json"] = json.dumps(entry).encode()
    with pytest.raises(ImageError, match=r"bb/layer.tar is a link to .*not in the archive"):
        read(make_tar(files))


# case S17
def test_a_link_written_from_the_root_of_the_archive_is_followed() -> None:
    entry = [{"RepoTags": ["probe-v1:1"], "Layers": ["bb/layer.tar"]}]
    files: dict[str, made.Content] = {"x.tar": make_tar(JS), "bb/layer.tar": symlink("x.tar")}
    packed = make_tar(files | {"manifest.json": json.dumps(entry).encode()})
    assert contents(read(packed))["index.js"] == CODE


@pytest.mark.parametrize("target", ["../../../etc/passwd", "/etc/passwd", "bb/layer.tar"])
def test_links_out_of_the_archive_and_in_circles_are_refused(target: str) -> None:
    entry = [{"RepoTags": ["probe-v1:1"], "Layers": ["bb/layer.tar"]}]
    files: dict[str, made.Content] = {
        "bb/layer.tar": symlink(target),
        "manifest.json": json.dumps(entry).encode(),
    }
    with pytest.raises(ImageError, match=r"bb/layer\.tar"):
        read(make_tar(files))


def test_layers_are_merged_and_whiteouts_hide_what_is_below() -> None:
    lower = {"index.js": b"old", "a/x": b"1", "a/y": b"2", "b/x": b"3", "c": b"4"}
    upper = {"index.js": CODE, "a/.wh.x": b"", "b/.wh..wh..opq": b"", "b/z": b"5", ".wh.c": b""}
    assert merged(lower, upper) == {"index.js": CODE, "a/y": b"2", "b/z": b"5"}


def test_a_whiteout_hides_nothing_of_its_own_layer() -> None:
    lower = {"index.js": b"old", "d/old": b"1"}
    upper = {"d/new": b"2", "d/.wh..wh..opq": b"", "index.js": CODE, ".wh.index.js": b""}
    assert merged(lower, upper) == {"index.js": CODE, "d/new": b"2"}
    first = {"index.js": CODE, ".wh.nothing": b"", ".wh..wh.plnk": b"", "e/.wh.f": b""}
    assert merged(first) == {"index.js": CODE}


@pytest.mark.parametrize("name", [".wh.", ".wh..", "a/.wh..."])
def test_whiteouts_that_hide_no_file_are_refused(name: str) -> None:
    with pytest.raises(ImageError, match="hides no file"):
        merged({"a/b": b""}, {name: b"", **JS})


def test_a_folder_replaces_a_file_and_a_file_a_folder() -> None:
    lower: made.Files = {"index.js": CODE, "a": b"1", "b/x": b"2"}
    upper: made.Files = {"a": FOLDER, "a/x": b"3", "b": b"4"}
    assert merged(lower, upper) == {"index.js": CODE, "a/x": b"3", "b": b"4"}


def test_links_within_an_image_are_replaced_by_what_they_lead_to() -> None:
    layer: made.Files = {
        "node_modules/tool/cli.js": b"cli",
        "node_modules/.bin/tool": symlink("../tool/cli.js"),
        "absolute": symlink("/node_modules/tool/cli.js"),
        "through": symlink("absolute"),
        "folder": symlink("node_modules/tool"),
        "hard": hard_link("node_modules/tool/cli.js"),
        "index.js": symlink("main.js"),
        "main.js": CODE,
    }
    assert merged(layer) == {
        "node_modules/tool/cli.js": b"cli",
        "node_modules/.bin/tool": b"cli",
        "absolute": b"cli",
        "through": b"cli",
        "folder/cli.js": b"cli",
        "hard": b"cli",
        "index.js": CODE,
        "main.js": CODE,
    }


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"l": symlink("../../etc/passwd")}, "the link l leads outside"),
        ({"l": symlink("/etc/passwd")}, "l is a link to /etc/passwd, which is not in the image"),
        ({"l": hard_link("etc/passwd")}, "l is a link to etc/passwd, which is not in the image"),
        ({"l": hard_link("../x")}, "not a path inside"),
        ({"l": symlink("l")}, "leads in a circle"),
        ({"a": symlink("b"), "b": symlink("a")}, "leads in a circle"),
        ({"d/l": symlink("."), "d/x": b""}, "leads in a circle"),
        ({"d/l": symlink("../d"), "d/x": b""}, "leads in a circle"),
        ({"d": symlink("/"), "x": b""}, "leads in a circle"),
        ({"d": symlink("e"), "e/x": b"", "d/y": b""}, "goes through a link"),
        ({"l": symlink("x" * 401)}, "too long"),
    ],
)
def test_links_that_lead_nowhere_good_are_refused(files: made.Files, why: str) -> None:
    with pytest.raises(ImageError, match=why):
        merged({**JS, **files})


def test_links_to_folders_cannot_multiply_files() -> None:
    bomb: dict[str, made.Content] = {**JS, "d0/x": b""}
    for level in range(1, 10):
        bomb |= {f"d{level}/{n}": symlink(f"../d{level - 1}") for n in range(3)}
    with pytest.raises(ImageError, match="more than 40 files"):
        merged(bomb)


def test_links_take_no_more_work_than_is_bounded() -> None:
    empty: dict[str, made.Content] = {**JS, "d0/": FOLDER}
    for level in range(1, 15):  # 3 ** 14 folders, and no file in them
        empty |= {f"d{level}/{n}": symlink(f"../d{level - 1}") for n in range(3)}
    with pytest.raises(ImageSizeError, match="over 1000000 steps"):
        read_image(io.BytesIO(made.docker_old([make_tar(empty)])), io.BytesIO(), WIDE)


def test_code_may_be_in_the_working_directory() -> None:
    layer = make_tar({"app/index.js": CODE, "app/a.js": b"a", "etc/x": b"", "lib": symlink("app")})
    image = read(made.docker_old([layer], WorkingDir="/app"))
    assert set(contents(image)) == {"index.js", "a.js", "microservice.toml"}


@pytest.mark.parametrize(
    ("more", "is_found"),
    [
        ({}, True),
        ({"usr/src/app/node_modules/a/index.js": b"", "usr/src/app/lib/index.js": b""}, True),
        ({"node_modules/a/index.js": b"", "opt/a/b/c/d/index.js": b""}, True),
        ({"usr/src/other/index.js": b""}, False),
    ],
)
def test_code_may_be_in_any_one_folder(more: made.Files, is_found: bool) -> None:
    packed = made.docker_old([make_tar({"usr/src/app/index.js": CODE, **more})])
    if is_found:
        assert contents(read(packed))["index.js"] == CODE
        return
    with pytest.raises(ImageError, match=r"no layer holds service\.py .* or in one folder"):
        read(packed)


@pytest.mark.parametrize(
    ("tag", "name", "version"),
    [
        ("probe-v1:latest", "probe", "1"),
        ("probe-v12", "probe", "12"),
        ("docker.io/library/probe-v1:7", "probe", "1"),
        ("localhost:5000/team/my_Probe:1.2", "my-probe", "1"),
        ("probe-v1@sha256:abc", "probe", "1"),
    ],
)
def test_javascript_images_get_a_manifest_by_their_tag(tag: str, name: str, version: str) -> None:
    image = read(made.docker_old([make_tar(JS)], tag))
    assert (image.manifest.name, image.manifest.version) == (name, version)
    assert image.name == tag.split("@")[0].rpartition("/")[2].partition(":")[0]
    assert image.manifest.http.base == ""


def test_the_digest_covers_the_name_of_an_image_without_a_manifest() -> None:
    layers = [make_tar(JS)]
    one, other = made.docker_old(layers), made.docker_old(layers, "other-v1:latest")
    assert read(one).digest != read(other).digest


@pytest.mark.parametrize("tag", ["probe-v1:latest", "docker.io/me/probe-v1:7", "probe:1"])
def test_tags_may_name_a_registry_or_leave_the_version_out(tag: str) -> None:
    layer = make_tar({"service.py": b"", "microservice.toml": TOML})
    assert read(made.docker_old([layer], tag)).name == "probe-v1"


def test_an_image_without_any_name_is_refused() -> None:
    entry = json.dumps([{"RepoTags": None, "Layers": ["l.tar"]}]).encode()
    with pytest.raises(ImageError, match="it has no name; tag it"):
        read(make_tar({"l.tar": make_tar(JS), "manifest.json": entry}))


def test_one_image_is_chosen_by_platform() -> None:
    layers = [make_tar(JS)]
    with pytest.raises(ImageError, match=r"none for .* in it, but for riscv64, s390x"):
        read(made.nested_oci({"riscv64": layers, "s390x": layers}))
    assert read(made.nested_oci({"s390x": layers})).name == "probe-v1"  # no choice, no question


def test_webassembly_is_recognised() -> None:
    assert read(made.docker_old([make_tar({"index.wasm": b"\0asm"})])).runtime == "wasm"


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_all_forms_of_tars_are_read(form: int) -> None:
    long = "/".join(["folder" * 4] * 6) + "/file.js"
    short: made.Files = {
        "/": FOLDER,
        "index.js": CODE,
        "._index.js": b"junk",
        "./here/": FOLDER,
        "./here/x": b"1",
    }
    target = "here/x" if form == tarfile.USTAR_FORMAT else long  # it has 100 bytes for one
    layer = make_tar({**short, long: b"2", "link": symlink(target)}, form)
    files = contents(read(made.docker_old([layer])))
    assert (files["here/x"], files[long], files["link"]) == (b"1", b"2", files[target])
    assert "._index.js" not in files


def test_tars_of_version_7_are_read() -> None:
    info = tarfile.TarInfo("index.js")
    info.size = len(CODE)
    header = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
    header[257:] = bytes(len(header) - 257)  # no magic, no prefix
    header[156:157] = b"\0"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    layer = bytes(header) + CODE.ljust(512, b"\0") + bytes(1024)
    assert contents(read(made.docker_old([layer])))["index.js"] == CODE


def test_many_gzip_members_make_one_layer() -> None:
    layer = make_tar(JS)
    pieces = b"".join(gzip.compress(layer[i : i + 700]) for i in range(0, len(layer), 700))
    entry = json.dumps([{"RepoTags": ["probe-v1:1"], "Layers": ["l"]}]).encode()
    packed = make_tar({"l": pieces + bytes(512), "manifest.json": entry})
    assert contents(read(packed))["index.js"] == CODE
