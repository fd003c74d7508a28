"""Carries out `hecate build`: builds, writes the file, prints digest and size."""

import sys
from pathlib import Path

from gateway.cli.errors import CliError
from gateway.cli.output import console, notes, print_json
from gateway.cli.packaging.builder import BuildOptions, Package, this_platform
from gateway.cli.packaging.platforms import ImagePlatform, parse_platform
from gateway.cli.packaging.progress import build_with_progress
from gateway.cli.view.words import size
from gateway.node.machine import local_platform, local_python

STDOUT = Path("-")


def build_image(
    folder: Path,
    output: Path | None,
    wanted: tuple[str | None, str | None],
    signing_key: Path | None,
    *,
    upgrade: bool,
    as_json: bool,
) -> None:
    """Build a folder into a file; `wanted` is platform and Python version, if they are given."""
    options = BuildOptions(_platform(*wanted), upgrade, signing_key=signing_key)
    package = build_with_progress(folder, options)
    file = output or Path(f"{package.image}.tar")
    _write(file, package.tar)
    if file == STDOUT:
        return
    if as_json:
        print_json(_fields(package, file, options))
    else:
        _report(package, file, options)


def _platform(name: str | None, python: str | None) -> ImagePlatform:
    if name is None and python is None:
        return this_platform()
    return parse_platform(name or local_platform(), python or local_python())


def _write(file: Path, content: bytes) -> None:
    if file == STDOUT:
        sys.stdout.buffer.write(content)
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    except OSError as exc:
        raise CliError(f"cannot write {file}: {(exc.strerror or str(exc)).lower()}") from exc


def _report(package: Package, file: Path, options: BuildOptions) -> None:
    rows = [("image", package.image), ("file", str(file)), ("size", size(len(package.tar)))]
    rows.append(("digest", package.digest))
    if package.packages:
        rows.append(("for", f"{options.platform.name}, Python {options.platform.python}"))
        rows += [("with", each) for each in package.packages]
    if options.signing_key is not None:
        rows.append(("signed", f"with {options.signing_key}"))
    for name, value in rows:
        console().print(f"{name:8}{value}", soft_wrap=True)
    if notes().is_terminal:
        notes().print(f"next: hecate deploy {file}", style="dim", soft_wrap=True)


def _fields(package: Package, file: Path, options: BuildOptions) -> dict[str, object]:
    return {
        "name": package.name,
        "image": package.image,
        "file": str(file),
        "size": len(package.tar),
        "digest": package.digest,
        "platform": options.platform.name if package.packages else None,
        "python": options.platform.python if package.packages else None,
        "packages": list(package.packages),
        "signed": options.signing_key is not None,
    }
