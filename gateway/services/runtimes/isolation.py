"""Decides the isolation that containers must have, and explains what is missing: policy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from gateway.services.images.manifest import DEVICE_SETTING, check_device
from microservice.isolation.findings import FINDINGS, Isolation

UID_FIRST, UID_COUNT = 1_900_000_000, 10_000  # systemd's table of uids leaves these to nobody

_NAMESPACES = "run the gateway as root, or allow user namespaces (user.max_user_namespaces)"
_DELEGATE = "add Delegate=yes to the gateway's systemd unit"
_REMEDIES = {
    "uid": _NAMESPACES,
    "privileges": "use a kernel from 3.5 on",
    "files": "move the state folder out of the folder of the Python installation",
    "landlock": "use a kernel with CONFIG_SECURITY_LANDLOCK, and landlock in its lsm= parameter",
    "processes_seen": _NAMESPACES,
    "network": _NAMESPACES,
    "syscalls": "use a kernel with CONFIG_SECCOMP_FILTER on x86-64, ARM or RISC-V",
    "memory": f"add cgroup_enable=memory to the kernel's command line; {_DELEGATE}",
    "cpu": _DELEGATE,
    "processes": _DELEGATE,
    "open_files": "lower the limit of open files of the gateway",
}


@dataclass(frozen=True, slots=True)
class IsolationPolicy:
    """The isolation that a gateway gives to its containers."""

    strict: bool = False  # start no container with less than every finding
    uids: range = range(UID_FIRST, UID_FIRST + UID_COUNT)  # for a gateway that runs as root

    devices: tuple[str, ...] = ()  # patterns of paths that a manifest may name

    def refused_devices(self, wanted: Sequence[str]) -> list[str]:
        """Return the devices that no pattern allows."""
        return [path for path in wanted if not any(fnmatchcase(path, one) for one in self.devices)]

    def required(self, of_manifest: Sequence[str]) -> tuple[str, ...]:
        """Return the findings without which a container must not run."""
        return FINDINGS if self.strict else tuple(of_manifest)


def resolve_devices(wanted: Sequence[str], settings: Mapping[str, object]) -> tuple[str, ...]:
    """Return the paths of devices; "{NAME}" is the value of a setting.

    Raises:
        ValueError: the value is not the path of a device.
    """
    devices = []
    for text in wanted:
        match = DEVICE_SETTING.fullmatch(text)
        path = str(settings.get(match[1], "")) if match else text
        check_device(path)
        devices.append(path)
    return tuple(devices)


def explain_missing(isolation: Isolation, missing: Sequence[str]) -> str:
    """Return why a container may not run, and what to do about it."""
    faults = []
    for name in missing:
        finding = isolation.findings.get(name)
        found = finding.detail if finding else "the probe did not report it"
        faults.append(f"{name}: {found}; {_REMEDIES.get(name, '')}")
    return "its isolation is less than required: " + " | ".join(faults)
