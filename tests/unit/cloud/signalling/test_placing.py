from dataclasses import replace

import pytest

from cloud.config import SignallingSettings
from cloud.errors import ProblemError
from cloud.signalling.placing import choose_ttl, describe
from cloud.storage.records import Bep, RelayAddress

SETTINGS = SignallingSettings()


@pytest.mark.parametrize(("asked", "given"), [(None, 3600.0), (1.0, 1.0), (86_400.0, 86_400.0)])
def test_ttl(asked: float | None, given: float) -> None:
    assert choose_ttl(asked, SETTINGS) == given


@pytest.mark.parametrize("asked", [0.0, -1.0, 86_401.0, float("inf"), float("nan")])
def test_ttl_out_of_range(asked: float) -> None:
    with pytest.raises(ProblemError, match="from 1 to 86400"):
        choose_ttl(asked, SETTINGS)


def test_ttl_limit_is_a_setting() -> None:
    with pytest.raises(ProblemError):
        choose_ttl(11, replace(SETTINGS, bep_ttl_limit_s=10.0, bep_ttl_s=5.0))


def test_description_has_the_url_for_visitors() -> None:
    bep = Bep("x" * 22, "a" * 56, RelayAddress("::1", 8443), 5.0)
    assert describe(bep)["url"] == f"http://[::1]:8443/{'x' * 22}"
