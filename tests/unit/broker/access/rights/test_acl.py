"""Rights: default deny, names that cannot trick patterns, and what a decision costs."""

import gc
import sys
from itertools import product
from types import FrameType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.access.rights.acl import EVERYTHING, AccessList
from broker.access.rights.acl_lines import parse_acl_lines
from broker.access.rights.rules import (
    ANONYMOUS,
    EVERYONE,
    NAMELESS,
    READ_WRITE,
    Right,
    Rule,
    Subject,
    SubjectKind,
    expand,
)
from broker.access.rights.tree import RightsTree
from broker.messages.topics import covers, is_match, validate_filter
from broker.policy import Identity
from broker.wire.errors import RemoteProtocolError

ANNA = Identity("anna", "phone")
NOBODY = Identity(ANONYMOUS, "any")


def access(text: str) -> AccessList:
    rules, problems = parse_acl_lines(text)
    assert not problems
    return AccessList(rules)


def writes(rules: AccessList, topic: str, who: Identity = ANNA) -> bool:
    return rules.may_publish(who, topic)


def reads(rules: AccessList, topic_filter: str, who: Identity = ANNA) -> bool:
    return rules.may_subscribe(who, topic_filter)


def test_an_empty_list_denies_all() -> None:  # CVE-2018-12550
    for text in ("", "\n\n", "# user anna\n# topic readwrite #\n", "user anna\n"):
        rules = access(text)
        assert not writes(rules, "a")
        assert not reads(rules, "a")
        assert not reads(rules, "#")
        assert not reads(rules, "#", NOBODY)


def test_rights_are_of_one_user_and_one_direction() -> None:
    rules = access("user anna\ntopic read r/#\ntopic write w\ntopic both\nuser ben\ntopic b")
    assert reads(rules, "r/1/2")
    assert not writes(rules, "r/1/2")
    assert writes(rules, "w")
    assert not reads(rules, "w")
    assert reads(rules, "both")
    assert writes(rules, "both")
    assert not writes(rules, "b")
    assert writes(rules, "b", Identity("ben", "c"))
    assert not writes(rules, "both", Identity("ANNA", "c"))
    assert not writes(rules, "both", Identity("", "c"))


def test_lines_above_the_first_user_are_for_clients_without_one() -> None:
    rules = access("topic read news\nuser anna\ntopic read own")
    assert reads(rules, "news", NOBODY)
    assert not reads(rules, "news")
    assert not reads(rules, "own", NOBODY)


def test_the_user_counts_not_the_client_id() -> None:
    rules = access("user anna\ntopic a")
    assert not writes(rules, "a", Identity("ben", "anna"))
    assert not writes(rules, "a", Identity(ANONYMOUS, "anna"))


@pytest.mark.parametrize("name", ["+", "#", "a/b", "anna/#", "", "a+", "#a", "/"])  # CVE-2017-7650
def test_a_name_with_wildcards_gets_nothing_from_a_pattern(name: str) -> None:
    rules = access("pattern readwrite user/%u/x\npattern readwrite id/%c/x\npattern read %u/%c/#")
    for who in (Identity(name, "phone"), Identity("anna", name)):
        broken = "user" if who.name == name else "id"
        whole = "id" if broken == "user" else "user"
        fine = "phone" if whole == "id" else "anna"
        for topic in ("anna", "phone", "ben", "+", "#", "a/b", name):
            assert not writes(rules, f"{broken}/{topic}/x", who)
            assert not reads(rules, f"{broken}/{topic}/x", who)
        assert not reads(rules, f"{broken}/+/x", who)
        assert not reads(rules, f"{broken}/#", who)
        assert not reads(rules, "#", who)
        assert not reads(rules, f"{name}/phone/#", who)
        assert writes(rules, f"{whole}/{fine}/x", who)


def test_a_name_with_wildcards_does_not_escape_a_denial() -> None:
    rules = access("pattern deny secret/%c/#\npattern readwrite #")
    assert not writes(rules, "secret/phone/1")
    assert writes(rules, "secret/other/1")
    for trick in ("+", "#", "", "a/b"):
        who = Identity("anna", trick)
        assert not writes(rules, "secret/other/1", who)
        assert not reads(rules, "secret/other/1", who)
        assert writes(rules, "open", who)


def test_a_client_called_like_a_variable_is_not_expanded_again() -> None:
    assert expand("%c", Identity("anna", "%u")) == "%u"
    assert expand("%u-%c", Identity("%c", "%u")) == "%c-%u"


