"""Configuration: what is known is read, what is not is refused with file, key and reason."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from protocol.errors import SettingsError
from protocol.secret import Secret
from protocol.settings import load_settings


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
    return load_settings(Settings, text, "g.toml", environ, {Path("t"): "hush\n"}.__getitem__)


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
        ("[link]\nurk = 1", r"g.toml: \[link\] urk is not known; known are retry_cap_s"),
        ("[link]\nurl = 1", r"g.toml: \[link\] url = 1: is not a text"),
        ("on = 1", r"g.toml: on = 1: is not true or false"),
        ("[link]\nretry_cap_s = -1", r"\[link\] retry_cap_s = -1: must be above 0"),
        ("[[rules]]\nqos = 1", r"\[rules.0\] filter is required"),
        ("rules = 1", "rules is not a list"),
        ("link = 1", "link is not a table"),
        ("x", "cannot read g.toml: "),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load(text)


def test_an_override_of_the_wrong_kind_names_its_variable() -> None:
    with pytest.raises(SettingsError, match="HECATE_LINK_RETRY_CAP_S: is not a number"):
        load("", HECATE_LINK_RETRY_CAP_S="soon")


def test_tables_cannot_come_from_the_environment() -> None:
    with pytest.raises(SettingsError, match="HECATE_RULES: is not a value for a variable"):
        load("", HECATE_RULES="a")


def test_a_missing_secret_file_is_named() -> None:
    def read(path: Path) -> str:
        raise FileNotFoundError(2, "No such file", str(path))

    with pytest.raises(SettingsError, match="token_file = 'gone'"):
        load_settings(Settings, '[link]\ntoken_file = "gone"', "g.toml", {}, read)
