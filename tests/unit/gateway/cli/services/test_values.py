import io
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from gateway.cli.errors import OptionError
from gateway.cli.services.values import parse_env, parse_secrets, parse_settings


def test_variables_and_settings() -> None:
    assert parse_env(["A=1", "B=x=y", "C="]) == {"A": "1", "B": "x=y", "C": ""}
    assert parse_settings(["limit=30"]) == {"limit": "30"}
    for wrong in ("A", "=1"):
        with pytest.raises(OptionError, match=r"cannot use --env .*: must be KEY=VALUE"):
            parse_env([wrong])


def test_a_secret_comes_from_a_file_or_from_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("s3cret\n")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"from input")))
    given = [f"token=@{tmp_path}/token", "other=-"]
    assert parse_secrets(given) == {"token": "s3cret", "other": "from input"}


# case S22
@pytest.mark.parametrize("given", ["token=s3cret", "s3cret"])
def test_a_secret_on_the_command_line_is_refused_and_not_repeated(given: str) -> None:
    with pytest.raises(OptionError) as caught:
        parse_secrets([given])
    assert "NAME=@FILE" in str(caught.value) or "token=@FILE" in str(caught.value)
    assert "=s3cret" not in str(caught.value)


def test_what_is_no_secret_is_said(tmp_path: Path) -> None:
    for name, content, why in (
        ("empty", b"\n", "it is empty"),
        ("long", b"x" * 20_000, "more than 16384 bytes"),
        ("binary", b"\xff\xfe", "not UTF-8"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(OptionError, match=why):
            parse_secrets([f"a=@{tmp_path / name}"])
    with pytest.raises(OptionError, match="cannot read secret a from /none: no such file"):
        parse_secrets(["a=@/none"])


def test_standard_input_holds_one_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"x")))
    with pytest.raises(OptionError, match="two secrets from standard input"):
        parse_secrets(["a=-", "b=@-"])
