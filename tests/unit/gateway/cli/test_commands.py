import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import httpx
import pytest
from typer.testing import CliRunner

from gateway.__main__ import main
from gateway.cli.app import app
from gateway.cli.client.records import node_row, rows_of
from gateway.cli.client.sidecar import _why_refused, decode_answer, is_loopback
from gateway.cli.client.target import find_target
from gateway.cli.errors import CliError
from gateway.cli.output import print_table
from gateway.cli.packaging.builder import build_folder
from tests.unit.gateway.cli.view.status_documents import NODE_ID

ROOT = Path(__file__).resolve().parents[4]
COMMANDS = (
    "", "new", "dev", "build", "ps", "logs", "invoke", "stop", "start", "restart", "rm", "images",
    "images ls", "images rm", "images prune", "images export", "versions", "rollback",
    "deadletters list", "deadletters show", "deadletters retry", "deadletters discard",
    "rollouts", "rollouts show", "rollouts cancel", "rollouts resume", "keys make",
    "keys signing", "up", "gateway", "cloud", "broker", "broker passwd", "deploy", "nodes",
    "devices",
    "devices claim", "devices revoke", "devices run", "config", "config check", "status",
    "devices unclaim", "beps", "beps end", "account", "account join", "account approve",
    "account leave", "context", "context add", "context use", "context list",
    "context rm",
)  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    result = CliRunner().invoke(app, [*command.split(), "--help"])
    assert result.exit_code == 0
    if command not in ("", "config"):
        assert "Examples:" in result.stdout
        assert f"hecate {command}" in result.stdout.partition("Examples:")[2]


