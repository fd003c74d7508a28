from settings.places import find_line, find_lines, format_place

TEXT = '''a = 1
[t] # a table
b . "c" = [
  "[x]",
  "d = 1",
]
e = """
[f]
g = 1"""
[[l]]
h = 1
[l.m]
i = 1
[[l]]
h = 2
[[l.n]]
[[l.n]]
j = 1'''


def test_every_key_has_its_line() -> None:
    assert find_lines(TEXT) == {
        ("a",): 1, ("t",): 2, ("t", "b", "c"): 3, ("t", "e"): 7, ("l", 1): 10, ("l", 1, "h"): 11,
        ("l", 1, "m"): 12, ("l", 1, "m", "i"): 13, ("l", 2): 14, ("l", 2, "h"): 15,
        ("l", 2, "n", 1): 16, ("l", 2, "n", 2): 17, ("l", 2, "n", 2, "j"): 18,
    }  # fmt: skip


def test_a_key_that_is_missing_has_the_line_of_its_table() -> None:
    lines = find_lines(TEXT)
    assert find_line(lines, ("l", 2, "x")) == 14
    assert find_line(lines, ("x",)) is None


def test_a_place_names_section_and_key() -> None:
    assert format_place(("l", 2, "n", 1, "j")) == "[l 2.n 1] j"
    assert format_place(("t", "")) == "[t]"
    assert format_place(("a",)) == "a"
