"""Reads and writes requirements.lock: the packages of an image by version and digest. Pure.

    # requirements sha256:<of requirements.txt and the files that it names>

    # platform linux/arm64 python 3.11
    idna==3.10 --hash=sha256:<of the wheel>

One section per platform, because wheels and even versions differ. A section is good as long as
the digest of the requirements is the same.
"""

import re
from dataclasses import dataclass, field, replace

from gateway.cli.packaging.platforms import ImagePlatform

HEAD = "# Written by `hecate build`. Commit it: the same lock makes the same image."
_REQUIREMENTS = re.compile(r"# requirements (sha256:[0-9a-f]{64})")
_PLATFORM = re.compile(r"# platform (\S+) python (\S+)")
_PACKAGE = re.compile(r"([A-Za-z0-9._-]+)==(\S+) --hash=sha256:([0-9a-f]{64})")


@dataclass(frozen=True, slots=True, order=True)
class LockedPackage:
    """One package: its name, its version, the digest of its wheel."""

    name: str
    version: str
    sha256: str

    def line(self) -> str:
        """Return it as pip reads it."""
        return f"{self.name}=={self.version} --hash=sha256:{self.sha256}"


@dataclass(frozen=True, slots=True)
class RequirementsLock:
    """The packages of each platform, for one state of the requirements."""

    requirements: str = ""  # sha256:…
    sections: dict[str, tuple[LockedPackage, ...]] = field(default_factory=dict)

    def find(self, requirements: str, platform: ImagePlatform) -> tuple[LockedPackage, ...] | None:
        """Return the packages of a platform; None when they have to be resolved."""
        return self.sections.get(_key(platform)) if requirements == self.requirements else None

    def with_section(
        self, requirements: str, platform: ImagePlatform, packages: tuple[LockedPackage, ...]
    ) -> "RequirementsLock":
        """Return this lock with one more section; those of other requirements go."""
        kept = self.sections if requirements == self.requirements else {}
        return replace(self, requirements=requirements, sections={**kept, _key(platform): packages})

    def text(self) -> str:
        """Return the file's text."""
        parts = [f"{HEAD}\n# requirements {self.requirements}\n"]
        for key, packages in sorted(self.sections.items()):
            lines = "".join(f"{package.line()}\n" for package in sorted(packages))
            parts.append(f"# platform {key}\n{lines}")
        return "\n".join(parts)


def parse_lock(text: str) -> RequirementsLock:
    """Return the lock in a file's text; lines that are none of ours make it void."""
    requirements, key = "", ""
    sections: dict[str, list[LockedPackage]] = {}
    for line in text.splitlines():
        if found := _REQUIREMENTS.fullmatch(line):
            requirements = found[1]
        elif found := _PLATFORM.fullmatch(line):
            key = f"{found[1]} python {found[2]}"
            sections[key] = []
        elif (found := _PACKAGE.fullmatch(line)) and key:
            sections[key].append(LockedPackage(found[1], found[2], found[3]))
        elif line.strip() and not line.startswith("#"):
            return RequirementsLock()
    return RequirementsLock(requirements, {k: tuple(each) for k, each in sections.items()})


def _key(platform: ImagePlatform) -> str:
    return f"{platform.name} python {platform.python}"
