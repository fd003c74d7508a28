"""Configuration: what is known is read, what is not is refused with file, key and reason."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from settings.environment import Variables
from settings.errors import SettingsError
from settings.reader import load_settings
from settings.secret import Secret


@dataclass(frozen=True, slots=True)
class Link:
    url: str = ""
    retry_cap_s: float = 60.0
    token: Secret = Secret("")  # noqa: RUF009  immutable

    def check(self) -> None:
        if self.retry_cap_s <= 0:
            raise ValueError(f"retry_cap_s = {self.retry_cap_s:g}: must be above 0")


@dataclass(frozen=True, slots=True)
class Rule:
    filter: str
    qos: int = 1


@dataclass(frozen=True, slots=True)
class Settings:
    link: Link = field(default_factory=Link)
    rules: tuple[Rule, ...] = ()
    names: tuple[str, ...] = ()
    on: bool = False
    state: Path | None = None


def load(text: str, **environ: str) -> Settings:
    variables = Variables(environ, "HECATE_", renamed=False)
    return load_settings(
        Settings, text, "g.toml", variables, read_file={Path("t"): "hush\n"}.__getitem__
    )


def test_an_empty_file_gives_the_defaults() -> None:
    assert load("") == Settings()


def test_values_are_read() -> None:
    text = """
    names = ["a", "b"]
    on = true
    state = "/var/lib/x"
    [link]
    url = "u"
    retry_cap_s = 5
    [[rules]]
    filter = "a/#"
    """
    wanted = Settings(Link("u", 5.0), (Rule("a/#"),), ("a", "b"), on=True, state=Path("/var/lib/x"))
    assert load(text) == wanted


def test_the_environment_wins() -> None:
    settings = load('[link]\nurl = "a"', HECATE_LINK_URL="b", HECATE_ON="1", HECATE_NAMES="x, y")
    assert (settings.link.url, settings.on, settings.names) == ("b", True, ("x", "y"))


def test_a_secret_comes_from_a_file_and_does_not_print() -> None:
    link = load('[link]\ntoken_file = "t"').link
    assert link.token.reveal() == "hush"
    assert "hush" not in repr(link)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[link]\nurk = 1", r"\[link\] urk: is not known; known are retry_cap_s.* \(line 2\)$"),
        ("[link]\nurl = 1", r"g.toml: \[link\] url: 1 is not a text \(line 2\)$"),
        ("on = 1", r"g.toml: on: 1 is not true or false \(line 1\)"),
        ("[link]\nretry_cap_s = -1", r"\[link\] retry_cap_s = -1: must be above 0 \(line 1\)"),
        ("[[rules]]\nqos = 1", r"\[rules 1\] filter: is required"),
        ("rules = 1", r"rules: must be written \[\[rules\]\]"),
        ("link = 1", r"\[link\] is not a table"),
        ("x", "cannot read g.toml: "),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load(text)


def test_an_override_of_the_wrong_kind_names_its_variable() -> None:
    with pytest.raises(SettingsError, match="HECATE_LINK_RETRY_CAP_S: 'soon' is not a number"):
        load("", HECATE_LINK_RETRY_CAP_S="soon")


def test_tables_come_from_the_environment_as_they_are_written_in_toml() -> None:
    settings = load("", HECATE_RULES='[{filter = "a"}, {filter = "b", qos = 0}]')
    assert settings.rules == (Rule("a"), Rule("b", 0))
    assert load("", HECATE_LINK='{url = "a"}').link == Link("a")
    with pytest.raises(SettingsError, match="HECATE_RULES: 'a' is not written as in TOML"):
        load("", HECATE_RULES="a")
    with pytest.raises(SettingsError, match=r"HECATE_RULES: \[rules 1\] filter: is required$"):
        load("", HECATE_RULES="[{qos = 1}]")


def test_all_faults_are_reported_at_once() -> None:
    text = """
    on = 1
    [link]
    url = 2

    [[rules]]
    filter = "a"
    [[rules]]
    filter = 3
    """
    with pytest.raises(SettingsError) as caught:
        load(text, HECATE_NAME="x")
    assert caught.value.faults == (
        "[link] url: 2 is not a text (line 4)",
        "[rules 2] filter: 3 is not a text (line 9)",
        "on: 1 is not true or false (line 2)",
        "HECATE_NAME: is not known",
    )


def test_variables_of_the_platform_are_none_of_ours() -> None:
    assert load("", HECATE_SERVICE_HOST="10.0.0.1", HECATE_PORT="tcp://10.0.0.1:1") == Settings()


def test_a_former_variable_is_refused_with_its_new_name() -> None:
    environ = {"HECATE_LINK_URL": "a", "HECATE_ON": "1", "HECATE_X_ON": "true"}
    variables = Variables(environ, "HECATE_X_", renamed=True)
    with pytest.raises(SettingsError) as caught:
        load_settings(Settings, "", "g.toml", variables)
    assert caught.value.faults == ("HECATE_LINK_URL: is now HECATE_X_LINK_URL",)


def test_a_missing_secret_file_is_named() -> None:
    def read(path: Path) -> str:
        raise FileNotFoundError(2, "No such file", str(path))

    with pytest.raises(SettingsError, match="token_file: 'gone': "):
        load_settings(Settings, '[link]\ntoken_file = "gone"', "g.toml", read_file=read)


@dataclass(frozen=True, slots=True)
class Named:
    rules: dict[str, Rule] = field(default_factory=dict)
    anything: object = None


def load_named(text: str) -> Named:
    return load_settings(Named, text, "g.toml")


def test_tables_with_free_names_are_a_dict() -> None:
    assert load_named("") == Named()
    text = 'anything = [1, "a"]\n[rules.one]\nfilter = "a"\n[rules.two]\nfilter = "b"\nqos = 0'
    assert load_named(text) == Named({"one": Rule("a"), "two": Rule("b", 0)}, [1, "a"])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("rules = 1", r"\[rules\] is not a table"),
        ("[rules]\none = 1", r"\[rules.one\] is not a table"),
        ("[rules.one]\nqos = 1", r"\[rules.one\] filter: is required"),
        ('[rules.one]\nfilter = "a"\nfoo = 1', r"\[rules.one\] foo: is not known.*\(line 3\)"),
    ],
)
def test_faults_in_tables_with_free_names_have_their_place(text: str, why: str) -> None:
    with pytest.raises(SettingsError, match=why):
        load_named(text)
