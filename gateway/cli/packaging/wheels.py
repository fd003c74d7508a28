"""Reads wheels, and keeps them in the user's cache by their digest.

A wheel is unpacked here, not by an installer: the same wheel gives the same files, without
scripts that name this machine's interpreter and without compiled code.
"""

import hashlib
import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from gateway.cli.errors import CliError
from gateway.cli.packaging.lock import LockedPackage

FOLDER = "packages"  # beside service.py; microservice.entry adds it to the import path
_DATA = re.compile(r"[^/]+\.data/(?:purelib|platlib)/(.+)")
_OTHER_DATA = re.compile(r"[^/]+\.data/")
_WHEEL = re.compile(r"[^/]+\.dist-info/WHEEL")


@dataclass(frozen=True, slots=True)
class WheelFiles:
    """The content of wheels: files below FOLDER, and whether some are for one machine only."""

    files: Mapping[str, bytes]
    is_native: bool


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Return the folder of the wheels (XDG Base Directory Specification)."""
    base = environ.get("XDG_CACHE_HOME", "")
    root = Path(base) if os.path.isabs(base) else Path("~/.cache").expanduser()  # noqa: PTH117
    return root / "hecate" / "wheels"


def cached(cache: Path, package: LockedPackage) -> Path | None:
    """Return the wheel of a package if the cache has it whole."""
    path = cache / f"{package.sha256}.whl"
    return path if path.is_file() and sha256_of(path) == package.sha256 else None


def keep(cache: Path, wheel: Path) -> LockedPackage:
    """Move a downloaded wheel into the cache; return its package."""
    name, version = wheel.name.split("-")[:2]  # the file name convention of wheels
    package = LockedPackage(name.replace("_", "-").lower(), version, sha256_of(wheel))
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    scratch = cache / f".new-{os.getpid()}-{package.sha256}"
    scratch.write_bytes(wheel.read_bytes())
    scratch.replace(cache / f"{package.sha256}.whl")
    return package


def sha256_of(path: Path) -> str:
    """Return the digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unpack_wheels(wheels: list[tuple[LockedPackage, Path]]) -> WheelFiles:
    """Return what an image takes from wheels; CliError when one is malformed."""
    files: dict[str, bytes] = {}
    is_native = False
    for package, path in sorted(wheels):
        try:
            with zipfile.ZipFile(path) as archive:
                for name, content in _members(package, archive):
                    files[f"{FOLDER}/{name}"] = content
                    if _WHEEL.fullmatch(name):
                        is_native |= _is_native(content.decode(errors="replace"))
        except (zipfile.BadZipFile, OSError, EOFError) as exc:
            raise CliError(f"cannot read the wheel of {package.name}: {exc}") from exc
    return WheelFiles(files, is_native)


def _members(package: LockedPackage, archive: zipfile.ZipFile) -> Iterator[tuple[str, bytes]]:
    for info in archive.infolist():
        name = info.filename
        if found := _DATA.fullmatch(name):
            name = found[1]
        elif _OTHER_DATA.match(name):
            continue  # scripts, headers: nothing that is imported
        if info.is_dir() or name.endswith(".pyc"):
            continue
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name:
            raise CliError(f"cannot read the wheel of {package.name}: {name:.80} is no path in it")
        yield str(path), archive.read(info)


def _is_native(wheel: str) -> bool:
    tags = [line.partition(":")[2].strip() for line in wheel.splitlines() if line[:4] == "Tag:"]
    return not any(tag.endswith("-any") for tag in tags)
