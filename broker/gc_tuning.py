"""Keeps the garbage collector from delaying a broker.

A full collection visits every object: 30 ms with 20,000 retained messages. Reference counts free
almost everything that a broker drops, except a few cycles of a closed connection.
"""

import gc

YOUNG = 10_000  # objects created more than freed before the youngest are collected; Python's: 700
ROUNDS = 100  # of ten such collections before a full one, a few MiB of cycles later; Python's: 10


def spare_what_stays() -> None:
    """Exclude all present objects from collection; call it once everything is set up."""
    gc.collect()
    gc.freeze()


def look_seldom() -> None:
    """Collect less often; for a process that runs a broker and nothing else."""
    gc.set_threshold(YOUNG, 10, ROUNDS)
