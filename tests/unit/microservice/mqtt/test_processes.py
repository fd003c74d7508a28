"""Real processes, as a handler may start and leave them."""

import subprocess
import time
from pathlib import Path

import psutil

from microservice.mqtt.processes import end_children
from tests.programs import until


def test_younger_children_and_all_below_them_end_and_older_ones_stay() -> None:
    older = subprocess.Popen(["sleep", "300"])
    time.sleep(0.05)  # the kernel counts starts in hundredths of a second
    since = time.monotonic()
    time.sleep(0.05)
    code = (
        "import os, time; os.setsid(); os.fork(); os.fork(); print(1, flush=True); time.sleep(300)"
    )
    younger = subprocess.Popen(["python3", "-c", code], stdout=subprocess.PIPE)
    assert younger.stdout is not None
    for _ in range(4):  # all have been forked
        younger.stdout.readline()
    tree = [psutil.Process(younger.pid), *psutil.Process(younger.pid).children(recursive=True)]
    try:
        assert end_children(since) >= len(tree)
        until(lambda: not any(each.is_running() for each in tree), "the tree has ended")
        assert older.poll() is None
        assert not Path(f"/proc/{younger.pid}").exists(), "a zombie"
        assert end_children(since) == 0
    finally:
        older.kill()
        older.wait()
        younger.stdout.close()
        younger.returncode = -9  # it was waited for already


def test_nothing_to_end() -> None:
    assert end_children(time.monotonic()) == 0
