"""Measures our broker against rivals in one run, into docs/benchmarks.md: `make bench`."""
