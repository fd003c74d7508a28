"""Hecate's device package: a MicroPython program that joins a gateway. See docs/device.md."""

import gc

# Collected often, the heap keeps large free blocks: otherwise 4 KB are not to be had in 40 KB.
if hasattr(gc, "threshold"):  # not on CPython, which tests parts of the package
    gc.threshold(1024)

from device.app import Device  # noqa: E402, F401
