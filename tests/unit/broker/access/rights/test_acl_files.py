"""Access lists as people write them, and files that are broken."""

import logging
from pathlib import Path

import pytest

from broker.access.errors import AccessError
from broker.access.rights.acl_file import read_acl
from broker.access.rights.acl_lines import parse_acl_lines
from broker.access.rights.acl_toml import parse_acl_toml
from broker.policy import Identity

ANNA = Identity("anna", "phone")

TOML = """
[groups]
operators = ["anna"]

[[rule]]
groups = ["operators"]
read = ["plant/#"]
write = ["plant/+/set"]

[[rule]]
everyone = true
readwrite = ["own/%u/#"]

[[rule]]
users = ["ben"]
anonymous = true
read = ["news"]
deny = ["plant/#"]
"""


def acl(tmp_path: Path, text: str, name: str = "acl") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def test_toml_with_groups(tmp_path: Path) -> None:
    rules = read_acl(acl(tmp_path, TOML, "acl.toml"))
    assert rules.may_subscribe(ANNA, "plant/#")
    assert rules.may_publish(ANNA, "plant/1/set")
    assert not rules.may_publish(ANNA, "plant/1/get")
    assert rules.may_publish(ANNA, "own/anna/x")
    assert not rules.may_publish(ANNA, "own/ben/x")
    token = Identity("carl", "c", frozenset({"operators"}))
    assert rules.may_subscribe(token, "plant/#")
    ben = Identity("ben", "c", frozenset({"operators"}))
    assert not rules.may_subscribe(ben, "plant/#")
    assert rules.may_subscribe(ben, "news")
    assert rules.may_subscribe(Identity("anonymous", "x"), "news")
    assert not rules.may_subscribe(ANNA, "news")


@pytest.mark.parametrize(
    ("text", "where", "why"),
    [
        ("topic", "line 1", "topic without a filter"),
        ("topic read", "line 1", "topic without a filter"),
        ("\n\nuser", "line 3", "user without a name"),
        ("# x\ntopics read a", "line 2", "'topics' is not known"),
        ("topic a/#/b", "line 1", "misplaced #"),
        ("topic a+/b", "line 1", "misplaced +"),
        ("pattern %u#", "line 1", "misplaced #"),
        ("topic $share/g/a", "line 1", "leave out $share/NAME/"),
        ("user anonymous", "line 1", "before the first user line"),
        ("\x00\x01", "line 1", "is not known"),
    ],
)
def test_a_wrong_line_is_named(text: str, where: str, why: str) -> None:
    _, (problem,) = parse_acl_lines(text)
    assert problem.where == where
    assert why in problem.why


@pytest.mark.parametrize(
    ("text", "where", "why"),
    [
        ("[[rule]\n", "TOML", "line 1"),
        ("[rules]\n", "rules", "is not known"),
        ("rule = 1", "rule", "[[rule]]"),
        ("groups = 1", "groups", "is not a table"),
        ("groups.x = 1", "groups", "x is not a list"),
        ("[[rule]]\nread = ['a']", "rule 1", "names no clients"),
        ("[[rule]]\nusers = ['a']", "rule 1", "grants nothing"),
        ("[[rule]]\nusers = ['a']\nread = 'a'", "rule 1", "read is not a list"),
        ("[[rule]]\nusers = ['a']\nraed = ['a']", "rule 1", "raed is not known"),
        ("[[rule]]\nusers = ['']\nread = ['a']", "rule 1", "'' is no user"),
        ("[[rule]]\nusers = ['anonymous']\nread = ['a']", "rule 1", "is no user"),
        ("[[rule]]\neveryone = 1\nread = ['a']", "rule 1", "true or false"),
        ("rule = [1]", "rule 1", "is not a table"),
        ("[[rule]]\neveryone = true\nread = ['#/a']", "rule 1", "misplaced #"),
    ],
)
def test_a_wrong_rule_is_named(text: str, where: str, why: str) -> None:
    _, problems = parse_acl_toml(text)
    assert [problem.where for problem in problems] == [where]
    assert why in problems[0].why


def test_one_wrong_rule_makes_the_file_useless(tmp_path: Path) -> None:
    path = acl(tmp_path, "user anna\ntopic #\ntopic denny secret/#\ntopic deny a b\ntopic +x\n")
    with pytest.raises(AccessError) as caught:
        read_acl(path)
    assert str(caught.value) == (
        f"cannot use {path}: line 3: 'denny' is not one of read, write, readwrite, deny; "
        "line 5: '+x': misplaced +"
    )


def test_filters_may_have_spaces() -> None:
    rules, problems = parse_acl_lines("  topic read  living room/lamp  \n")
    assert not problems
    assert [rule.topic_filter for rule in rules] == ["living room/lamp"]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(AccessError, match="no such file or directory"):
        read_acl(tmp_path / "none")
    (tmp_path / "binary").write_bytes(b"user a\ntopic \xff\n")
    with pytest.raises(AccessError, match="line 2: not UTF-8"):
        read_acl(tmp_path / "binary")


def test_an_empty_file_is_told_and_denies(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:  # CVE-2018-12550
    with caplog.at_level(logging.WARNING):
        rules = read_acl(acl(tmp_path, ""))
    assert "has no rules" in caplog.text
    assert not rules.may_publish(ANNA, "a")
    assert not rules.may_subscribe(ANNA, "a")


def test_the_example_of_debian_is_read() -> None:
    example = Path("/usr/share/doc/mosquitto/examples/aclfile.example")
    if not example.exists():
        pytest.skip("mosquitto's documentation is not installed")
    rules = read_acl(example)
    assert rules.may_publish(Identity("roger", "c1"), "foo/bar")
    assert rules.may_subscribe(Identity("anonymous", "c1"), "$SYS/#")
    assert rules.may_publish(Identity("any", "c1"), "$SYS/broker/connection/c1/state")
