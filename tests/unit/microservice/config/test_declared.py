"""Settings and secrets that a manifest declares."""

from typing import Any

import pytest

from gateway.services.errors import ImageError
from gateway.services.images.manifest import Manifest, parse_manifest
from microservice.config.declared import resolve

TOML = """
name = "probe"

[settings.limit]
type = "number"
default = 30
minimum = 0
maximum = 100
description = "Degrees above which it warns"

[settings.count]
type = "integer"
minimum = 1

[settings.mode]
type = "string"
default = "fast"
choices = ["fast", "slow"]

[settings.loud]
type = "boolean"
default = false

[secrets]
names = ["api_key"]
"""


def manifest(more: str = "") -> Manifest:
    return parse_manifest(TOML + more)


def test_given_values_and_defaults_become_the_settings() -> None:
    specs = manifest().settings
    assert specs["limit"].description == "Degrees above which it warns"
    assert manifest().secrets.names == ("api_key",)
    assert resolve(specs, {"count": 3}) == {
        "limit": 30, "count": 3, "mode": "fast", "loud": False,
    }  # fmt: skip
    given = {"count": "3", "limit": "1.5", "loud": "true", "mode": "slow", "gone": 1}
    assert resolve(specs, given) == {"limit": 1.5, "count": 3, "mode": "slow", "loud": True}


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({}, "setting count has no value, and no default; `hecate deploy --set count=…`"),
        ({"count": 0}, "setting count must be at least 1"),
        ({"count": 1.5}, "setting count must be a whole number"),
        ({"count": "1.5"}, "setting count must be a whole number"),
        ({"count": True}, "setting count must be a whole number"),
        ({"count": 1, "limit": 101}, "setting limit must be at most 100"),
        ({"count": 1, "limit": "warm"}, "setting limit must be a number"),
        ({"count": 1, "limit": "nan"}, "setting limit must be a number"),
        ({"count": 1, "limit": 10**400}, "setting limit must be at most 100"),  # no float holds it
        ({"count": 1, "mode": "middling"}, "setting mode must be one of fast, slow"),
        ({"count": 1, "mode": 1}, "setting mode must be a text"),
        ({"count": 1, "loud": 1}, "setting loud must be true or false"),
        ({"count": 1, "loud": "yes"}, "setting loud must be true or false"),
    ],
)
def test_a_value_that_does_not_fit_is_named(given: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        resolve(manifest().settings, given)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ('[settings.x]\ntype = "list"', "must be one of string, integer, number, boolean"),
        ("[settings.x]\ndefault = 1", r"\[settings.x\] type: is required"),
        ('[settings.x]\ntype = "integer"\ndefault = "a"', "default: must be a whole number"),
        ('[settings.x]\ntype = "string"\nminimum = 1', "minimum and maximum do not go with"),
        ('[settings.x]\ntype = "number"\nchoices = ["a"]', 'choices need type = "string"'),
        ('[settings.x]\ntype = "number"\nfoo = 1', "foo: is not known"),
        ('[settings."a b"]\ntype = "number"', 'settings: "a b" must be letters'),
    ],
)
def test_a_declaration_that_cannot_be_is_named_with_its_place(more: str, why: str) -> None:
    with pytest.raises(ImageError, match=why):
        manifest(more)


def test_settings_that_are_no_tables_and_secrets_without_names_are_refused() -> None:
    with pytest.raises(ImageError, match="settings"):
        parse_manifest('name = "probe"\nsettings = 1')
    with pytest.raises(ImageError, match="is not a table"):
        parse_manifest('name = "probe"\n[settings]\nlimit = 30')
    with pytest.raises(ImageError, match='"api key" must be letters'):
        parse_manifest('name = "probe"\n[secrets]\nnames = ["api key"]')
    with pytest.raises(ImageError, match="settings must be at most 64"):
        parse_manifest('name = "probe"\n' + "".join(
            f'[settings.s{n}]\ntype = "number"\n' for n in range(65)
        ))  # fmt: skip
