"""Measures microservices, into docs/benchmarks-services.md: `python -m benchmarks.services`."""
