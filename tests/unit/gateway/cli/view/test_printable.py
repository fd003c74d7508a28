from gateway.cli.view.words import printable


def test_nothing_moves_the_cursor_of_a_terminal() -> None:
    assert printable("a\tb é 漢") == "a\tb é 漢"
    assert printable("\x1b]0;owned\x07\x1b[2J\r\n\x9b") == "?]0;owned??[2J???"
