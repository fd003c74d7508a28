"""The examples are loaded, and the page of keys is that of the code."""

import sys
from pathlib import Path

from cloud.config import load_cloud_config
from gateway.config import load_gateway_config
from tests.programs import ROOT, run


def test_the_example_of_a_gateway_is_loaded() -> None:
    config = load_gateway_config(ROOT / "examples" / "gateway.toml", {})
    assert config.node.name == "barn"
    assert [rule.direction for rule in config.uplink.topics] == ["up", "down"]


def test_the_example_of_a_cloud_is_loaded() -> None:
    config = load_cloud_config(ROOT / "examples" / "cloud.toml", {})
    assert config.mid.providers[0].client_id == "hecate"
    assert config.store.directory != Path()


def test_the_page_of_keys_is_current() -> None:
    run((sys.executable, "scripts/config_docs.py", "--check"))
