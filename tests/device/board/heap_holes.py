"""Filled holes of the heap keep TLS handshakes short on boards. Runs on MicroPython only."""

import gc

from device import tls


def test_small_holes_of_the_heap_are_filled():
    gc.threshold(-1)
    gc.collect()  # the pieces take the lowest holes
    pieces = [bytearray(10) for _ in range(300)]
    for place in range(0, 300, 2):
        pieces[place] = None
    gc.collect()
    top = max(id(piece) for piece in pieces if piece)
    assert id([]) < top
    filling = tls.fill_holes()
    assert id([]) > top
    filling = None  # noqa: F841
    gc.collect()
    assert id([]) < top
