"""Builds the image of a folder: its files, and the packages of its requirements.txt."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from gateway.cli.errors import CliError
from gateway.cli.packaging.platforms import ImagePlatform, parse_platform
from gateway.cli.packaging.requirements import LOCK, REQUIREMENTS, Resolution, resolve
from gateway.cli.packaging.signing import load_signing_key
from gateway.cli.packaging.wheels import FOLDER, WheelFiles, unpack_wheels
from gateway.cli.scaffold import explain_missing
from gateway.node.machine import local_glibc, local_platform, local_python
from gateway.services.errors import ImageError
from gateway.services.images.manifest import FILE_NAME, Manifest, parse_manifest
from gateway.services.images.pack import PackOptions, pack_image, packed_digest, sign_packed

START_S = 30.0
PYTHON_LABEL = "hecate.python"  # the version that native packages are for
_NAME_LINE = re.compile(r"^(\s*name\s*=\s*).*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Package:
    """A microservice, ready to be sent."""

    name: str
    image: str
    tar: bytes
    start_s: float = START_S  # the time in which it must start
    base: str = ""  # the address of its HTTP
    packages: tuple[str, ...] = ()  # name==version of what requirements.txt asks for
    is_locked_anew: bool = False
    runtime: str = "python"
    native_for: str = ""  # the only platform of its packages; "" when they run everywhere

    @property
    def digest(self) -> str:
        """The digest by which the gateway names this content."""
        return packed_digest(self.tar)


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """The choices of a build."""

    platform: ImagePlatform = field(default_factory=lambda: this_platform())
    upgrade: bool = False  # do not use requirements.lock
    rename: str = ""  # the microservice's name, instead of the manifest's
    signing_key: Path | None = None
    verb: str = "build"  # in errors: what the user asked for
    on_line: Callable[[str], None] = lambda _: None  # called with each line of pip


def this_platform() -> ImagePlatform:
    """Return the platform of this machine and interpreter."""
    return parse_platform(local_platform(), local_python(), local_glibc())


def build_folder(folder: Path, options: BuildOptions | None = None) -> Package:
    """Return the package of a folder; CliError names the fault and the remedy."""
    options = options or BuildOptions()
    _check_folder(folder, options.verb)
    try:
        text = (folder / FILE_NAME).read_text(encoding="utf-8")
        manifest = parse_manifest(text)
        resolution = resolve(
            folder, options.platform, upgrade=options.upgrade, on_line=options.on_line
        )
        wheels = unpack_wheels(resolution.wheels)
        added = dict(wheels.files)
        if options.rename:
            text, manifest = rename_manifest(text, options.rename)
            added[FILE_NAME] = text.encode()
        tar = pack_image(folder, options=_pack_options(added, wheels, options.platform))
        if options.signing_key is not None:
            tar = sign_packed(tar, [load_signing_key(options.signing_key)])
    except ImageError as exc:
        raise CliError(str(exc)) from exc
    except (OSError, UnicodeDecodeError) as exc:
        why = getattr(exc, "strerror", None) or "not UTF-8"
        raise CliError(f"cannot build {folder}: {FILE_NAME}: {why.lower()}") from exc
    native_for = options.platform.name if wheels.is_native else ""
    return _package(manifest, tar, resolution, folder, native_for)


def rename_manifest(text: str, name: str) -> tuple[str, Manifest]:
    """Return a manifest's text with another name for the microservice, and the manifest."""
    head, table, rest = text.partition("\n[")
    renamed = _NAME_LINE.sub(rf'\g<1>"{name}"', head, count=1) + table + rest
    manifest = parse_manifest(renamed)
    if manifest.name != name:
        raise CliError(f"cannot rename the microservice: {FILE_NAME} has no line `name = …`")
    return renamed, manifest


def _package(
    manifest: Manifest, tar: bytes, resolution: Resolution, folder: Path, native_for: str
) -> Package:
    return Package(
        manifest.name,
        manifest.image,
        tar,
        manifest.limits.start_s or START_S,
        manifest.http.base,
        tuple(f"{package.name}=={package.version}" for package, _ in sorted(resolution.wheels)),
        resolution.is_new,
        "python" if (folder / "service.py").is_file() else "js",
        native_for,
    )


def _pack_options(
    added: dict[str, bytes], wheels: WheelFiles, platform: ImagePlatform
) -> PackOptions:
    if not wheels.is_native:
        return PackOptions(added)
    return PackOptions(added, platform.architecture, {PYTHON_LABEL: platform.python})


def _check_folder(folder: Path, verb: str) -> None:
    if not folder.is_dir():
        what = "not a folder" if folder.exists() else "no such folder"
        raise CliError(
            f"cannot {verb} {folder}: {what}; `hecate new NAME` makes one with a microservice"
        )
    if missing := explain_missing(folder):
        raise CliError(f"cannot {verb} {folder}: {missing}")
    if not (folder / REQUIREMENTS).is_file():
        return
    if not (folder / "service.py").is_file():
        raise CliError(
            f"cannot build {folder}: {REQUIREMENTS} is for Python; bundle what index.js needs "
            "into index.js"
        )
    if (folder / FOLDER).is_dir():
        raise CliError(
            f"cannot build {folder}: {REQUIREMENTS} fills the image's folder {FOLDER}, and there "
            f"is one already; remove it, or {REQUIREMENTS} and {LOCK}"
        )
