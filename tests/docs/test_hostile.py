"""docs/hostile.md names every attack, and limits and files that exist."""

import re
from dataclasses import fields

from broker.quota.limits import Limits
from tests.hostile.attacker import ATTACKS
from tests.programs import ROOT

PAGE = (ROOT / "docs" / "hostile.md").read_text()


def test_every_attack_is_there() -> None:
    table = PAGE.partition("## The attacks")[2].partition("## Any bytes")[0]
    rows = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", " ".join(rows))) == ATTACKS.keys()


def test_files_and_limits_exist() -> None:
    for path in re.findall(r"`((?:broker|tests)/[\w./]+)`", PAGE):
        assert (ROOT / path).exists(), path
    limits = {each.name for each in fields(Limits)}
    assert set(re.findall(r"`(\w+_bytes)`", PAGE)) <= limits