def test_nobody_gets_control_topics_by_his_name() -> None:
    rules = access("pattern readwrite %u/#\npattern readwrite %c")
    for who in (Identity("$SYS", "$SYS"), Identity("$share", "$control")):
        assert not reads(rules, "$SYS/#", who)
        assert not reads(rules, "$SYS/broker/uptime", who)
        assert not writes(rules, "$SYS", who)
        assert not writes(rules, "$control", who)


def test_clients_without_a_user_have_no_name_for_patterns() -> None:
    rules = access("pattern readwrite of/%u\npattern readwrite id/%c")
    assert not writes(rules, f"of/{ANONYMOUS}", NOBODY)
    assert not writes(rules, "of/", NOBODY)
    assert writes(rules, "id/any", NOBODY)


def test_control_topics_need_a_rule_that_names_them() -> None:
    rules = access("user anna\ntopic #\ntopic +/x")
    for wanted in ("$SYS/#", "$SYS/broker", "$SYS/+", "$SYS/x", "$SYS"):
        assert not reads(rules, wanted)
        assert not writes(rules, wanted)
    assert reads(access("user anna\ntopic read $SYS/#"), "$SYS/broker/+")
    assert not reads(access("user anna\ntopic read $SYS/#"), "#")
    assert not writes(access("user anna\ntopic read $SYS/#"), "$SYS/broker")


def test_everything_is_not_writing_control_topics() -> None:
    rules = AccessList(EVERYTHING)
    assert writes(rules, "a/b", NOBODY)
    assert reads(rules, "#", NOBODY)
    assert reads(rules, "$SYS/#", NOBODY)
    assert not writes(rules, "$SYS/broker/uptime", NOBODY)
    assert not reads(rules, "$other", NOBODY)


@pytest.mark.parametrize(
    ("allowed", "wanted", "expected"),
    [
        ("a/#", "a", True), ("a/#", "a/b/+", True), ("a/#", "a/#", True), ("a/#", "#", False),
        ("a/#", "+/b", False), ("a/+", "a/+", True), ("a/+", "a/#", False), ("a/+", "a", False),
        ("a/b", "a/+", False), ("+/b", "a/b", True), ("+/b", "+/b", True), ("+", "a", True),
        ("a", "a/#", False), ("#", "+/+", True), ("+/#", "#", False), ("a//b", "a//b", True),
    ],
)  # fmt: skip
def test_a_subscription_must_be_covered(allowed: str, wanted: str, expected: bool) -> None:
    rules = access(f"user anna\ntopic read {allowed}")
    assert reads(rules, wanted) is expected
    assert reads(rules, f"$share/group/{wanted}") is expected


def test_a_share_without_a_filter_is_nothing() -> None:
    rules = AccessList(EVERYTHING)
    for wanted in ("$share/", "$share/g", "$share/g/"):
        assert not reads(rules, wanted)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("#", False), ("+/+", False), ("plant/#", False), ("plant/+", False), ("+/safe/1", False),
        ("plant/safe", None), ("plant/safe/1", None), ("plant/safe/#", None),
        ("plant/safe/+", None),
        ("plant/open", True), ("plant/open/#", True), ("office/#", True), ("+", True),
    ],
)  # fmt: skip
def test_a_denial_leaves_out_what_it_matches(wanted: str, expected: bool | None) -> None:
    rules = access("user anna\ntopic readwrite #\ntopic deny plant/safe/#")
    assert reads(rules, wanted) is (expected is not None)
    assert rules.may_read_all(ANNA, wanted) is bool(expected)
    if "+" not in wanted and "#" not in wanted:
        assert writes(rules, wanted) is rules.may_read(ANNA, wanted) is bool(expected)


def test_denials_win_wherever_they_stand() -> None:
    for text in ("topic deny a\ntopic a", "topic a\ntopic deny a"):
        assert not writes(access(f"user anna\n{text}"), "a")
    everyone = AccessList([
        Rule(EVERYONE, Right.DENY, "a"), Rule(Subject(SubjectKind.USER, "anna"), READ_WRITE, "#"),
    ])  # fmt: skip
    assert not writes(everyone, "a")
    assert writes(everyone, "b")


