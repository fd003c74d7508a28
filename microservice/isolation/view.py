"""Lists the files that a container may see, and the rights on each: policy, without I/O."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

# programs and libraries of the system
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt/vc/lib")
# the part of /etc that programs read and that holds no secret
ETC = tuple(
    f"/etc/{name}"
    for name in (
        "alternatives", "ca-certificates", "group", "hosts", "ld.so.cache", "ld.so.conf",
        "ld.so.conf.d", "ld.so.preload", "localtime", "mime.types", "nsswitch.conf", "passwd",
        # not the folders above them, which hold private keys, perhaps the gateway's
        "pki/ca-trust", "pki/tls/cert.pem", "pki/tls/certs", "pki/tls/openssl.cnf", "protocols",
        "services", "ssl/cert.pem", "ssl/certs", "ssl/openssl.cnf", "timezone",
    )
)  # fmt: skip
DEVICES = tuple(f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom"))
_INSTALLED = ("/site-packages", "/dist-packages")
SHARED_MEMORY = "/dev/shm"  # noqa: S108  # a file system of its own in each container
SHARED_MEMORY_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class FileView:
    """The paths of one container; everything else is out of reach."""

    read_only: tuple[str, ...]  # of the machine
    code: str
    writable: tuple[str, ...]
    sockets: tuple[str, ...]
    devices: tuple[str, ...]  # of its own, beside DEVICES
    hidden: str  # a folder that stays hidden even if a readable one holds it


def interpreter_paths(
    prefixes: Iterable[str], search: Iterable[str], packages: Mapping[str, Iterable[str]]
) -> tuple[str, ...]:
    """Return the folders that hold Python and its libraries, none inside another.

    Args:
        prefixes: sys.prefix and sys.base_prefix.
        search: sys.path; of this, the folders of installed packages.
        packages: folders of imported packages by name. A package outside of the prefixes, as an
            editable installation has it, brings its own folder alone: beside it may be anything.
    """
    installed = (path for path in search if path.endswith(_INSTALLED))
    wanted = [
        *prefixes,
        *installed,
        *(folder for folders in packages.values() for folder in folders),
    ]
    return outermost(wanted)


def outermost(paths: Iterable[str]) -> tuple[str, ...]:
    """Return the paths without those that lie below another."""
    kept: list[PurePosixPath] = []
    for path in sorted({PurePosixPath(one) for one in paths}, key=lambda one: len(one.parts)):
        if path.parts != ("/",) and not any(path.is_relative_to(one) for one in kept):
            kept.append(path)
    return tuple(str(one) for one in kept)


def needs_mask(view: FileView) -> bool:
    """Return whether a readable folder holds the hidden one."""
    hidden = PurePosixPath(view.hidden)
    return any(hidden.is_relative_to(one) for one in view.read_only)
