"""`hecate new`, and a folder that is no microservice yet."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli.app import app
from gateway.cli.errors import CliError
from gateway.cli.packaging.builder import build_folder
from gateway.cli.scaffold import name_of
from gateway.cli.templates import minimal_text
from gateway.services.images.manifest import parse_manifest
from microservice.entry import load_service
from tests.programs import ROOT


@pytest.mark.parametrize("name", ["", "  "])
@pytest.mark.parametrize("command", ["new", "init"])
def test_an_empty_name_is_not_the_present_folder(
    command: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, [command, name])
    assert isinstance(done.exception, CliError)
    assert "its name is empty" in str(done.exception)
    assert not list(tmp_path.iterdir())


# case G12
def test_a_folder_without_the_file_is_told_what_it_is_for(tmp_path: Path) -> None:
    folder = tmp_path / "My Meter_2"
    folder.mkdir()
    (folder / "service.py").write_text("")
    with pytest.raises(CliError) as caught:
        build_folder(folder)
    why = str(caught.value)
    assert why.startswith(f"cannot build {folder}: no microservice.toml in it. This file names")
    assert 'name = "my-meter-2"\n\n[http]\nbase = "/my-meter-2/v1"\n' in why
    assert f"`hecate new '{folder}'` writes one" in why
    assert "Errno" not in why
    (folder / "service.py").unlink()
    (folder / "index.js").write_text("")
    with pytest.raises(CliError, match=r"`hecate new '.*' --js` writes one"):
        build_folder(folder)


# case G12
def test_a_folder_without_code_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "microservice.toml").write_text('name = "x"\n')
    with pytest.raises(CliError, match=r"no service\.py or index\.js in it.*hecate new"):
        build_folder(tmp_path)


@pytest.mark.parametrize("name", ["meter", "Äh", "a" * 60, "--x--", "1"])
def test_the_minimal_manifest_can_be_used(tmp_path: Path, name: str) -> None:
    parse_manifest(minimal_text(name_of(tmp_path / name)))


def test_what_new_writes_can_be_deployed(tmp_path: Path) -> None:
    folder = tmp_path / "meter"
    assert CliRunner().invoke(app, ["new", str(folder)]).exit_code == 0
    assert build_folder(folder).image == "meter-v1"
    service = load_service(folder, 64)
    assert len(service.triggers.routes) == len(service.triggers.messages) == 1


def test_new_keeps_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text("# mine\n")
    done = CliRunner().invoke(app, ["new", str(tmp_path), "--json"])
    assert done.exit_code == 0
    written = {Path(path).name for path in json.loads(done.stdout)["written"]}
    assert "microservice.toml" in written
    assert "service.py" not in written
    assert (tmp_path / "service.py").read_text() == "# mine\n"
    assert (tmp_path / "microservice.toml").exists()
    again = CliRunner().invoke(app, ["new", str(tmp_path)])
    assert isinstance(again.exception, CliError)
    assert "a microservice is there; `hecate dev" in str(again.exception)


@pytest.mark.parametrize(("option", "entry"), [((), "service.py"), (("--js",), "index.js")])
def test_the_test_that_new_writes_passes_and_can_fail(
    option: tuple[str, ...], entry: str, tmp_path: Path
) -> None:
    folder = tmp_path / "meter"
    CliRunner().invoke(app, ["new", str(folder), *option])
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)]
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    code = folder / entry
    code.write_text(code.read_text().replace("+ 1", "+ 2"))
    assert subprocess.run(command, cwd=tmp_path, env=environ, check=False).returncode == 1


def test_new_in_javascript(tmp_path: Path) -> None:
    folder = tmp_path / "web hook"
    assert CliRunner().invoke(app, ["new", str(folder), "--js"]).exit_code == 0
    names = {path.name for path in folder.iterdir()}
    assert names == {"microservice.toml", "index.js", "README.md", "test_index.py", ".gitignore"}
    package = build_folder(folder)
    assert (package.image, package.runtime) == ("web-hook-v1", "js")
    assert "hecate dev '" in (folder / "README.md").read_text()
    wrong = CliRunner().invoke(app, ["new", str(folder)])
    assert "it is a microservice in index.js" in str(wrong.exception)
