"""Keeps the garbage collector from holding up a broker.

A full collection looks at every object that there is: 30 ms with 20,000 retained messages. What a
broker drops is freed without it, but for a few cycles that a closed connection leaves.
"""

import gc

YOUNG = 10_000  # more objects made than freed until the youngest are looked at; Python's: 700
ROUNDS = 100  # of ten such looks until all are looked at, a few MiB of cycles later; Python's: 10


def spare_what_stays() -> None:
    """Never look again at what there is now: call it once everything is set up."""
    gc.collect()
    gc.freeze()


def look_seldom() -> None:
    """Look at what there is less often; for a process that runs a broker and nothing else."""
    gc.set_threshold(YOUNG, 10, ROUNDS)
