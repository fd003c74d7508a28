"""Loading an index.js: what is wrong with it is told, what it logs is kept."""

from pathlib import Path

import pytest

from microservice.errors import ServiceError
from tests.integration.microservice.javascript.runtime import Script, handler, log_of, run
from tests.programs import PATIENCE

Log = pytest.LogCaptureFixture


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("\n\nvar x = ;", r"SyntaxError: .* \(index\.js, line 3\)"),
        ("\nnull.x", r"TypeError: .* \(index\.js, line 2\)"),
        ("const a = []; for (;;) a.push({x: [1]});", "out of memory: it needs more than 16 MiB"),
        ("", "mimikModule.exports is undefined, not a function"),
        ("mimikModule.exports = {};", "is object, not a function"),
        ("throw 1", "1"),
        ("import x from 'y';", "SyntaxError"),
        ("export default 1;", "SyntaxError.*by a bundler"),
        ("const x = require('y');", "require is not defined.*line 1.*by a bundler"),
        ("module.exports = 1;", "module is not defined.*begin with: mimikModule"),
        ("exports.handler = 1;", "exports is not defined.*begin with: mimikModule"),
    ],
)
def test_what_is_wrong_with_an_index_js_is_told(
    code: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("microservice.javascript.host.LOAD_S", 10.0 * PATIENCE)
    assert_not_loaded(tmp_path, code, expected)


def test_a_loop_while_loading_is_ended_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("microservice.javascript.host.LOAD_S", 0.3)
    # a jump back has no line of its own, but that of its function
    expected = r"time limit of 0.3 s \(index\.js, line [12]\)"
    assert_not_loaded(tmp_path, "\nfor (;;) Math.abs(1);", expected)


def assert_not_loaded(folder: Path, code: str, why: str) -> None:
    async def use(_running: Script) -> None:
        pytest.fail("it was loaded")

    with pytest.raises(ServiceError, match=why) as caught:
        run(folder, code, use, memory_mib=16)
    assert str(caught.value).startswith("cannot load index.js")


def test_a_limit_beyond_the_gateways_is_told(tmp_path: Path, caplog: Log) -> None:
    async def use(running: Script) -> None:
        assert (await running.get()).status == 200

    env = {"MCM.MAX_EXECUTION_TIME_SEC": "300"}
    run(tmp_path, handler("response.end();"), use, env=env)
    assert "MCM.MAX_EXECUTION_TIME_SEC = 300: the limit is 30 s" in log_of(caplog.records)


def test_what_is_logged_while_loading_is_kept(tmp_path: Path, caplog: Log) -> None:
    async def use(running: Script) -> None:
        assert (await running.get()).status == 200

    with caplog.at_level("INFO"):
        run(tmp_path, "console.warn('early');\n" + handler("response.end();"), use)
    assert "early" in log_of(caplog.records)