def test_the_document_is_that_of_the_help() -> None:
    script = ROOT / "scripts" / "cli_docs.py"
    done = subprocess.run(
        [sys.executable, script, "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys; sys.argv = ['hecate', '--help']\n"
        "from gateway.__main__ import main\n"
        "main()\n"
        "heavy = {'rich', 'httpx', 'fastapi', 'asyncio', 'cryptography', 'paho'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    before = _children_work_s()
    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
    assert _children_work_s() - before < 1.5  # 0.15 s of a processor


def _children_work_s() -> float:
    times = os.times()
    return times.children_user + times.children_system


@pytest.mark.parametrize(
    "arguments",
    [
        "up --devices x",
        "up --mqtt-port 70000",
        "up --unknown",
        "nodes --cluster moon",
        "deploy",
        "broker",
        "broker --listen 1883 --anonymous",
        "broker --listen 0.0.0.0:0 --anonymous",
        "broker --open-to-network",
        "broker --config x.toml --anonymous",
        "broker --config x.toml --listen 127.0.0.1:0",
        "broker --anonymous --durability synced",
        "broker --anonymous passwd x y",
        "broker passwd x y --stdin --generate",
    ],
)
def test_wrong_options_end_with_2(
    arguments: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["hecate", *arguments.split()])
    assert main() == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err
    assert "Traceback" not in captured.err


@pytest.mark.parametrize(
    "command",
    ["status", "nodes", "devices", "devices claim", "devices revoke dev-0123456789ab",
     "devices unclaim", "beps", "beps end --all", "account", "account join",
     "account leave --yes", "account approve BBBB-BBBB", "ps", "ps --security", "images",
     "images prune --yes", "logs x", "invoke x", "invoke x --mqtt t 1", "stop x", "start x", "rm x",
     "versions x", "rollback x", "deadletters list x", "deadletters retry x --all", "rollouts"],
)  # fmt: skip
def test_no_gateway_is_said_with_what_to_do(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "api-key").write_text("key")
    arguments = [*command.split(), "--state", str(tmp_path), "--url", "http://127.0.0.1:1"]
    monkeypatch.setattr(sys, "argv", ["hecate", *arguments])
    assert main() == 1
    error = capsys.readouterr().err
    assert error.startswith("cannot ")
    assert "no gateway answers at http://127.0.0.1:1; start one with `hecate up`" in error


@pytest.mark.parametrize(
    "command",
    ["status", "nodes", "devices", "ps", "ps --security", "images", "logs x", "logs x -f",
     "invoke x", "stop x", "start x", "restart x", "rm x", "versions x", "rollback x", "settings x",
     "deadletters list x", "deadletters show x 1", "deadletters retry x --all",
     "deadletters discard x --all", "rollouts", "deploy none", "build none", "account", "beps"],
)  # fmt: skip
def test_a_program_reads_the_reason_as_json(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "api-key").write_text("key")
    where = ["--state", str(tmp_path), "--url", "http://127.0.0.1:1"]
    arguments = [*command.split(), "--json", *(where if command != "build none" else [])]
    monkeypatch.setattr(sys, "argv", ["hecate", *arguments])
    assert main() == 1
    told = capsys.readouterr()
    assert json.loads(told.out) == {"error": told.err.rstrip("\n")}
    assert told.err.startswith("cannot ")


def test_a_missing_key_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("HECATE_API_KEY", raising=False)
    monkeypatch.setattr(sys, "argv", ["hecate", "devices", "--state", str(tmp_path)])
    assert main() == 1
    assert capsys.readouterr().err == (
        f"cannot read API key {tmp_path}/api-key: no such file or directory; start the gateway "
        "first, or give --state DIR or HECATE_API_KEY\n"
    )


def test_the_key_of_the_environment_wins_and_does_not_print() -> None:
    target = find_target(
        None, Path("/nowhere"), {"HECATE_API_KEY": "k3y", "HECATE_URL": "http://h:1/"}
    )
    assert target.url == "http://h:1"
    assert target.key.reveal() == "k3y"
    assert "k3y" not in repr(target)


@pytest.mark.parametrize("url", ["h:1", "ftp://h", "http://"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(CliError, match="must be like http:"):
        find_target(url, None, {"HECATE_API_KEY": "k"})


@pytest.mark.parametrize(
    ("url", "here"),
    [("http://127.0.0.1:8083", True), ("http://[::1]:1", True), ("http://localhost", True),
     ("http://192.0.2.1", False), ("http://127.0.0.1.example.com", False)],
)  # fmt: skip
def test_is_loopback(url: str, here: bool) -> None:
    assert is_loopback(url) is here


def test_servers_take_the_place_of_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[list[str]] = []

    def replace(path: str, arguments: list[str]) -> NoReturn:
        assert path == sys.executable
        calls.append(arguments)
        raise SystemExit(0)

    monkeypatch.setattr("os.execv", replace)
    runner = CliRunner()
    runner.invoke(app, ["cloud", "--state", "/tmp/c", "--port", "0", "--relay-port", "5"])
    runner.invoke(app, ["gateway", "--config", "g.toml"])
    runner.invoke(app, ["gateway"])
    assert calls == [
        [sys.executable, "-m", "cloud", "--state", "/tmp/c", "--port", "0", "--relay-port", "5"],
        [sys.executable, "-m", "gateway.cli.serve", "g.toml"],
        [sys.executable, "-m", "gateway.cli.serve"],
    ]


def test_config_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text("[broker]\nport = 1884\n")
    monkeypatch.setattr(sys, "argv", ["hecate", "config", "check", str(path)])
    assert main() == 0
    assert capsys.readouterr().out == f"{path}: good configuration for the gateway\n"
    path.write_text("[broker]\nprot = 1884\n")
    assert main() == 1
    assert f"cannot read {path}: [broker] prot: is not known" in capsys.readouterr().err


def test_config_check_of_the_cloud(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cloud.toml"
    path.write_text("[api]\nport = 0\n")
    monkeypatch.setattr(sys, "argv", ["hecate", "config", "check", str(path), "--kind", "cloud"])
    assert main() == 0
    path.write_text("[api]\nprot = 0\n")
    assert main() == 1
    assert f"cannot read {path}: [api] prot: is not known" in capsys.readouterr().err


def test_a_folder_that_is_no_microservice_says_why(tmp_path: Path) -> None:
    with pytest.raises(CliError, match=r"cannot build .*microservice.toml"):
        build_folder(tmp_path)
    with pytest.raises(CliError, match="no such folder"):
        build_folder(tmp_path / "none")


def test_rows_for_people() -> None:
    record = {
        "id": NODE_ID,
        "name": "lab",
        "rolesInCluster": ["superNodeLocalLinkNetwork"],
        "addresses": [
            {"type": "proxy", "url": {"href": "https://cloud.example/sep/x"}},
            {"type": "local", "url": {"href": "http://192.0.2.1:8083"}},
        ],
        "services": [{"id": "api-climate"}],
    }
    assert node_row(record) == (NODE_ID, "lab", "supernode", "api-climate", "http://192.0.2.1:8083")
    assert rows_of({"data": [record, 7]}) == [record]
    assert rows_of("nothing") == []


@pytest.mark.parametrize("columns", [20, 60, 200])
def test_a_narrow_terminal_loses_no_cell(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"COLUMNS": str(columns), "FORCE_COLOR": "1", "NO_COLOR": "1"}.items():
        monkeypatch.setenv(name, value)
    rows = [(NODE_ID, "lab", "supernode"), (NODE_ID[::-1], "attic", "member")]
    print_table(("NODE", "NAME", "ROLE"), rows, "none")
    out = capsys.readouterr().out
    assert all(cell in out for row in rows for cell in row)
    assert "…" not in out
    assert len(out.splitlines()) == (3 if columns > 100 else 7)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", "k\u00e9y".encode(), b"a\x07b"])
def test_a_file_that_holds_no_key_is_said(
    content: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "api-key").write_bytes(content)
    monkeypatch.delenv("HECATE_API_KEY", raising=False)
    monkeypatch.setattr(sys, "argv", ["hecate", "nodes", "--state", str(tmp_path)])
    assert main() == 1
    error = capsys.readouterr().err
    assert error.startswith("cannot ")
    assert "give --state DIR or HECATE_API_KEY" in error


def test_a_url_with_a_password_is_not_repeated() -> None:
    with pytest.raises(CliError) as caught:
        find_target("http://me:s3cret@h", None, {"HECATE_API_KEY": "k"})
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (401, {"detail": "cannot accept token: malformed or not signed by a known key"},
         "does not take this API key or access token; give --state DIR or HECATE_API_KEY"),
        (401, {"detail": "cannot accept token: expired"}, "access token (expired); give"),
        (403, {"detail": "cannot accept token: malformed or not signed by a known key"},
         "does not take this API key or access token; give --state DIR or HECATE_API_KEY"),
        (403, {"detail": "cannot allow this: what follows Bearer is neither the API key of this …"},
         "does not take this API key or access token; give --state DIR or HECATE_API_KEY"),
        (403, {"detail": "cannot allow this: the access token lacks scope edge:mcm"},
         "wants an access token with scope edge:mcm, or its API key"),
        (404, {"detail": "cannot find /devices/v1/devices"}, "is not the API of a gateway"),
        (404, {"detail": "cannot revoke x: no such device"}, ""),
    ],
)  # fmt: skip
def test_why_a_gateway_refuses(status: int, body: dict[str, str], told: str) -> None:
    answer = _why_refused(httpx.Response(status, json=body), "/devices/v1/devices")
    assert told in answer if told else answer == ""


def test_a_full_disk_is_told_with_what_frees_some() -> None:
    refused = httpx.Response(507, json={"detail": "cannot store image: no space left on device"})
    with pytest.raises(
        CliError, match=r"no space left on device; free some .*`hecate images prune"
    ):
        decode_answer("deploy x", refused)
