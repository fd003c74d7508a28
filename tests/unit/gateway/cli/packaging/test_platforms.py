import pytest

from gateway.cli.errors import OptionError
from gateway.cli.packaging.platforms import parse_platform


@pytest.mark.parametrize(
    ("given", "name", "machine"),
    [
        ("linux/arm64", "linux/arm64", "aarch64"),
        ("arm64", "linux/arm64", "aarch64"),
        ("aarch64", "linux/arm64", "aarch64"),
        ("linux/x86_64", "linux/amd64", "x86_64"),
        ("linux/arm/v7", "linux/arm/v7", "armv7l"),
        ("arm", "linux/arm/v7", "armv7l"),
    ],
)
def test_a_platform_may_be_named_as_images_or_kernels_do(
    given: str, name: str, machine: str
) -> None:
    platform = parse_platform(given, "3.11")
    assert (platform.name, platform.machine) == (name, machine)


def test_wheels_of_older_c_libraries_are_taken_and_newer_ones_are_not() -> None:
    tags = parse_platform("linux/arm64", "3.13", "2.31").wheel_platforms()
    assert tags[0] == "manylinux_2_31_aarch64"
    assert "manylinux2014_aarch64" in tags
    assert "manylinux_2_32_aarch64" not in tags
    assert "manylinux_2_16_aarch64" not in tags
    assert tags[-1] == "linux_aarch64"
    assert "manylinux1_x86_64" in parse_platform("linux/amd64", "3.11").wheel_platforms()


def test_the_tag_in_messages_names_interpreter_library_and_machine() -> None:
    assert parse_platform("arm64", "3.13", "2.36").tag == "cp313-manylinux_2_36_aarch64"
    assert parse_platform("arm64", "3.13", "musl").tag == "cp313-manylinux_2_31_aarch64"


@pytest.mark.parametrize(
    ("name", "python", "why"),
    [
        ("linux/vax", "3.11", "must be one of linux/amd64, linux/arm64"),
        ("windows/amd64", "3.11", "must be one of"),
        ("linux/arm64", "2.7", "must be like 3.11"),
        ("linux/arm64", "3.11.2", "must be like 3.11"),
    ],
)
def test_an_unknown_platform_names_the_known_ones(name: str, python: str, why: str) -> None:
    with pytest.raises(OptionError, match=why):
        parse_platform(name, python)
