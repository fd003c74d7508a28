from benchmarks.gateway_report import HEADING, Cell, insert_section, make_lines, render_section

CELLS = [
    Cell("one loop", "MQTT", "none", [0.001] * 99 + [0.5]),
    Cell("one loop", "MQTT", "uploads", [0.003], "10 MB/s"),
    Cell("one loop", "MQTT", "none", [0.002] * 100),
    Cell("one loop", "MQTT", "none", [0.004] * 100),
]


def test_rounds_of_one_combination_make_one_line() -> None:
    lines = make_lines(CELLS)
    assert [(line.load, line.p50.median, line.p99.high) for line in lines] == [
        ("none", 2.0, 4.0),
        ("uploads", 3.0, 3.0),
    ]
    assert lines[1].done == "10 MB/s"


def test_the_section_is_a_table() -> None:
    text = render_section(CELLS)
    assert text.startswith(HEADING)
    assert "| one loop | MQTT | none | 2.00 (1.00 to 4.00) | 2.00 (1.00 to 4.00) |  |" in text


def test_a_section_is_put_at_the_end_or_in_place_of_the_old_one() -> None:
    once = insert_section("# Title\n\ntext\n", HEADING + "\n\nold\n")
    assert once == f"# Title\n\ntext\n\n{HEADING}\n\nold\n"
    assert insert_section(once, HEADING + "\n\nnew\n") == once.replace("old", "new")
    followed = once + "\n## Next\n\nmore\n"
    assert insert_section(followed, HEADING + "\n\nnew\n") == followed.replace("old\n\n", "new\n\n")
