"""Options, environment, contexts and the default: the order in which they count."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from gateway.cli.client.contexts import (
    Context,
    check_url,
    file_of,
    find_context,
    load_contexts,
    save_contexts,
)
from gateway.cli.client.sidecar import trust_of
from gateway.cli.client.target import find_target
from gateway.cli.errors import CliError
from settings.secret import Secret

FAR = Context("far", "http://far:1", key=Secret("far-key"))


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """Give an environment in which the context `far` is in use."""
    environ = {"XDG_CONFIG_HOME": str(tmp_path)}
    near = Context("near", "http://near:2", state=tmp_path / "near")
    (tmp_path / "near").mkdir()
    (tmp_path / "near" / "api-key").write_text("near-key\n")
    contexts = load_contexts(environ).with_added(FAR).with_added(near).with_current("far")
    save_contexts(contexts, environ)
    return environ


def target(environ: Mapping[str, str], url: str | None = None, state: Path | None = None) -> str:
    found = find_target(url, state, environ)
    return f"{found.url} {found.key.reveal()} {found.context}".strip()


def test_the_order_of_what_counts(home: dict[str, str], tmp_path: Path) -> None:  # case G19
    near = tmp_path / "near"
    assert target(home) == "http://far:1 far-key far"
    assert target({**home, "HECATE_CONTEXT": "near"}) == "http://near:2 near-key near"
    assert target({**home, "HECATE_API_KEY": "k"}) == "http://far:1 k far"
    assert target({**home, "HECATE_URL": "http://h", "HECATE_API_KEY": "k"}) == "http://h k"
    assert target({**home, "HECATE_CONTEXT": "far"}, state=near) == "http://127.0.0.1:8083 near-key"
    assert target({**home, "HECATE_API_KEY": "k"}, "http://h:9/") == "http://h:9 k"
    assert find_context({**home, "HECATE_CONTEXT": "default"}) is None


def test_what_is_kept_is_what_was_given(home: dict[str, str]) -> None:
    contexts = load_contexts(home)
    assert contexts.find("far") == FAR
    assert "far-key" not in repr(contexts)
    assert file_of(home).stat().st_mode & 0o777 == 0o600
    assert contexts.without("far").current == "default"
    assert contexts.without("near").current == "far"


def test_nothing_is_in_use_at_first(tmp_path: Path) -> None:
    assert find_context({"XDG_CONFIG_HOME": str(tmp_path)}) is None
    assert file_of({"HOME": "/x", "XDG_CONFIG_HOME": "relative"}).is_absolute()


@pytest.mark.parametrize("name", ["", "default", "a b", "../x", "-x", "x" * 65])
def test_names_that_are_refused(name: str, home: dict[str, str]) -> None:
    with pytest.raises(CliError, match="cannot add context"):
        load_contexts(home).with_added(Context(name, "http://h"))


@pytest.mark.parametrize("text", ["", "[]", "{}", "{", '{"version": 2}', '{"version": 1}', "\0"])
def test_a_file_that_cannot_be_used_is_named(text: str, home: dict[str, str]) -> None:
    file_of(home).write_text(text)
    with pytest.raises(CliError, match=r"cannot read contexts .*repair or remove it"):
        find_context(home)
    assert target({**home, "HECATE_API_KEY": "k"}, "http://h") == "http://h k"  # not asked


@pytest.mark.parametrize("url", ["h:1", "ftp://h", "http://", "http://[::1", "http://h:99999"])
def test_urls_that_are_refused(url: str) -> None:
    with pytest.raises(CliError, match="must be like http:"):
        check_url(url)


def test_given_authorities_verify_https(tmp_path: Path) -> None:
    none, no_certificate = tmp_path / "none", tmp_path / "no-certificate"
    no_certificate.write_text("x")
    assert trust_of("http://h", {"HECATE_CA_FILE": str(none)}, none) is False
    assert trust_of("https://h", {}) is True
    for file in (none, no_certificate):
        with pytest.raises(CliError, match=r"^cannot use HECATE_CA_FILE = "):
            trust_of("https://h", {"HECATE_CA_FILE": str(file)})
        with pytest.raises(CliError, match=r"^cannot use --ca-file of the context"):
            trust_of("https://h", {}, file)
