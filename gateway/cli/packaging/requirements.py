"""Resolves requirements.txt into wheels, by requirements.lock where that is current."""

import hashlib
import os
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gateway.cli.errors import CliError
from gateway.cli.packaging.failures import (
    WHEELS,
    explain_missing_wheel,
    explain_other,
    find_missing,
)
from gateway.cli.packaging.lock import LockedPackage, RequirementsLock, parse_lock
from gateway.cli.packaging.pip import PipResult, check_pip, download, is_on_index
from gateway.cli.packaging.platforms import ImagePlatform
from gateway.cli.packaging.wheels import cache_folder, cached, keep

REQUIREMENTS, LOCK = "requirements.txt", "requirements.lock"
_NAMED_FILE = re.compile(r"^\s*(?:-r|--requirement|-c|--constraint)[\s=]+(\S+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Resolution:
    """The wheels of a folder's requirements; `is_new` when the lock has been written."""

    wheels: list[tuple[LockedPackage, Path]]
    is_new: bool = False


def resolve(
    folder: Path,
    platform: ImagePlatform,
    *,
    upgrade: bool = False,
    on_line: Callable[[str], None] = lambda _: None,
) -> Resolution:
    """Return the wheels that a folder asks for; CliError when one cannot be had.

    With a current requirements.lock and the wheels in the cache nothing is run and no index asked.
    """
    if not (folder / REQUIREMENTS).is_file():
        return Resolution([])
    digest = requirements_digest(folder)
    lock = _read_lock(folder)
    cache = cache_folder(os.environ)
    locked = None if upgrade else lock.find(digest, platform)
    if locked is not None:
        return Resolution(_fetch_locked(locked, folder, platform, cache, on_line))
    packages = _resolve_anew(folder, platform, cache, on_line)
    fresh = lock.with_section(digest, platform, tuple(sorted(package for package, _ in packages)))
    try:
        (folder / LOCK).write_text(fresh.text(), encoding="utf-8")
    except OSError as exc:
        raise CliError(f"cannot write {folder / LOCK}: {(exc.strerror or '').lower()}") from exc
    return Resolution(packages, is_new=True)


def requirements_digest(folder: Path) -> str:
    """Return the digest of requirements.txt, the files that it names, and the wheels beside it."""
    digest = hashlib.sha256()
    waiting, seen = [folder / REQUIREMENTS], set()
    while waiting:
        path = waiting.pop()
        if path in seen or not path.is_file():
            continue
        seen.add(path)
        text = path.read_text(encoding="utf-8", errors="replace")
        digest.update(text.encode() + b"\0")
        waiting += [path.parent / name for name in _NAMED_FILE.findall(text)]
    for wheel in sorted((folder / WHEELS).glob("*.whl")):
        digest.update(wheel.name.encode() + b"\0")
    return f"sha256:{digest.hexdigest()}"


def _read_lock(folder: Path) -> RequirementsLock:
    try:
        return parse_lock((folder / LOCK).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return RequirementsLock()
    except (OSError, UnicodeDecodeError) as exc:
        raise CliError(f"cannot read {folder / LOCK}: {exc}; remove it to resolve anew") from exc


def _fetch_locked(
    locked: tuple[LockedPackage, ...],
    folder: Path,
    platform: ImagePlatform,
    cache: Path,
    on_line: Callable[[str], None],
) -> list[tuple[LockedPackage, Path]]:
    missing = [package for package in locked if cached(cache, package) is None]
    if missing:
        with tempfile.TemporaryDirectory() as scratch:
            wanted = Path(scratch) / "locked.txt"
            wanted.write_text("".join(f"{package.line()}\n" for package in missing))
            arguments = ["--no-deps", "--require-hashes", "-r", str(wanted)]
            _download(arguments, Path(scratch), folder, platform, cache, on_line)
    found = [(package, cached(cache, package)) for package in locked]
    absent = [package.name for package, path in found if path is None]
    if absent:
        raise CliError(f"cannot build {folder}: pip did not fetch {', '.join(absent)}")
    return [(package, path) for package, path in found if path is not None]


def _resolve_anew(
    folder: Path, platform: ImagePlatform, cache: Path, on_line: Callable[[str], None]
) -> list[tuple[LockedPackage, Path]]:
    with tempfile.TemporaryDirectory() as scratch:
        arguments = ["-r", REQUIREMENTS]
        packages = _download(arguments, Path(scratch), folder, platform, cache, on_line)
    return [(package, cache / f"{package.sha256}.whl") for package in packages]


def _download(
    arguments: list[str],
    scratch: Path,
    folder: Path,
    platform: ImagePlatform,
    cache: Path,
    on_line: Callable[[str], None],
) -> list[LockedPackage]:
    check_pip()
    if (folder / WHEELS).is_dir():
        arguments = [*arguments, "--find-links", WHEELS]
    wheels = scratch / "wheels"
    result = download(arguments, wheels, platform, folder, on_line)
    if result.code != 0:
        raise CliError(f"cannot build {folder}: {_explain(result, folder, platform)}")
    try:
        return [_keep(cache, file, folder) for file in sorted(wheels.iterdir())]
    except FileNotFoundError:
        return []  # every requirement is for other machines
    except OSError as exc:
        raise CliError(f"cannot keep wheels in {cache}: {exc.strerror or exc}") from exc


def _keep(cache: Path, file: Path, folder: Path) -> LockedPackage:
    if file.suffix != ".whl":
        raise CliError(
            f"cannot build {folder}: {file.name} is source, and a gateway compiles nothing; make a "
            f"wheel of it in {folder / WHEELS} with `pip wheel`"
        )
    return keep(cache, file)


def _explain(result: PipResult, folder: Path, platform: ImagePlatform) -> str:
    missing = find_missing(result.output)
    if missing is None:
        return explain_other(result.output)
    is_known = bool(missing.others) or is_on_index(missing.name, folder)
    return explain_missing_wheel(missing, platform, str(folder), is_known=is_known)
