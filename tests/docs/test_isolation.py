"""docs/isolation.md: its snippets are read, its commands run, its table lists every finding."""

import re
import tomllib
from pathlib import Path

from gateway.cli.app import app
from gateway.config import load_gateway_config
from gateway.services.images.manifest import LimitSettings, parse_manifest
from gateway.services.runtimes.isolation import IsolationPolicy
from gateway.services.settings import ServicesSettings
from microservice.isolation.findings import FINDINGS
from tests.programs import ROOT

TEXT = (ROOT / "docs" / "isolation.md").read_text()
SNIPPETS = re.findall(r"^```toml\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def test_the_table_lists_the_findings_in_their_order() -> None:
    assert tuple(re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE)) == FINDINGS


def test_the_limits_of_the_page_are_the_defaults() -> None:
    (limits,) = (one for one in SNIPPETS if "[limits]" in one)
    assert parse_manifest(f'name = "a"\n{limits}').limits == LimitSettings()
    assert set(tomllib.loads(limits)["limits"]) >= {"memory_mib", "cpu", "processes", "open_files"}


def test_a_manifest_may_require_what_the_page_shows() -> None:
    (required,) = (one for one in SNIPPETS if "require" in one)
    assert parse_manifest(f'name = "a"\n{required}').isolation.require == ("memory", "network")


def test_the_configuration_of_the_page_is_the_default_but_for_strict(tmp_path: Path) -> None:
    (text,) = (one for one in SNIPPETS if "uid_first" in one)
    file = tmp_path / "gateway.toml"
    file.write_text(text)
    assert load_gateway_config(file, {}).services == ServicesSettings(isolation="strict")


def test_the_commands_of_the_page_exist() -> None:
    from typer.testing import CliRunner

    shown = CliRunner().invoke(app, ["ps", "--help"]).stdout
    for command in re.findall(r"^hecate ps (.*)$", TEXT, re.MULTILINE):
        for option in command.split():
            assert option in shown


def test_a_device_needs_both_tables_of_the_page(tmp_path: Path) -> None:
    wanted, allowed = (one for one in SNIPPETS if "devices" in one)
    devices = parse_manifest(f'name = "a"\n{wanted}').isolation.devices
    file = tmp_path / "gateway.toml"
    file.write_text(allowed)
    policy = IsolationPolicy(devices=load_gateway_config(file, {}).services.devices)
    assert policy.refused_devices(devices) == []
    assert IsolationPolicy().refused_devices(devices) == ["/dev/ttyUSB0"]
