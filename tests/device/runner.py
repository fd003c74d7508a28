"""Runs test files under MicroPython: micropython runner.py FILE…, from the repository's root.

A test is a function whose name starts with test_ and that takes no arguments.
"""

import asyncio
import sys


def run_file(path):
    """Run the tests of one file; return how many failed."""
    module = {"__name__": path, "__file__": path}
    with open(path) as file:
        exec(file.read(), module)
    failed = 0
    for name in sorted(module):
        if not name.startswith("test_"):
            continue
        asyncio.new_event_loop()  # MicroPython keeps the last loop's tasks otherwise
        try:
            module[name]()
            print("passed", name)
        except Exception as exc:
            failed += 1
            print("FAILED", name)
            sys.print_exception(exc)
    return failed


sys.exit(1 if sum(run_file(path) for path in sys.argv[1:]) else 0)
