import pytest

from hardware.radio.adapters import Adapter, choose_adapter
from hardware.radio.errors import AdapterMissingError

ONE, TWO = Adapter("F0:00:00:00:00:01", "hci0"), Adapter("F0:00:00:00:00:02", "hci1")


def test_the_wanted_adapter_is_used_whatever_its_name() -> None:  # case L2
    moved = Adapter(TWO.address, "hci9")
    assert choose_adapter([ONE, moved], TWO.address.lower()) is moved


def test_any_adapter_does_when_none_is_wanted_but_the_last_one_first() -> None:
    assert choose_adapter([TWO, ONE], "") is ONE
    assert choose_adapter([ONE, TWO], "", last=TWO.address) is TWO


@pytest.mark.parametrize(
    ("adapters", "wanted", "advice"),
    [
        ([], "", "plug one in"),
        ([ONE], TWO.address, r"\[bluetooth\] adapter"),
        ([Adapter(ONE.address, "hci0", is_powered=False)], "", "rfkill"),
    ],
)
def test_an_adapter_that_is_missing_is_explained(
    adapters: list[Adapter], wanted: str, advice: str
) -> None:
    with pytest.raises(AdapterMissingError, match=advice):
        choose_adapter(adapters, wanted)
