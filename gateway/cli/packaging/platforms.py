"""Describes the machine that an image is built for, and the wheels that it can use. Pure.

A wheel of manylinux_X_Y (PEP 600) runs with glibc X.Y and newer, so that a machine takes every
older tag, too. The default is the glibc of Debian 11; a gateway tells its own.
"""

import re
from dataclasses import dataclass

from gateway.cli.errors import OptionError
from gateway.node.machine import ARCHITECTURES

DEFAULT_GLIBC = (2, 31)
OLDEST_GLIBC = {"x86_64": 5, "i686": 5}  # manylinux1; for the others manylinux2014
_LEGACY = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}  # PEP 600
_PYTHON = re.compile(r"3\.\d{1,2}")
_GLIBC = re.compile(r"2\.\d{1,2}")


@dataclass(frozen=True, slots=True)
class ImagePlatform:
    """One kind of machine: its architecture, interpreter and C library."""

    name: str  # linux/arm64
    python: str  # 3.11
    glibc: tuple[int, int] = DEFAULT_GLIBC

    @property
    def architecture(self) -> str:
        """The architecture, as an image's configuration has it."""
        return self.name.removeprefix("linux/")

    @property
    def machine(self) -> str:
        """The architecture, as the kernel and wheels name it."""
        return next(m for m, name in ARCHITECTURES.items() if name == self.architecture)

    @property
    def abi(self) -> str:
        """The interpreter's tag of wheels, such as cp311."""
        return "cp" + self.python.replace(".", "")

    @property
    def tag(self) -> str:
        """The newest tag that it can use; messages name it."""
        return f"{self.abi}-manylinux_{self.glibc[0]}_{self.glibc[1]}_{self.machine}"

    def wheel_platforms(self) -> list[str]:
        """Return the platform tags of wheels that it can use, the best first."""
        oldest = OLDEST_GLIBC.get(self.machine, 17)
        tags = []
        for minor in range(self.glibc[1], oldest - 1, -1):
            tags.append(f"manylinux_2_{minor}_{self.machine}")
            if minor in _LEGACY:
                tags.append(f"{_LEGACY[minor]}_{self.machine}")
        return [*tags, f"linux_{self.machine}"]


def parse_platform(name: str, python: str, glibc: str = "") -> ImagePlatform:
    """Return the platform that options or a gateway name; OptionError when there is none such."""
    aliases = {"linux/" + machine: f"linux/{known}" for machine, known in ARCHITECTURES.items()}
    aliases["linux/arm"] = "linux/arm/v7"
    full = name if name.startswith("linux/") else f"linux/{name}"
    full = aliases.get(full, full)
    if full.removeprefix("linux/") not in ARCHITECTURES.values():
        known = ", ".join(f"linux/{each}" for each in ARCHITECTURES.values())
        raise OptionError(f"cannot build for {name!r}: must be one of {known}")
    if not _PYTHON.fullmatch(python):
        raise OptionError(f"cannot build for Python {python!r}: must be like 3.11")
    version = DEFAULT_GLIBC
    if _GLIBC.fullmatch(glibc):
        version = (2, int(glibc.partition(".")[2]))
    return ImagePlatform(full, python, version)
