import pytest

from gateway.cli.dev.places import name_places

FILES = frozenset({"service.py", "lib/part.py", "index.js"})
DIGEST = "f" * 64


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (
            f'  File "/var/lib/hecate/services/contents/{DIGEST}/service.py", line 7, in greet',
            '  File "hello/service.py", line 7, in greet',
        ),
        (f'  File "/x/{DIGEST}/lib/part.py", line 1', '  File "hello/lib/part.py", line 1'),
        (
            "cannot load service.py: NameError: x (service.py, line 3)",
            "cannot load service.py: NameError: x (hello/service.py, line 3)",
        ),
        ("    at greet (index.js:12:5)", "    at greet (hello/index.js:12:5)"),
        ("    at /code/index.js:12:5", "    at hello/index.js:12:5"),
        ('  File "/usr/lib/python3.11/json/decoder.py", line 355',) * 2,
        ("service.py is a nice name",) * 2,
        ("a line of its own",) * 2,
    ],
)
def test_files_of_the_container_become_the_developers(line: str, shown: str) -> None:
    assert name_places(line, "hello", FILES) == shown


def test_in_the_folder_itself_files_have_their_bare_names() -> None:
    assert name_places('File "/x/service.py", line 7', ".", FILES) == 'File "service.py", line 7'
