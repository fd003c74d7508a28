from pathlib import Path

from gateway.cli.dev.syntax import find_syntax_error


def test_a_syntax_error_names_file_line_and_place(tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text("x = 1\n")
    assert find_syntax_error(tmp_path) == ""
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/part.py").write_text("def f(:\n    pass\n")
    error = find_syntax_error(tmp_path)
    assert f'File "{tmp_path}/lib/part.py", line 1' in error
    assert error.splitlines()[-1].startswith("SyntaxError: ")


def test_other_languages_and_warnings_are_no_errors(tmp_path: Path) -> None:
    (tmp_path / "index.js").write_text("if (")
    (tmp_path / "service.py").write_text("'\\d'\nassert (1, 'x')\n")
    assert find_syntax_error(tmp_path) == ""
    (tmp_path / "service.py").write_bytes(b"x = 1\0")
    assert "service.py" in find_syntax_error(tmp_path)
