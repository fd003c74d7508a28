"""`hecate build` with the real pip, against an index of the test's own."""

import io
import json
import re
import tarfile
from pathlib import Path

import pytest

from tests.commands import Person
from tests.wheels import pip_environ, write_sdist, write_wheel

ARM = ("--platform", "linux/arm64", "--python", "3.11")
INTEL = ("--platform", "linux/amd64", "--python", "3.11")


@pytest.fixture
def person(tmp_path: Path) -> Person:
    (tmp_path / "home").mkdir()
    return Person(tmp_path / "home")


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """Give an index with one pure package, and one that is for two kinds of machine."""
    folder = tmp_path / "index"
    write_wheel(folder, "pure", requires=["native", "only311; python_version == '3.11'"])
    write_wheel(folder, "pure", requires=["only64; platform_machine == 'aarch64'"], version="0.9")
    write_wheel(folder, "only311")
    write_wheel(folder, "only64")
    for machine, version in (("x86_64", "1.0"), ("aarch64", "1.0"), ("x86_64", "2.0")):
        tag = f"cp311-cp311-manylinux2014_{machine}"
        write_wheel(folder, "native", version, tag=tag, files={"native/core.so": machine})
    return folder


@pytest.fixture
def folder(tmp_path: Path, person: Person) -> Path:
    person.done("new", str(tmp_path / "meter"))
    (tmp_path / "meter/requirements.txt").write_text("pure\n")
    return tmp_path / "meter"


def files_of(image: Path) -> set[str]:
    with tarfile.open(image) as outer:
        (name,) = (each for each in outer.getnames() if each.endswith("/layer.tar"))
        layer = outer.extractfile(name)
        assert layer is not None
        with tarfile.open(fileobj=io.BytesIO(layer.read())) as inner:
            return set(inner.getnames())


def test_packages_are_those_of_the_target(
    person: Person, index: Path, folder: Path, tmp_path: Path
) -> None:
    environ = pip_environ(index, person.home)
    out = tmp_path / "out"
    for options, native in ((ARM, "native==1.0"), (INTEL, "native==2.0")):
        image = out / f"{options[1].rpartition('/')[2]}.tar"
        told = json.loads(
            person.done("build", str(folder), "-o", str(image), *options, "--json", **environ)
        )
        assert told["packages"] == [native, "only311==1.0", "pure==1.0"]
        assert told["platform"] == options[1]
        assert {"packages/pure/__init__.py", "packages/native/core.so"} <= files_of(image)
    (folder / "requirements.txt").write_text("pure==0.9\n")
    for options, names in ((ARM, ["only64==1.0", "pure==0.9"]), (INTEL, ["pure==0.9"])):
        told = person.done(
            "build", str(folder), "-o", str(out / "x"), *options, "--json", **environ
        )
        assert json.loads(told)["packages"] == names  # markers are those of the target
    (folder / "requirements.txt").write_text("pure==1.0\nonly311; python_version < '3.12'\n")
    why = person.refused("build", str(folder), *ARM[:3], "3.12", **environ)
    assert "no wheel of native for cp312-manylinux_2_31_aarch64" in why


def test_the_lock_gives_the_same_bytes_without_an_index(
    person: Person, index: Path, folder: Path, tmp_path: Path
) -> None:
    environ = pip_environ(index, person.home)
    one, two = tmp_path / "one.tar", tmp_path / "two.tar"
    person.done("build", str(folder), "-o", str(one), *ARM, **environ)
    lock = (folder / "requirements.lock").read_text()
    assert re.search(r"^pure==1\.0 --hash=sha256:[0-9a-f]{64}$", lock, re.MULTILINE)
    write_wheel(index, "pure", "3.0")
    person.done("build", str(folder), "-o", str(two), *ARM, **environ)
    assert one.read_bytes() == two.read_bytes(), "the lock decides, not what is newest"
    elsewhere = {**environ, "XDG_CACHE_HOME": str(tmp_path / "another")}
    person.done("build", str(folder), "-o", str(two), *ARM, **elsewhere)
    assert one.read_bytes() == two.read_bytes(), "fetched again, by its hash"
    for wheel in index.iterdir():
        wheel.unlink()
    person.done("build", str(folder), "-o", str(two), *ARM, **environ)
    assert one.read_bytes() == two.read_bytes(), "the cache has them"
    assert (folder / "requirements.lock").read_text() == lock
    write_wheel(index, "pure", "3.0")
    told = person.done("build", str(folder), "-o", str(two), *ARM, "--upgrade", "--json", **environ)
    assert json.loads(told)["packages"] == ["pure==3.0"]


def test_another_file_than_the_lock_names_is_refused(
    person: Person, index: Path, folder: Path, tmp_path: Path
) -> None:
    environ = pip_environ(index, person.home)
    person.done("build", str(folder), "-o", str(tmp_path / "x"), *ARM, **environ)
    write_wheel(index, "pure", files={"pure/__init__.py": "import evil\n"})
    elsewhere = {**environ, "XDG_CACHE_HOME": str(tmp_path / "another")}
    why = person.refused("build", str(folder), "-o", str(tmp_path / "y"), *ARM, **elsewhere)
    assert "the index gives another file than requirements.lock names" in why
    assert not (tmp_path / "y").exists()


# case S25
@pytest.mark.parametrize(
    ("requirement", "reasons"),
    [
        ("sourced", ["no wheel of sourced for cp311-manylinux_2_31_aarch64",
                     "pip wheel --no-deps 'sourced' -w"]),
        ("native==2.0", ["no wheel of native==2.0 for cp311-manylinux_2_31_aarch64",
                         "ask for a version that has one: 1.0"]),
        ("typing-error", ["the index has no package typing-error"]),
    ],
)  # fmt: skip
def test_a_package_without_a_wheel_stops_the_build(
    person: Person, index: Path, folder: Path, tmp_path: Path, requirement: str, reasons: list[str]
) -> None:
    write_sdist(index, "sourced")
    (folder / "requirements.txt").write_text(f"pure\n{requirement}\n")
    image = tmp_path / "meter.tar"
    why = person.refused(
        "build", str(folder), "-o", str(image), *ARM, **pip_environ(index, person.home)
    )
    assert why.startswith(f"cannot build {folder}: ")
    for reason in reasons:
        assert reason in why
    assert not image.exists()
    assert not (folder / "requirements.lock").exists()


# case S25
def test_a_wheel_that_was_made_elsewhere_is_taken_from_beside(
    person: Person, index: Path, folder: Path, tmp_path: Path
) -> None:
    write_sdist(index, "sourced")
    (folder / "requirements.txt").write_text("sourced\n")
    environ = pip_environ(index, person.home)
    person.refused("build", str(folder), "-o", str(tmp_path / "x"), *ARM, **environ)
    write_wheel(folder / "wheels", "sourced", tag="cp311-cp311-linux_aarch64")
    person.done("build", str(folder), "-o", str(tmp_path / "x"), *ARM, **environ)
    names = files_of(tmp_path / "x")
    assert "packages/sourced/__init__.py" in names
    assert not any(name.startswith("wheels/") for name in names)
