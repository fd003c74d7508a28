"""Every normative statement of MQTT has its place and its test, and the page says so."""

import sys
from dataclasses import replace

import pytest

from scripts.tag_docs import (
    FIVE,
    FOUR,
    Statement,
    Survey,
    find_problems,
    find_tags,
    load_statements,
    survey_sources,
    write_page,
)
from tests.programs import ROOT, run

SOURCE = '''"""[MQTT-1.1.1-1] in a docstring is only talk."""

LIMIT = 3  # [MQTT-1.1.1-2]


class Part:
    size = 1  # [MQTT-1.1.1-3]; [MQTT-1.1.1-4] of 3.1.1

    def keep(self) -> None:
        def inner() -> None:
            pass  # see [MQTT-1.1.1-5] [MQTT-1.1.1-6] of 3.1.1, section 1


# [MQTT-1.1.1-7]
# [MQTT-1.1.1-8] of 3.1.1
@decorated
def test_it() -> None:
    text = "# [MQTT-1.1.1-9]"
'''
TABLE = """
["5.0"]
"1.1.1-1" = ["server", "One."]
"1.1.1-2" = ["client", "Two."]
["3.1.1"]
"1.1.1-3" = "1.1.1-1"
["by construction"."5.0"]
["by construction"."3.1.1"]
["not kept"."5.0"]
["not kept"."3.1.1"]
[remarks."5.0"]
"1.1.1-2" = "now and then"
[remarks."3.1.1"]
"""
ONE = (FIVE, "1.1.1-1")


def test_the_table_is_whole_and_the_page_is_current() -> None:
    run((sys.executable, "scripts/tag_docs.py", "--check"))


def test_all_statements_of_both_standards_are_there() -> None:
    survey = survey_sources(ROOT)
    assert sum(version == FIVE for version, _ in survey.statements) == 251
    assert sum(version == FOUR for version, _ in survey.statements) == 141


def test_tags_belong_to_what_they_stand_in_or_above() -> None:
    assert list(find_tags(SOURCE)) == [
        ((FIVE, "1.1.1-2"), "LIMIT"),
        ((FIVE, "1.1.1-3"), "size"),
        ((FOUR, "1.1.1-4"), "size"),
        ((FOUR, "1.1.1-5"), "keep"),
        ((FOUR, "1.1.1-6"), "keep"),
        ((FIVE, "1.1.1-7"), "test_it"),
        ((FOUR, "1.1.1-8"), "test_it"),
    ]


def survey(kept: str = "part.py:keep", shown: str = "test_part.py:test_it") -> Survey:
    made = load_statements(TABLE)
    made.kept.update({ONE: [kept]} if kept else {})
    made.shown.update({ONE: [shown]} if shown else {})
    return made


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        (survey(), ""),
        (survey(kept=""), "[MQTT-1.1.1-1] has no place in broker/"),
        (survey(shown=""), "[MQTT-1.1.1-1] has no test"),
        (replace(survey(kept=""), by_construction={ONE: "why"}), ""),
        (replace(survey(kept="", shown=""), not_kept={ONE: "why"}), ""),
        (
            replace(survey(), by_construction={ONE: "why"}),
            "[MQTT-1.1.1-1] has a place: take it out of the exceptions",
        ),
        (
            replace(survey(), not_kept={ONE: "why"}),
            "[MQTT-1.1.1-1] has place and test: take it out of the exceptions",
        ),
        (
            replace(survey(), not_kept={(FOUR, "1.1.1-3"): "why"}),
            "[MQTT-1.1.1-3] of 3.1.1 needs no exception",
        ),
        (
            replace(survey(), kept={ONE: ["part.py:keep"], (FIVE, "9.9.9-9"): ["part.py:other"]}),
            "[MQTT-9.9.9-9] in broker/part.py:other does not exist",
        ),
    ],
)
def test_gaps_are_found(found: Survey, problem: str) -> None:
    assert list(find_problems(found)) == ([problem] if problem else [])


def test_a_row_says_where_and_by_what() -> None:
    page = write_page(survey())
    assert "| 1.1.1-1 | server | One. | `part.py:keep` | `test_part.py:test_it` |\n" in page
    assert "| 1.1.1-2 | client | Two. | by the client (now and then) |  |\n" in page
    assert "| 1.1.1-3 | server | One. | as 1.1.1-1 of 5.0 | as there |\n" in page


def test_a_statement_has_words_of_its_own_or_those_of_5_0() -> None:
    found = survey_sources(ROOT)
    assert all(len(each.says) > 10 for each in found.statements.values())
    assert found.statements[FOUR, "3.1.0-1"] == Statement(
        "client", found.statements[FIVE, "3.1.0-1"].says, ("3.1.0-1",)
    )
