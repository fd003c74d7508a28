"""Runs before main.py; an update never replaces it. Keeps memory for errors in interrupts."""

import micropython

micropython.alloc_emergency_exception_buf(100)
