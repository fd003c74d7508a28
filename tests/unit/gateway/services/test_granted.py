"""The rights of a JavaScript container, from its environment."""

import pytest

from gateway.services.errors import ServicesError
from gateway.services.granted import grant_by_environment, launch_environment
from gateway.services.images.manifest import HttpSettings, Manifest, ManifestMqtt

ENV = {
    "MCM.MQTT_TRIGGERS": "in/+",
    "MCM.MQTT_PUBLISH": "out",
    "MCM.EXPOSE": "public",
    "MCM.BEP_SUPPORT": "true",
}


def test_an_image_without_rights_gets_those_of_the_environment() -> None:
    granted = grant_by_environment(Manifest("probe"), "js", ENV)
    assert granted.mqtt == ManifestMqtt(("in/+",), ("out",))
    assert granted.http == HttpSettings(expose="public", bep=True)


def test_nothing_is_granted_by_itself() -> None:
    assert grant_by_environment(Manifest("probe"), "js", {}) == Manifest("probe")


def test_an_image_with_rights_keeps_them() -> None:
    own = Manifest("probe", mqtt=ManifestMqtt(("mine",), ()))
    assert grant_by_environment(own, "js", ENV).mqtt == own.mqtt


def test_python_is_not_concerned() -> None:
    assert grant_by_environment(Manifest("probe"), "python", ENV) == Manifest("probe")


@pytest.mark.parametrize(
    "filters", ["$SYS/#", "a/b#", "[", "a\nb", ",".join(f"t{i}" for i in range(65))]
)
def test_what_cannot_be_granted_is_told(filters: str) -> None:
    with pytest.raises(ServicesError, match="cannot grant"):
        grant_by_environment(Manifest("probe"), "js", {"MCM.MQTT_TRIGGERS": filters})


def test_the_topics_of_a_manifest_are_the_triggers_of_a_script() -> None:
    manifest = Manifest("probe", mqtt=ManifestMqtt(subscribe=("in/+",)))
    assert launch_environment(manifest, "js", {})["MCM.MQTT_TRIGGERS"] == '["in/+"]'
    given = {"MCM.MQTT_TRIGGERS": "in/1"}
    assert launch_environment(manifest, "js", given) == given
    assert launch_environment(manifest, "python", {}) == {}
    assert launch_environment(Manifest("probe"), "js", {}) == {}
