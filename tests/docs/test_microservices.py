"""docs/microservices.md: its commands run in order, and say what the page says."""

import contextlib
import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli.app import app
from gateway.cli.errors import CliError
from gateway.services.containers import ContainerState
from gateway.services.images.manifest import LimitSettings
from gateway.services.limits import ServiceLimits
from tests.programs import HECATE, ROOT, Program, until
from tests.system import Gateway

TEXT = (ROOT / "docs" / "microservices.md").read_text()
COMMANDS = [
    line
    for block in re.findall(r"^```sh\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
]


class Person:
    """Types commands in a folder."""

    def __init__(self, folder: Path, gateway: Gateway) -> None:
        self.folder = folder
        self.environ = {
            "HECATE_URL": gateway.url, "HECATE_API_KEY": gateway.key, "PYTHONPATH": str(ROOT),
            "NO_COLOR": "1",
        }  # fmt: skip

    def type(self, command: str) -> tuple[int, str, str]:
        """Return exit code, output and errors."""
        words = command.split()
        assert words[0] == "hecate"
        done = subprocess.run(
            [*HECATE, *words[1:]], cwd=self.folder, env={**os.environ, **self.environ},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    def say(self, command: str) -> tuple[int, str, str]:
        """Run a command as type() does, but within this process, which is quicker."""
        with contextlib.chdir(self.folder):
            done = CliRunner().invoke(app, command.split()[1:], env=self.environ)
        if isinstance(done.exception, CliError):
            return done.exception.exit_code, done.stdout, f"{done.exception}\n"
        return done.exit_code, done.stdout, done.stderr


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with Gateway(tmp_path_factory.mktemp("page")) as gateway:
        yield gateway


@pytest.mark.timeout(120)
def test_the_page_works_from_top_to_bottom(gateway: Gateway, tmp_path: Path) -> None:
    person = Person(tmp_path, gateway)
    said: dict[str, str] = {}
    for number, command in enumerate(COMMANDS):
        # the first ones as a person does; a process for each of the others takes long
        code, out, error = (person.type if number < 3 else person.say)(command)
        assert code == 0, (command, error)
        said[command] = out
    assert (tmp_path / "hello/service.py").exists()
    assert said["hecate deploy hello"] == f"{gateway.url}/api/hello/v1\n"
    assert json.loads(said["hecate invoke hello"]) == {"service": "hello", "seen": {}}
    assert json.loads(said["hecate invoke hello / --json"])["status"] == 200
    assert said["hecate ps"].split()[:5] == ["NAME", "STATE", "SINCE", "IMAGE", "VERSION"]
    assert json.loads(said["hecate ps --json"])["data"][0]["state"] == "started"
    assert said["hecate stop hello"] == "hello stopped\n"
    assert said["hecate images"].splitlines()[1].split()[0] == "hello-v1"
    assert said["hecate rm hello"] == "removed hello\n"
    assert said["hecate images prune --yes"] == "removed hello-v1\n"
    assert said["hecate invoke hello --mqtt devices/kitchen/readings/t 21"] == "hello handled it\n"
    assert json.loads(person.say("hecate ps --json")[1]) == {"data": []}


# case G8
def test_deploying_the_same_again_says_so_and_how_to_restart(
    gateway: Gateway, tmp_path: Path
) -> None:
    person = Person(tmp_path, gateway)
    person.say("hecate new again")
    assert "runs again-v1" in person.say("hecate deploy again")[2]
    code, _, note = person.say("hecate deploy again")
    assert code == 0
    assert "runs this very image already; `hecate restart again` starts it anew" in note
    assert json.loads(person.say("hecate deploy again --json")[1])["already_running"] is True


def test_a_log_is_followed_and_an_end_of_its_reader_is_no_error(
    gateway: Gateway, tmp_path: Path
) -> None:
    person = Person(tmp_path, gateway)
    person.say("hecate new talk")
    code = tmp_path / "talk/service.py"
    code.write_text(f"{code.read_text()}\n\nprint('hello \\x1b[2Jthere')\n")
    assert person.say("hecate deploy talk")[0] == 0
    until(lambda: "hello" in person.say("hecate logs talk")[1], "it has printed")
    with Program((*HECATE, "logs", "-f", "talk", "-n", "1"), person.environ) as following:
        assert following.wait_for(r"^\d{4}-\S+Z hello \?\[2Jthere$")
        assert person.say("hecate restart talk")[0] == 0
        following.wait_for("hello")
        assert person.say("hecate rm talk")[0] == 0
        assert following.wait() == 0


def test_what_cannot_be_is_told_with_what_to_do(gateway: Gateway, tmp_path: Path) -> None:
    person = Person(tmp_path, gateway)
    for command, why in (
        ("hecate logs nobody", "cannot find microservice nobody; there are: "),
        ("hecate stop nobody", "cannot find microservice nobody"),
        ("hecate rm nobody", "cannot find nobody: neither a microservice (`hecate ps`) nor an"),
        ("hecate invoke nobody", "cannot find microservice nobody"),
    ):
        code, out, error = person.say(command)
        assert (code, out) == (1, "")
        assert error.startswith(why), error
    person.say("hecate new there")
    person.say("hecate deploy there")
    code, out, error = person.say("hecate invoke there /nothing")
    assert (code, out) == (1, "")
    assert error == "cannot invoke there: HTTP 404: cannot find /nothing\n"
    code, out, error = person.say("hecate invoke there /nothing --json")
    assert (code, error) == (1, "")
    assert json.loads(out)["status"] == 404


def test_the_description_of_a_container_names_its_fields(gateway: Gateway, tmp_path: Path) -> None:
    person = Person(tmp_path, gateway)
    person.say("hecate new fields")
    person.say("hecate deploy fields")
    (row,) = (c for c in gateway.call("GET", "/mcm/v1/containers")["data"] if c["name"] == "fields")
    page = (ROOT / "docs" / "protocol.md").read_text()
    (text,) = re.findall(r"^A container object holds (.*?)\n\n", page + "\n\n", re.M | re.S)
    named = set(re.findall(r"`(\w+)`", text))
    states = {state.value for state in ContainerState}
    assert named == set(row) | states
    assert set(row["lastEnd"]) == {"reason", "at"}


def test_the_numbers_of_the_page_are_those_of_the_code() -> None:
    limits = ServiceLimits()
    assert f"`[limits] start_s`, {limits.ready_s:g} s" in TEXT
    assert f"`[limits] liveness_s`, {limits.liveness_s:g} s" in TEXT
    assert f"`[limits] memory_mib`, {LimitSettings().memory_mib} MiB" in TEXT
    assert f"for {limits.stall_s:g} s | the call is given up" in TEXT
    assert "newest three others" in TEXT
    assert limits.old_versions == 3
    assert f"When there are {limits.images}," in TEXT
    assert limits.log_bytes == 1024 * 1024
