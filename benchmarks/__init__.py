"""`make bench`: our broker against rivals, in one run, into docs/benchmarks.md."""