def test_groups_add_up() -> None:
    rules = AccessList([
        Rule(Subject(SubjectKind.GROUP, "x"), Right.READ, "t"),
        Rule(Subject(SubjectKind.GROUP, "y"), Right.WRITE, "t"),
        Rule(NAMELESS, READ_WRITE, "n"),
    ])  # fmt: skip
    both = Identity("anna", "c", frozenset({"x", "y"}))
    assert reads(rules, "t", both)
    assert writes(rules, "t", both)
    assert not writes(rules, "t", Identity("x", "c", frozenset({"x"})))
    assert not reads(rules, "t", Identity("x", "y"))
    assert not writes(rules, "n", both)


LEVELS = st.sampled_from(["a", "b", "", "+", "#", "$x"])
TOPICS = [
    "/".join(levels)
    for depth in range(1, 5)
    for levels in product(["a", "b", "", "$x", "z"], repeat=depth)
]


def is_filter(text: str) -> bool:
    try:
        validate_filter(text)
    except RemoteProtocolError:
        return False
    return True


FILTERS = st.lists(LEVELS, min_size=1, max_size=3).map("/".join).filter(is_filter)


def tree_of(*filters: str, denies: bool = False) -> RightsTree:
    tree = RightsTree(denies=denies)
    for each in filters:
        tree.add(Rule(EVERYONE, Right.READ, each))
    return tree


@given(st.lists(FILTERS, max_size=4), FILTERS)
def test_the_tree_says_what_filter_by_filter_says(filters: list[str], wanted: str) -> None:
    tree, nobody = tree_of(*filters), Right(0)
    covered = any(covers(each, wanted) for each in filters)
    assert (tree.cover(wanted, ANNA) != nobody) is covered
    overlapping = False
    for topic in TOPICS:
        matched = any(is_match(each, topic) for each in filters)
        assert (tree.cover(topic, ANNA) != nobody) is matched
        if is_match(wanted, topic):
            assert matched or not covered
            overlapping = overlapping or matched
    assert tree_of(*filters, denies=True).overlaps(wanted, ANNA) is overlapping


@given(st.lists(FILTERS, max_size=3), st.lists(FILTERS, max_size=3), FILTERS)
def test_what_may_be_read_of_a_subscription(
    granted: list[str], denied: list[str], wanted: str
) -> None:
    rules = AccessList([
        *(Rule(EVERYONE, Right.READ, each) for each in granted),
        *(Rule(EVERYONE, Right.DENY, each) for each in denied),
    ])  # fmt: skip
    allowed = rules.may_subscribe(ANNA, wanted)
    assert allowed <= any(covers(each, wanted) for each in granted)
    for topic in TOPICS:
        is_denied = any(is_match(each, topic) for each in denied)
        is_granted = any(is_match(each, topic) for each in granted)
        assert rules.may_read(ANNA, topic) is (is_granted and not is_denied)
        if allowed and is_match(wanted, topic):
            assert is_granted
            assert not is_denied or not rules.may_read_all(ANNA, wanted)


@pytest.mark.parametrize("wanted", ["a/b/c/d", "user/7/x", "a/+/#", "user/+/x", "$SYS/a"])
def test_a_decision_costs_the_depth_of_the_topic(wanted: str) -> None:
    def cost(count: int) -> int:
        rules = [
            Rule(Subject(SubjectKind.USER, f"u{n}"), READ_WRITE, f"a/{n}/#") for n in range(count)
        ]
        rules += [Rule(EVERYONE, READ_WRITE, f"user/{n}/x") for n in range(count)]
        rules += [Rule(EVERYONE, READ_WRITE, "dev/%c/#", is_pattern=True)]
        return calls(AccessList(rules), wanted)

    assert cost(10) == cost(5_000) < 80


def test_a_wildcard_is_followed_once() -> None:
    deep = "/".join(["+"] * 16)
    rules = AccessList([Rule(EVERYONE, READ_WRITE, deep)])
    assert rules.may_subscribe(ANNA, deep)
    assert calls(rules, deep) < 200


def calls(rules: AccessList, wanted: str) -> int:
    count = 0

    def on_event(frame: FrameType, event: str, arg: object) -> None:  # noqa: ARG001
        nonlocal count
        count += event in ("call", "c_call")

    gc.disable()  # its finalisers may call something
    sys.setprofile(on_event)
    try:
        rules.may_subscribe(ANNA, wanted)
        rules.may_publish(ANNA, wanted)
    finally:
        sys.setprofile(None)
        gc.enable()
    return count // 2
