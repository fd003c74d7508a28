import io
import json
import os
import tarfile
from pathlib import Path

import pytest

from gateway.cli.errors import CliError
from gateway.cli.keys.signing import make_signing_key
from gateway.cli.packaging.builder import BuildOptions, build_folder, rename_manifest
from gateway.services.images.pack import PackOptions, pack_image, packed_digest
from gateway.services.images.signature import verify_signature

MANIFEST = 'name = "meter"  # comment\nversion = "2"\n\n[http]\nbase = "/meter/v1"\n'


def write(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "microservice.toml").write_text(MANIFEST)
    (folder / "service.py").write_text("x = 1\n")
    (folder / "lib").mkdir()
    (folder / "lib/part.py").write_text("y = 1\n")
    return folder


def members(tar: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        read = {info.name: archive.extractfile(info) for info in archive}
        return {name: file.read() for name, file in read.items() if file is not None}


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    one, two = write(tmp_path / "a/meter"), write(tmp_path / "b/other")
    for path in (two / "service.py", two / "lib"):
        os.utime(path, (1, 1))
    (two / "service.py").chmod(0o755)
    (two / "__pycache__").mkdir()
    (two / "__pycache__/service.pyc").write_bytes(b"x")
    (two / "meter-v1.tar").write_bytes(b"a build before")
    (two / "requirements.lock").write_text("")
    (two / "test_service.py").write_text("")
    (two / ".env").write_text("SECRET=1")
    assert build_folder(one).tar == build_folder(two).tar


def test_no_path_or_name_of_this_machine_is_in_an_image(tmp_path: Path) -> None:
    tar = build_folder(write(tmp_path / "meter")).tar
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        for info in archive:
            assert (info.mtime, info.uid, info.gid, info.uname, info.gname) == (0, 0, 0, "", "")
            assert info.mode == 0o444
    assert str(tmp_path).encode() not in tar


def test_an_image_for_one_machine_names_it(tmp_path: Path) -> None:
    folder = write(tmp_path / "meter")
    tar = pack_image(folder, options=PackOptions({"packages/x.so": b"ELF"}, "arm/v7", {"a": "b"}))
    (entry,) = json.loads(members(tar)["manifest.json"])
    config = json.loads(members(tar)[entry["Config"]])
    assert (config["architecture"], config["variant"]) == ("arm", "v7")
    assert config["config"] == {"Labels": {"a": "b"}}


def test_a_signed_image_carries_a_signature_of_its_content(tmp_path: Path) -> None:
    folder, key = write(tmp_path / "meter"), tmp_path / "release.key"
    made = json.loads(make_signing_key(key, as_json=True))
    assert key.stat().st_mode & 0o077 == 0
    tar = build_folder(folder, BuildOptions(signing_key=key)).tar
    assert packed_digest(tar) == build_folder(folder).digest, "a signature is no content"
    signers = verify_signature(members(tar)["signature.json"].decode(), packed_digest(tar))
    assert signers == {made["id"]}
    assert json.loads(make_signing_key(key, as_json=True)) == {**made, "made": False}
    assert (tmp_path / "release.key.pub").read_text() == made["id"] + "\n"


def test_a_key_that_is_none_is_told_with_what_to_do(tmp_path: Path) -> None:
    folder = write(tmp_path / "meter")
    (tmp_path / "bad.key").write_text("nonsense")
    for name, why in (("bad.key", "cannot use key"), ("none.key", "cannot read key")):
        with pytest.raises(CliError, match=f"{why} .*`hecate keys signing FILE` makes one"):
            build_folder(folder, BuildOptions(signing_key=tmp_path / name))


def test_a_microservice_is_renamed_without_touching_the_rest() -> None:
    text, manifest = rename_manifest(MANIFEST, "meter-dev")
    assert manifest.image == "meter-dev-v2"
    assert text == MANIFEST.replace('"meter"  # comment', '"meter-dev"')
    with pytest.raises(CliError, match="has no line `name"):
        rename_manifest('"name" = "meter"\n', "x")


def test_requirements_and_a_folder_of_packages_exclude_each_other(tmp_path: Path) -> None:
    folder = write(tmp_path / "meter")
    (folder / "requirements.txt").write_text("")
    (folder / "packages").mkdir()
    with pytest.raises(CliError, match=r"fills the image's folder packages, and there is one"):
        build_folder(folder)
    (folder / "packages").rmdir()
    (folder / "service.py").rename(folder / "index.js")
    with pytest.raises(CliError, match=r"requirements.txt is for Python; bundle"):
        build_folder(folder)
