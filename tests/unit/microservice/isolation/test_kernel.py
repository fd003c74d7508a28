import pytest

from microservice.isolation.kernel import version_of


@pytest.mark.parametrize(
    ("release", "version"),
    [
        ("6.1.0-rpi7-rpi-v8", (6, 1)),
        ("5.14.0", (5, 14)),
        ("5.9-rc1", (5, 9)),
        ("6.18.44+", (6, 18)),
        ("unknown", (0, 0)),
    ],
)
def test_the_version_of_a_release(release: str, version: tuple[int, int]) -> None:
    assert version_of(release) == version
