"""Lists the numbers of the refused system calls on each architecture.

A test compares them with the headers of the machine, and with libseccomp where that is installed.
"""

from dataclasses import dataclass

# calls since Linux 5.1 have one number on all architectures
_SINCE_5_1 = {
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428,
    "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433,
    "pidfd_getfd": 438, "process_madvise": 440, "mount_setattr": 442, "quotactl_fd": 443,
}  # fmt: skip
_X86_64 = {
    "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312,
    "mount": 165, "umount2": 166, "pivot_root": 155, "chroot": 161, "unshare": 272, "setns": 308,
    "bpf": 321, "perf_event_open": 298, "keyctl": 250, "add_key": 248, "request_key": 249,
    "userfaultfd": 323, "kexec_load": 246, "kexec_file_load": 320, "init_module": 175,
    "finit_module": 313, "delete_module": 176, "reboot": 169, "swapon": 167, "swapoff": 168,
    "acct": 163, "syslog": 103, "quotactl": 179, "lookup_dcookie": 212, "open_by_handle_at": 304,
    "name_to_handle_at": 303, "iopl": 172, "ioperm": 173, "settimeofday": 164,
    "clock_settime": 227, "clock_adjtime": 305, "adjtimex": 159, "sethostname": 170,
    "setdomainname": 171, "vhangup": 153, "fanotify_init": 300, "modify_ldt": 154,
    "personality": 135, "migrate_pages": 256, "move_pages": 279,
}  # fmt: skip
_GENERIC = {  # aarch64 and riscv64
    "ptrace": 117, "process_vm_readv": 270, "process_vm_writev": 271, "kcmp": 272,
    "mount": 40, "umount2": 39, "pivot_root": 41, "chroot": 51, "unshare": 97, "setns": 268,
    "bpf": 280, "perf_event_open": 241, "keyctl": 219, "add_key": 217, "request_key": 218,
    "userfaultfd": 282, "kexec_load": 104, "kexec_file_load": 294, "init_module": 105,
    "finit_module": 273, "delete_module": 106, "reboot": 142, "swapon": 224, "swapoff": 225,
    "acct": 89, "syslog": 116, "quotactl": 60, "lookup_dcookie": 18, "open_by_handle_at": 265,
    "name_to_handle_at": 264, "settimeofday": 170, "clock_settime": 112, "clock_adjtime": 266,
    "adjtimex": 171, "sethostname": 161, "setdomainname": 162, "vhangup": 58,
    "fanotify_init": 262, "personality": 92, "migrate_pages": 238, "move_pages": 239,
}  # fmt: skip
_ARM = {  # 32 bits, EABI
    "ptrace": 26, "process_vm_readv": 376, "process_vm_writev": 377, "kcmp": 378,
    "mount": 21, "umount2": 52, "pivot_root": 218, "chroot": 61, "unshare": 337, "setns": 375,
    "bpf": 386, "perf_event_open": 364, "keyctl": 311, "add_key": 309, "request_key": 310,
    "userfaultfd": 388, "kexec_load": 347, "kexec_file_load": 401, "init_module": 128,
    "finit_module": 379, "delete_module": 129, "reboot": 88, "swapon": 87, "swapoff": 115,
    "acct": 51, "syslog": 103, "quotactl": 131, "lookup_dcookie": 249, "open_by_handle_at": 371,
    "name_to_handle_at": 370, "settimeofday": 79, "clock_settime": 262, "clock_settime64": 404,
    "clock_adjtime": 372, "clock_adjtime64": 405, "adjtimex": 124, "sethostname": 74,
    "setdomainname": 121, "vhangup": 111, "fanotify_init": 367, "personality": 136,
    "migrate_pages": 400, "move_pages": 344,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class SyscallTable:
    """The numbers of one architecture."""

    audit_arch: int  # linux/audit.h
    named: dict[str, int]  # the refused calls
    clone: int
    socket: int
    ioctl: int
    clone3: int = 435
    has_x32: bool = False

    @property
    def denied(self) -> set[int]:
        """The numbers of all refused calls."""
        return set(self.named.values()) | set(_SINCE_5_1.values())

    @property
    def names(self) -> dict[str, int]:
        """The numbers of all calls that the filter knows, by name."""
        examined = {
            "clone": self.clone, "socket": self.socket, "ioctl": self.ioctl, "clone3": self.clone3,
        }  # fmt: skip
        return self.named | _SINCE_5_1 | examined


TABLES = {
    "x86_64": SyscallTable(0xC000003E, _X86_64, clone=56, socket=41, ioctl=16, has_x32=True),
    "aarch64": SyscallTable(0xC00000B7, _GENERIC, clone=220, socket=198, ioctl=29),
    "riscv64": SyscallTable(0xC00000F3, _GENERIC, clone=220, socket=198, ioctl=29),
    "arm": SyscallTable(0x40000028, _ARM, clone=120, socket=281, ioctl=54),
}


def table_of(machine: str, pointer_bytes: int) -> SyscallTable | None:
    """Return the table for a process; None for an architecture without one.

    Args:
        machine: the kernel's name of the machine, as uname(2) gives it.
        pointer_bytes: 4 for a 32-bit process, which may run on a 64-bit kernel.
    """
    if pointer_bytes == 4:  # bytes of a 32-bit pointer
        return TABLES["arm"] if machine.startswith(("arm", "aarch64")) else None
    return TABLES.get(machine)
