import pytest

from gateway.devices.record import DeviceRecord
from gateway.devices.settings import DeviceRights, DevicesSettings

DEVICE = "dev-0123456789ab"


def test_rights_follow_the_template_and_the_groups() -> None:
    rights = DeviceRights(("logs/{id}",), ("groups/{group}/#", "news"))
    device = DeviceRecord(DEVICE, "lamp", "sim", "", 0.0, groups=("a", "b"))
    own = f"devices/{DEVICE}/#"
    assert rights.filters_of(device, "publish") == (own, f"logs/{DEVICE}")
    assert rights.filters_of(device, "subscribe") == (own, "groups/a/#", "groups/b/#", "news")
    assert DeviceRights().filters_of(device, "subscribe") == (own,)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        (DevicesSettings(publish=("$hec/#",)), r"must not start with \$"),
        (DevicesSettings(subscribe=("$share/g/{id}",)), r"must not start with \$"),
        (DevicesSettings(subscribe=("a/#/b",)), "not a topic filter"),
        (DevicesSettings(subscribe=("",)), "not a topic filter"),
        (DevicesSettings(subscribe=("x/{name}",)), "{id} and {group} are known"),
        (DevicesSettings(rotate_days=-1), "must be 0 to 3650"),
        (DevicesSettings(expire_days=30), "rotate_days must be less"),
        (DevicesSettings(expire_days=30, rotate_days=0), "rotate_days must be less"),
    ],
)
def test_settings_that_cannot_work(settings: DevicesSettings, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        settings.check()


def test_settings_that_work() -> None:
    DevicesSettings().check()
    DevicesSettings(expire_days=120, publish=("+/{id}/x",)).check()
