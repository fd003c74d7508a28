"""Builds and installs the filter of system calls of a container.

The filter refuses with EPERM what a microservice has no use for and what has been a way out of
containers: other processes' memory, mounts, namespaces, modules, keys, BPF, io_uring, the clock.
Everything else is allowed, because a service may start any program. A call of another
architecture (32-bit calls on a 64-bit kernel) ends the process: the numbers mean other calls.

The program is classic BPF over `struct seccomp_data` (linux/seccomp.h): number, architecture,
arguments. Jumps reach 255 instructions, far more than there are.
"""

import ctypes
import errno
import os
import struct
from collections.abc import Iterable

from microservice.isolation.kernel import set_seccomp_filter
from microservice.isolation.syscall_table import SyscallTable, table_of

_LOAD_NUMBER, _LOAD_ARCH = 0, 4
_ARGUMENT_0, _ARGUMENT_1 = 16, 24  # the lower halves, on a little-endian machine

# linux/bpf_common.h
_LD_W_ABS, _JEQ, _JGE, _JSET, _RET = 0x20, 0x15, 0x35, 0x45, 0x06
_RET_KILL, _RET_ERRNO, _RET_ALLOW = 0x80000000, 0x00050000, 0x7FFF0000
_X32_BIT = 0x40000000  # linux/unistd.h: the x32 calls of a 64-bit x86 kernel

_NAMESPACE_FLAGS = 0x7E020000  # CLONE_NEW*, of every kind that clone() takes
_TERMINAL_INJECTION = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX
AF_UNIX, AF_INET, AF_INET6, AF_NETLINK = 1, 2, 10, 16

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, constant
_INSTRUCTION_BYTES = 8


def build_filter(table: SyscallTable, families: Iterable[int]) -> list[Instruction]:
    """Return the program for an architecture; sockets are of these families only."""
    program: list[Instruction] = [
        (_LD_W_ABS, 0, 0, _LOAD_ARCH),
        (_JEQ, 1, 0, table.audit_arch),
        (_RET, 0, 0, _RET_KILL),
        (_LD_W_ABS, 0, 0, _LOAD_NUMBER),
    ]
    if table.has_x32:
        program += [(_JGE, 0, 1, _X32_BIT), (_RET, 0, 0, _RET_KILL)]
    for number in sorted(table.denied):
        program += _refuse(number, errno.EPERM)
    # the C library falls back to clone(), whose flags a filter can see
    program += _refuse(table.clone3, errno.ENOSYS)
    program += _examine(table.clone, _ARGUMENT_0, [(_JSET, 0, 1, _NAMESPACE_FLAGS), _ERROR])
    for request in _TERMINAL_INJECTION:
        program += _examine(table.ioctl, _ARGUMENT_1, [(_JEQ, 0, 1, request), _ERROR])
    allowed = sorted(families)
    checks = [(_JEQ, len(allowed) - place, 0, family) for place, family in enumerate(allowed)]
    refuse = (_RET, 0, 0, _RET_ERRNO | errno.EAFNOSUPPORT)
    program += _examine(table.socket, _ARGUMENT_0, [*checks, refuse])
    return [*program, (_RET, 0, 0, _RET_ALLOW)]


def build_refusal(numbers: Iterable[int], error: int) -> list[Instruction]:
    """Return a program that answers these calls with an error, as an older kernel does."""
    program: list[Instruction] = [(_LD_W_ABS, 0, 0, _LOAD_NUMBER)]
    for number in numbers:
        program += _refuse(number, error)
    return [*program, (_RET, 0, 0, _RET_ALLOW)]


def assemble(program: Iterable[Instruction]) -> bytes:
    """Return a program as the kernel takes it."""
    return b"".join(struct.pack("=HBBI", *each) for each in program)


def install(code: bytes) -> None:
    """Install a program for this process and all that it starts; OSError if it is empty."""
    buffer = ctypes.create_string_buffer(code, len(code))
    # struct sock_fprog: a count and a pointer, aligned as in C
    head = ctypes.create_string_buffer(
        struct.pack("@HP", len(code) // _INSTRUCTION_BYTES, ctypes.addressof(buffer))
    )
    set_seccomp_filter(ctypes.addressof(head))


def make_filter(*, network: bool) -> list[Instruction]:
    """Return the filter of a container on this machine; an empty one where it is not known.

    Args:
        network: it has a network namespace of its own, where Internet sockets reach nobody.
    """
    table = table_of(os.uname().machine, ctypes.sizeof(ctypes.c_void_p))
    if table is None:
        return []
    families = (AF_UNIX, AF_INET, AF_INET6, AF_NETLINK) if network else (AF_UNIX,)
    return build_filter(table, families)


_ERROR: Instruction = (_RET, 0, 0, _RET_ERRNO | errno.EPERM)


def _refuse(number: int, error: int) -> list[Instruction]:
    return [(_JEQ, 0, 1, number), (_RET, 0, 0, _RET_ERRNO | error)]


def _examine(number: int, argument: int, checks: list[Instruction]) -> list[Instruction]:
    """Return checks of an argument of one call; a check that ends without a verdict goes on."""
    body = [(_LD_W_ABS, 0, 0, argument), *checks, (_LD_W_ABS, 0, 0, _LOAD_NUMBER)]
    return [(_JEQ, 0, len(body), number), *body]
