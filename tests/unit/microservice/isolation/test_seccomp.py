import ctypes.util
import errno
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microservice.isolation.seccomp import Instruction, build_filter, build_refusal
from microservice.isolation.syscall_table import TABLES, SyscallTable, table_of

ALLOW, KILL = "allow", "kill"
FAMILIES = (1, 2, 10)
X86, ARM64 = TABLES["x86_64"], TABLES["aarch64"]


def verdict(
    program: list[Instruction], arch: int, number: int, arguments: tuple[int, ...] = ()
) -> str | int:
    """Run a program as the kernel does; return ALLOW, KILL or the error number."""
    fields = {0: number, 4: arch} | {16 + 8 * n: value for n, value in enumerate(arguments)}
    at, value = 0, 0
    while True:
        code, if_true, if_false, constant = program[at]
        at += 1
        match code:
            case 0x20:
                value = fields.get(constant, 0) & 0xFFFFFFFF
            case 0x15:
                at += if_true if value == constant else if_false
            case 0x35:
                at += if_true if value >= constant else if_false
            case 0x45:
                at += if_true if value & constant else if_false
            case 0x06:
                actions = {0x7FFF0000: ALLOW, 0x80000000: KILL}
                return actions.get(constant, constant & 0xFFFF)


def x86(name: str, *arguments: int) -> str | int:
    return verdict(build_filter(X86, FAMILIES), X86.audit_arch, X86.names[name], arguments)


@pytest.mark.parametrize("arch", TABLES)
def test_every_listed_call_is_refused_and_a_common_one_is_not(arch: str) -> None:
    table = TABLES[arch]
    program = build_filter(table, FAMILIES)
    for name, number in table.names.items():
        if name not in ("clone", "clone3", "socket", "ioctl"):
            assert verdict(program, table.audit_arch, number) == errno.EPERM, name
    assert verdict(program, table.audit_arch, 3) == ALLOW
    assert len(program) < 256  # jumps have eight bits


def test_threads_and_processes_are_allowed_but_not_namespaces() -> None:
    thread = 0x003D0F00  # the flags of glibc's pthread_create()
    assert x86("clone", thread) == ALLOW
    assert x86("clone", 17) == ALLOW  # fork
    for flag in (0x20000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000):
        assert x86("clone", flag | 17) == errno.EPERM
    assert x86("clone3") == errno.ENOSYS  # its flags lie in memory: glibc falls back to clone


def test_sockets_are_of_listed_families_only() -> None:
    assert [x86("socket", family) for family in (1, 2, 10)] == [ALLOW] * 3
    for family in (16, 17, 38, 40, 0, 0xFFFFFFFF):  # netlink, packet, alg, vsock
        assert x86("socket", family) == errno.EAFNOSUPPORT


def test_keys_cannot_be_pressed_on_the_gateways_terminal() -> None:
    assert x86("ioctl", 0, 0x5412) == errno.EPERM
    assert x86("ioctl", 0, 0x541C) == errno.EPERM
    assert x86("ioctl", 0, 0x5401) == ALLOW


def test_calls_of_another_architecture_end_the_process() -> None:
    program = build_filter(X86, FAMILIES)
    assert verdict(program, 0x40000003, 1) == KILL  # i386
    assert verdict(program, X86.audit_arch, 0x40000001) == KILL  # x32
    assert verdict(program, ARM64.audit_arch, 1) == KILL


@given(st.integers(0, 600), st.lists(st.integers(0, 2**32 - 1), min_size=2, max_size=2))
def test_a_verdict_does_not_leak_from_one_call_to_the_next(number: int, args: list[int]) -> None:
    examined = {X86.clone, X86.socket, X86.ioctl}
    got = verdict(build_filter(X86, FAMILIES), X86.audit_arch, number, tuple(args))
    if number in X86.denied:
        assert got == errno.EPERM
    elif number == X86.clone3:
        assert got == errno.ENOSYS
    elif number not in examined:
        assert got == ALLOW


def test_a_refusal_imitates_an_older_kernel() -> None:
    program = build_refusal([444], errno.ENOSYS)
    assert verdict(program, X86.audit_arch, 444) == errno.ENOSYS
    assert verdict(program, X86.audit_arch, 445) == ALLOW


def test_numbers_are_those_of_the_headers() -> None:
    header = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
    if not header.exists():
        pytest.skip("no kernel headers on this machine")
    known = dict(re.findall(r"#define __NR_(\w+) (\d+)", header.read_text()))
    assert {name: int(known[name]) for name in X86.names if name in known} == {
        name: number for name, number in X86.names.items() if name in known
    }


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_numbers_are_those_of_libseccomp(table: SyscallTable) -> None:
    found = ctypes.util.find_library("seccomp")
    if found is None:
        pytest.skip("no libseccomp on this machine")
    resolve = ctypes.CDLL(found).seccomp_syscall_resolve_name_arch
    resolve.argtypes = [ctypes.c_uint32, ctypes.c_char_p]
    for name, number in table.names.items():
        assert resolve(table.audit_arch, name.encode()) == number, name


def test_a_32_bit_process_on_a_64_bit_kernel_has_its_own_numbers() -> None:
    assert table_of("aarch64", 8) is TABLES["aarch64"]
    assert table_of("aarch64", 4) is TABLES["arm"]
    assert table_of("armv7l", 4) is TABLES["arm"]
    assert table_of("x86_64", 4) is None
    assert table_of("s390x", 8) is None
