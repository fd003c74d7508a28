"""Explains a failure of pip: the package, the tag that no wheel has, and the remedy. Pure."""

import re
from dataclasses import dataclass

from gateway.cli.packaging.platforms import ImagePlatform

WHEELS = "wheels"  # beside requirements.txt: wheels that no index has
VERSIONS_SHOWN = 6
_NOT_FOUND = re.compile(r"No matching distribution found for (.+?)(?: \(from .*)?$", re.MULTILINE)
_VERSIONS = re.compile(r"Could not find a version .*\(from versions: (.*?)\)")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_UNREACHABLE = ("NewConnectionError", "ConnectTimeoutError", "NameResolutionError", "Max retries")
_ERROR = re.compile(r"^\s*(?:ERROR|error|fatal): (?!note:|subprocess-exited)(.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class MissingWheel:
    """A requirement that no wheel satisfies."""

    requirement: str
    name: str
    others: tuple[str, ...]  # versions that have a wheel


def find_missing(output: str) -> MissingWheel | None:
    """Return the requirement without a wheel; None when pip failed for another reason."""
    found = _NOT_FOUND.search(output)
    name = _NAME.match(found[1]) if found else None
    if found is None or name is None or is_unreachable(output):
        return None
    listed = _VERSIONS.search(output)
    others = [] if listed is None or listed[1] == "none" else listed[1].split(", ")
    return MissingWheel(found[1].strip(), name[0], tuple(others))


def is_unreachable(output: str) -> bool:
    """Return whether pip could not reach its index."""
    return any(sign in output for sign in _UNREACHABLE)


def explain_missing_wheel(
    missing: MissingWheel, platform: ImagePlatform, folder: str, *, is_known: bool
) -> str:
    """Return the reason and the remedy; `is_known` says that the index has such a package."""
    if not is_known and not missing.others:
        return (
            f"the index has no package {missing.name}; look for a typing error in "
            "requirements.txt, or give pip another index (pip config set global.index-url URL)"
        )
    if missing.others:
        shown = ", ".join(missing.others[-VERSIONS_SHOWN:])
        remedy = f"ask for a version that has one: {shown}"
    else:
        remedy = "ask for another version or package that has one"
    any_machine = "(on any machine, if the package is pure Python)"
    return (
        f"no wheel of {missing.requirement} for {platform.tag}, and a gateway compiles nothing.\n"
        f"  - {remedy}\n"
        f"  - or make the wheel on such a machine with Python {platform.python}, and build again\n"
        f"    {any_machine}:\n"
        f"    pip wheel --no-deps '{missing.requirement}' -w {folder}/{WHEELS}"
    )


def explain_other(output: str) -> str:
    """Return the reason of any other failure."""
    if is_unreachable(output):
        return "pip does not reach its package index; check the network and `pip config list`"
    if "THESE PACKAGES DO NOT MATCH THE HASHES" in output:
        return (
            "the index gives another file than requirements.lock names. If that is right, "
            "resolve anew with --upgrade"
        )
    cause = output.partition("The conflict is caused by:")[2].strip().splitlines()
    if cause:
        lines = [line.strip() for line in cause if line.startswith((" ", "\t")) or line[:1]]
        chosen = lines[: next((i for i, line in enumerate(lines) if not line), len(lines))]
        return "the requirements contradict one another: " + "; ".join(chosen[:VERSIONS_SHOWN])
    errors = _ERROR.findall(output)
    return errors[-1] if errors else (output.strip().splitlines() or ["pip said nothing"])[-1]
