"""Makes wheels and source archives for tests, as an index has them."""

import importlib.metadata
import io
import os
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

PURE = "py3-none-any"


def write_wheel(
    folder: Path,
    name: str,
    version: str = "1.0",
    *,
    tag: str = PURE,
    files: Mapping[str, str] | None = None,
    requires: Sequence[str] = (),
) -> Path:
    """Write a wheel; without files it has a module of its name that tells the version."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {each}\n" for each in requires)
    content = {
        **(files if files is not None else {f"{name}/__init__.py": f"VERSION = '{version}'\n"}),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    record = "".join(f"{path},,\n" for path in [*content, f"{info}/RECORD"])
    path = folder / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in {**content, f"{info}/RECORD": record}.items():
            archive.writestr(zipfile.ZipInfo(member), text)
    return path


def repack_installed(folder: Path, name: str) -> Path:
    """Write the wheel of a package that is installed here; it must be of Python alone."""
    folder.mkdir(parents=True, exist_ok=True)
    installed = importlib.metadata.distribution(name)
    path = folder / f"{name}-{installed.version}-{PURE}.whl"
    made_here = {"INSTALLER", "REQUESTED", "direct_url.json", "RECORD"}
    members = [
        file
        for file in installed.files or ()
        if ".." not in file.parts and file.suffix != ".pyc" and file.name not in made_here
    ]
    (info,) = {file.parts[0] for file in members if file.parts[0].endswith(".dist-info")}
    with zipfile.ZipFile(path, "w") as archive:
        for file in members:
            archive.write(str(file.locate()), str(file))
        archive.writestr(f"{info}/RECORD", "".join(f"{file},,\n" for file in members))
    return path


def write_sdist(folder: Path, name: str, version: str = "1.0") -> Path:
    """Write a source archive, which only a compiler or a build tool makes usable."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}.tar.gz"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode()
    with tarfile.open(path, "w:gz") as tar:
        for member, content in {
            f"{name}-{version}/PKG-INFO": metadata,
            f"{name}-{version}/setup.py": b"raise SystemExit('nobody may run this')\n",
        }.items():
            header = tarfile.TarInfo(member)
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))
    return path


def pip_environ(index: Path, home: Path) -> dict[str, str]:
    """Return the environment in which pip knows this folder only, and no user's configuration."""
    return {
        "PIP_CONFIG_FILE": os.devnull,  # none of any kind
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(index),
        "XDG_CACHE_HOME": str(home / "cache"),
    }
