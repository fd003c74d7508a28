from gateway.cli.packaging.lock import LockedPackage, RequirementsLock, parse_lock
from gateway.cli.packaging.platforms import parse_platform

ARM, INTEL = parse_platform("arm64", "3.11"), parse_platform("amd64", "3.11")
OLD, NEW = "sha256:" + "0" * 64, "sha256:" + "1" * 64
IDNA = LockedPackage("idna", "3.10", "a" * 64)
NUMPY = LockedPackage("numpy", "2.1.0", "b" * 64)


def test_a_lock_has_a_section_for_each_platform() -> None:
    lock = RequirementsLock().with_section(OLD, ARM, (NUMPY, IDNA)).with_section(OLD, INTEL, ())
    read = parse_lock(lock.text())
    assert read.find(OLD, ARM) == (IDNA, NUMPY)
    assert read.find(OLD, INTEL) == ()
    assert read.find(OLD, parse_platform("arm64", "3.12")) is None
    assert read.text() == lock.text()


def test_other_requirements_make_all_sections_void() -> None:
    lock = RequirementsLock().with_section(OLD, ARM, (IDNA,))
    assert lock.find(NEW, ARM) is None
    fresh = lock.with_section(NEW, INTEL, (IDNA,))
    assert fresh.find(NEW, ARM) is None
    assert fresh.find(NEW, INTEL) == (IDNA,)


def test_a_file_that_is_no_lock_is_resolved_anew() -> None:
    text = RequirementsLock().with_section(OLD, ARM, (IDNA,)).text()
    assert parse_lock(text + "idna==3.10\n").find(OLD, ARM) is None
    assert parse_lock("<<<<<<< HEAD\n" + text).find(OLD, ARM) is None
    assert parse_lock("") == RequirementsLock()
