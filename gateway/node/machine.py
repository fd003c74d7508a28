"""Names the machine that a gateway runs on as images and wheels name it."""

import os
import sys

# names of the kernel, and the names that images use (OCI image specification, GOARCH)
ARCHITECTURES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv7l": "arm/v7",
    "i686": "386",
    "riscv64": "riscv64",
    "ppc64le": "ppc64le",
    "s390x": "s390x",
}


def local_platform() -> str:
    """Return this machine as an image names it, such as linux/arm64."""
    machine = os.uname().machine
    if machine == "aarch64" and sys.maxsize < 2**32:  # 32-bit programs on a 64-bit kernel
        machine = "armv7l"
    return f"linux/{ARCHITECTURES.get(machine, machine)}"


def local_python() -> str:
    """Return the version of this interpreter that wheels must fit, such as 3.11."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def local_glibc() -> str:
    """Return the version of the C library, such as 2.36; "" when it is another library."""
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    except (AttributeError, ValueError, OSError):
        return ""
    return version if name == "glibc" else ""
