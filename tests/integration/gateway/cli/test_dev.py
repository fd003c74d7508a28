"""`hecate dev` as a person uses it: a real gateway, a real save, a new answer."""

import asyncio
import contextlib
import json
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.cli.client.sidecar import SidecarClient
from gateway.cli.dev.gateway import find_or_start
from tests.commands import Person
from tests.programs import HECATE, Program, until
from tests.system import Gateway


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Person(tmp_path).done("new", str(tmp_path / "hello"))
    return tmp_path / "hello"


@contextlib.contextmanager
def session(folder: Path, lone: Gateway, *options: str) -> Iterator[Program]:
    """Run `hecate dev hello` in the parent folder."""
    environ = {"HECATE_URL": lone.url, "HECATE_API_KEY": lone.key, "HECATE_CONTEXT": ""}
    environ |= {"XDG_CONFIG_HOME": str(folder.parent), "XDG_CACHE_HOME": str(folder.parent)}
    command = (*HECATE, "dev", folder.name, *options)
    with Program(command, environ, cwd=folder.parent) as program:
        yield program


def names(lone: Gateway, kind: str = "containers") -> set[str]:
    return {row["name"] for row in lone.call("GET", f"/mcm/v1/{kind}")["data"]}


def save(folder: Path, code: str) -> None:
    """Save as editors do: write aside, then rename."""
    head = "from microservice import *\nservice = Service()\n"
    aside = folder / ".service.py.swp"
    aside.write_text(head + code)
    aside.replace(folder / "service.py")


ANSWER = "@service.get('/')\nasync def root(request):\n    {body}\n"


def test_a_save_is_answered_by_the_new_code(folder: Path, lone: Gateway) -> None:
    save(folder, ANSWER.format(body="return 'one'"))
    with session(folder, lone) as program:
        url = program.wait_for(r"hello-dev runs (http://\S+/api/hello-dev/v1) after")[1]
        path = url.removeprefix(lone.url)
        assert lone.ask("GET", path).text == "one"
        program.wait_for("watching hello")
        save(folder, "print('loaded anew')\n" + ANSWER.format(body="return 'two'"))
        program.wait_for(r"changed: service\.py")
        until(lambda: lone.ask("GET", path).text == "two", "the new code answers")
        program.wait_for("loaded anew")
        save(folder, ANSWER.format(body="return 'three"))  # a quote is missing
        program.wait_for(r'^[\d:]+   File "hello/service\.py", line 5; the version before runs on')
        program.wait_for(r"SyntaxError: .*")
        assert lone.ask("GET", path).text == "two"
        save(folder, "raise RuntimeError('no')\n")
        program.wait_for(r"cannot .*RuntimeError: no \(hello/service\.py, line 3\)")
        assert lone.ask("GET", path).text == "two"
        save(folder, ANSWER.format(body="return 1 // 0"))
        program.wait_for("hello-dev runs")
        lone.ask("GET", path)
        program.wait_for(r'File "hello/service\.py", line 5, in root')
        program.wait_for("ZeroDivisionError")
        assert program.stop(signal.SIGINT) == 0
    assert "hello-dev" not in names(lone)
    assert "hello-dev-v1" not in names(lone, "images")


def test_what_never_ran_is_mended_by_a_save_and_the_service_in_use_is_left_alone(
    folder: Path, lone: Gateway
) -> None:
    environ = {"HECATE_URL": lone.url, "HECATE_API_KEY": lone.key}
    Person(folder.parent).done("deploy", str(folder), **environ)
    code = (folder / "service.py").read_text()
    save(folder, "import nowhere\n")
    with session(folder, lone, "--json") as program:
        error = json.loads(program.wait_for(r'"event": "error".*').string)
        assert "No module named 'nowhere' (hello/service.py, line 3)" in error["error"]
        program.wait_for("watching")
        (folder / "service.py").write_text(code)
        running = json.loads(program.wait_for(r'"event": "running".*').string)
        assert running["url"] == f"{lone.url}/api/hello-dev/v1"
        assert names(lone) >= {"hello", "hello-dev"}
        assert program.stop(signal.SIGTERM) == 0
    assert names(lone) & {"hello", "hello-dev"} == {"hello"}
    Person(folder.parent).done("rm", "hello", "hello-v1", **environ)


def test_it_is_kept_when_asked_and_taken_up_again(folder: Path, lone: Gateway) -> None:
    with session(folder, lone, "--keep") as program:
        program.wait_for("hello-dev runs")
        assert program.stop(signal.SIGINT) == 0
        assert any("`hecate rm hello-dev` removes it" in line for line in program.lines)
    assert "hello-dev" in names(lone)
    with session(folder, lone) as program:
        program.wait_for("hello-dev runs")
    assert "hello-dev" not in names(lone)


def test_a_gateway_is_run_meanwhile_when_a_person_wants_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("gateway.cli.client.target.DEFAULT_URL", "http://127.0.0.1:1")
    monkeypatch.setattr("gateway.cli.dev.gateway.DEFAULT_URL", "http://127.0.0.1:1")
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)

    def confirm(text: str, **_: object) -> bool:
        asked.append(text)
        return True

    monkeypatch.setattr("typer.confirm", confirm)
    for section in ("BROKER", "SIDECAR"):
        monkeypatch.setenv(f"HECATE_GATEWAY_{section}_PORT", "0")
    for name in ("HECATE_URL", "HECATE_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HECATE_CONTEXT", "default")

    async def session() -> str:
        async with find_or_start(None, tmp_path / "state", ask=True) as target:
            async with SidecarClient(target) as sidecar:
                assert (await sidecar.call("look", "GET", "/status/v1"))["node"]["id"]
            return target.url

    url = asyncio.run(session())
    assert asked == ["Run one here, until you press Ctrl-C?"]
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), 2)


def test_without_a_gateway_it_says_how_to_start_one(folder: Path, tmp_path: Path) -> None:
    why = Person(tmp_path).refused("dev", str(folder), "--url", "http://127.0.0.1:1")
    assert "hecate up         with a cloud" in why
    why = Person(tmp_path).refused(
        "dev", str(folder), "--url", "http://127.0.0.1:1", HECATE_API_KEY="x"
    )
    assert "no gateway answers at http://127.0.0.1:1\n\nStart one in another terminal:" in why
