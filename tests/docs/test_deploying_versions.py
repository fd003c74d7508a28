"""docs/deploying.md, from versions on: its commands run in order, its figures are the code's."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from gateway.services.images.pack import pack_image
from gateway.services.limits import ServiceLimits
from gateway.services.rollouts.coordinator import ROLLOUTS_KEPT
from gateway.services.rollouts.plan import FIRST_RETRY_S, LONGEST_RETRY_S, RolloutNodeState
from gateway.services.supervisor import STOP_DRAIN_S
from gateway.services.versions.history import ACTIVATIONS_LIMIT
from tests.docs.test_deploying import TEXT, type_in
from tests.integration.gateway.nodes import Node
from tests.integration.gateway.services.world import write_service
from tests.programs import until
from tests.system import Gateway, start_cloud

VERSIONS = TEXT[TEXT.index("## Versions and roll-backs") :].split("\n## ")[0]
ROLLOUTS = TEXT[TEXT.index("## Roll-outs") :].split("\n## ")[0]
CODE = '@service.get("/")\nasync def root(_): return {}\n'

pytestmark = pytest.mark.skipif(not shutil.which("curl"), reason="the page uses curl")


def commands(text: str) -> list[str]:
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def deploy(gateway: Gateway, folder: Path, *cities: str) -> None:
    source = write_service(folder / "src", CODE, name="hello")
    files = {"image": ("image.tar", pack_image(source))}
    gateway.ask("POST", "/mcm/v1/images", files=files).raise_for_status()
    for city in cities:
        body = {"name": "hello", "image": "hello-v1", "env": {"CITY": city}}
        gateway.ask("POST", "/mcm/v1/containers", json=body).raise_for_status()


def test_the_commands_about_versions_work(tmp_path: Path) -> None:
    with Gateway(tmp_path / "state") as gateway:
        deploy(gateway, tmp_path, "Delft", "Gouda")
        listed, back, forward, changed = (
            json.loads(type_in(tmp_path, each, gateway)) for each in commands(VERSIONS)
        )
    assert [each["version"] for each in listed["data"]] == [2, 1]
    assert (back["version"], back["env"]["CITY"]) == (1, "Delft")
    assert (forward["version"], forward["env"]["CITY"]) == (2, "Gouda")
    assert (changed["version"], changed["env"]["CITY"]) == (3, "Ghent")


def test_the_commands_about_roll_outs_work(tmp_path: Path) -> None:
    cloud = start_cloud(tmp_path / "cloud")
    with Node(tmp_path / "n", cloud, HECATE_GATEWAY_SERVICES_PROBATION_S="0.2") as node:
        deploy(node, tmp_path)
        begin, listing = commands(ROLLOUTS)
        assert json.loads(type_in(tmp_path, begin, node))["name"] == "hello"

        def rollout() -> dict[str, Any]:
            (found,) = json.loads(type_in(tmp_path, listing, node))["data"]
            assert isinstance(found, dict)
            return found

        until(lambda: rollout()["state"] == "done", "it is done")
        assert rollout()["nodes"][0]["state"] == "ready"
    assert cloud.program.stop() == 0


def test_the_figures_on_the_page_are_those_of_the_code() -> None:
    limits = ServiceLimits()
    mib = 1024 * 1024
    for text in (
        f"within {limits.probation_s:g} s of its start",
        f"less than {limits.free_bytes // mib} MiB of the disk",
        f"`[limits] store_mib`, {limits.store_bytes // mib} MiB",
        f"it has {limits.drain_s:g} s for them",
        f"gives\nrequests {STOP_DRAIN_S:g} s",
    ):
        assert text in VERSIONS
    assert (limits.versions, limits.starts, ACTIVATIONS_LIMIT) == (5, 4, 3)
    assert f"after {FIRST_RETRY_S:g} s, 10 s … {LONGEST_RETRY_S / 60:g} min" in ROLLOUTS
    assert f"keeps the last {ROLLOUTS_KEPT}" in ROLLOUTS
    assert set(re.findall(r"^\| `(\w+)` \|", ROLLOUTS, re.MULTILINE)) == set(RolloutNodeState)
