import pytest

from gateway.services.errors import ImageError
from gateway.services.images.manifest import parse_manifest
from gateway.services.runtimes.isolation import (
    _REMEDIES,
    IsolationPolicy,
    explain_missing,
    resolve_devices,
)
from gateway.services.settings import ServicesSettings
from microservice.isolation.findings import FINDINGS, Finding, Isolation, Level


def test_strict_requires_everything_and_best_what_the_manifest_asks_for() -> None:
    assert IsolationPolicy().required(("network",)) == ("network",)
    assert IsolationPolicy(strict=True).required(()) == FINDINGS


# case S23
def test_a_refusal_names_what_was_found_and_the_remedy() -> None:
    found = Isolation({"memory": Finding(Level.PART, "148 MiB for each process alone")})
    why = explain_missing(found, ["memory"])
    assert "memory: 148 MiB for each process alone" in why
    assert "cgroup_enable=memory" in why


def test_every_finding_has_a_remedy() -> None:
    assert set(_REMEDIES) == set(FINDINGS)


@pytest.mark.parametrize(
    "settings",
    [
        ServicesSettings(isolation="some"),
        ServicesSettings(uid_first=0),
        ServicesSettings(uid_first=2**31),
        ServicesSettings(uid_count=0),
        ServicesSettings(uid_first=2**31 - 10, uid_count=11),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: ServicesSettings) -> None:
    with pytest.raises(ValueError, match=r"must be"):
        settings.check()


def test_a_manifest_has_limits_and_requirements() -> None:
    manifest = parse_manifest(
        'name = "a"\n[limits]\ncpu = 0.5\nprocesses = 8\nopen_files = 64\n'
        '[isolation]\nrequire = ["memory", "network"]\n'
    )
    assert (manifest.limits.cpu, manifest.limits.processes) == (0.5, 8)
    assert manifest.isolation.require == ("memory", "network")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("[limits]\ncpu = 0.001", "cpu = 0.001: must be 0.05 to 64"),
        ("[limits]\nprocesses = 1", "processes = 1: must be 4 to 4096"),
        ("[limits]\nopen_files = 5", "open_files = 5: must be 64 to 65536"),
        ('[isolation]\nrequire = ["peace"]', '"peace" must be one of uid, privileges'),
    ],
)
def test_a_manifest_with_impossible_limits_is_refused(line: str, why: str) -> None:
    with pytest.raises(ImageError, match=why):
        parse_manifest(f'name = "a"\n{line}\n')


SERIAL = """
name = "meter"
[isolation]
devices = ["{port}", "/dev/i2c-1"]
[settings.port]
type = "string"
default = "/dev/ttyUSB0"
"""


def test_a_setting_may_name_a_device() -> None:
    devices = parse_manifest(SERIAL).isolation.devices
    port = {"port": "/dev/serial/by-id/usb-FTDI"}
    assert resolve_devices(devices, port) == ("/dev/serial/by-id/usb-FTDI", "/dev/i2c-1")


@pytest.mark.parametrize("value", ["", "/etc/shadow", "/dev/../etc/shadow", "ttyUSB0", 3])
def test_a_setting_that_names_no_device_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"must be a path such as /dev/ttyUSB0"):
        resolve_devices(parse_manifest(SERIAL).isolation.devices, {"port": value})


@pytest.mark.parametrize("text", ["{other}", "{port", "/dev/{port}/../x", "{}"])
def test_a_device_without_its_setting_is_refused(text: str) -> None:
    with pytest.raises(ImageError, match=r"devices: "):
        parse_manifest(SERIAL.replace("{port}", text))
