"""Fails when two public classes share a name, or a docstring or comment has no subject.

One public class name has one meaning in the whole repository; the exceptions are listed here with
their reason. A docstring is a sentence that a reader understands without opening the file.
"""

import ast
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

SHARED_NAMES = {
    "Board": "one port of the device package per board; a board has exactly one of them",
    "ConfigError": "each program refuses its own configuration; a device is a program of its own",
    "Connection": "the device package's MQTT connection",
    "Message": "an MQTT message, for the broker's embedders and for the handlers of microservices",
    "StoreError": "the cloud's store, and the state of a microservice, which knows no cloud",
    "WireError": "bytes mean nothing; the device package cannot import the protocol package",
}  # fmt: skip
NO_SENTENCE = re.compile(r"(What|Who|Whom|Whose|Where|Whether|Which|How|When|Why)\b")
NO_COMMENT = re.compile(
    r"(.*\s)?# (What|[Ww]ho|what|[Ww]hose|whom|[Ww]hether|[Hh]ow|[Ww]hy|which|that)\b"
)
LEFT_OUT = ("tests/",)  # of the rules for classes and folders
MAX_MODULES = 15  # in one folder


def main() -> int:
    """Print each fault; return 1 if there is one."""
    root = Path(__file__).resolve().parent.parent
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"],
        cwd=root,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    texts = {name: (root / name).read_text() for name in listed if (root / name).exists()}
    trees = {name: ast.parse(text) for name, text in texts.items()}
    names = [name for name in trees if not name.startswith(LEFT_OUT)]
    faults = [
        *find_shared_names({name: trees[name] for name in names}),
        *find_docstrings(trees),
        *find_comments(texts),
        *find_full_folders(names),
    ]
    for fault in faults:
        print(fault)
    return 1 if faults else 0


def find_shared_names(trees: dict[str, ast.Module]) -> Iterator[str]:
    """Yield each public class name that several modules define."""
    places: dict[str, list[str]] = defaultdict(list)
    for name, tree in trees.items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(name)
    for class_name, files in sorted(places.items()):
        if len(files) > 1 and class_name not in SHARED_NAMES:
            yield f"class {class_name} means several things: {', '.join(files)}"


def find_docstrings(trees: dict[str, ast.Module]) -> Iterator[str]:
    """Yield each docstring that opens with a bare question word."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for name, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, kinds) and NO_SENTENCE.match(ast.get_docstring(node) or ""):
                first = (ast.get_docstring(node) or "").splitlines()[0]
                yield f"{name}:{getattr(node, 'lineno', 1)}: no sentence: {first}"


def find_comments(texts: dict[str, str]) -> Iterator[str]:
    """Yield each comment that opens with a bare question word or a relative pronoun."""
    for name, text in texts.items():
        continues = False
        for number, line in enumerate(text.splitlines(), 1):
            if not continues and NO_COMMENT.match(line):
                yield f"{name}:{number}: no sentence: {line.strip()}"
            continues = line.lstrip().startswith("# ")


def find_full_folders(names: list[str]) -> Iterator[str]:
    """Yield each folder with more modules than a reader can keep in mind."""
    counts: dict[str, int] = defaultdict(int)
    for name in names:
        if not name.endswith("__init__.py"):
            counts[str(Path(name).parent)] += 1
    for folder, count in sorted(counts.items()):
        if count > MAX_MODULES and folder not in {"benchmarks", "device"}:
            yield f"{folder}/ has {count} modules, at most {MAX_MODULES}: split it"


if __name__ == "__main__":
    sys.exit(main())
