"""Lists the scenarios of microservices, with their subjects and targets."""

from benchmarks.services.cold_start import measure_cold_start
from benchmarks.services.deploying import measure_deployments
from benchmarks.services.figures import (
    BARE,
    BARE_ASYNCIO,
    JAVASCRIPT,
    NODE_RED,
    PAHO,
    PYTHON,
    ServiceScenario,
    ServiceSize,
    ServiceTarget,
)
from benchmarks.services.http_calls import measure_requests
from benchmarks.services.memory import measure_memory
from benchmarks.services.messages import measure_latency, measure_throughput

SERVICE_SCENARIOS = (
    ServiceScenario(
        "cold_start",
        "From the request for a process to the first line of service.py, and to serving HTTP",
        (PYTHON,),
        measure_cold_start,
        (
            ServiceTarget(PYTHON, "standby: code p50 ms", 5),
            ServiceTarget(PYTHON, "standby: code p99 ms", 5),
            ServiceTarget(PYTHON, "no standby: code p50 ms", 5),
            ServiceTarget(PYTHON, "no standby: code p99 ms", 5),
        ),
    ),
    ServiceScenario(
        "message_latency",
        "MQTT message to handler to publish to subscriber, one after the other",
        (PYTHON, JAVASCRIPT, PAHO, NODE_RED, BARE, BARE_ASYNCIO),
        measure_latency,
        (
            ServiceTarget(PYTHON, "p50 µs, QoS 0", 200),
            ServiceTarget(PYTHON, "p50 µs, QoS 1", 200),
        ),
        once=(NODE_RED,),
    ),
    ServiceScenario(
        "message_throughput",
        "Messages of QoS 1, from 4 devices, at and beyond the capacity of the handler",
        (PYTHON, JAVASCRIPT, PAHO, NODE_RED),
        measure_throughput,
        (
            ServiceTarget(PYTHON, "lowest beyond the peak, of the peak", 0.9, at_least=True),
            ServiceTarget(JAVASCRIPT, "lowest beyond the peak, of the peak", 0.9, at_least=True),
            ServiceTarget(PYTHON, "lost", 0),
        ),
        once=(JAVASCRIPT, PAHO, NODE_RED),
    ),
    ServiceScenario(
        "http_requests",
        "HTTP through gateway and container; JavaScript: 100 KB, a fresh context for each",
        (JAVASCRIPT, PYTHON),
        measure_requests,
        (
            ServiceTarget(JAVASCRIPT, "p50 ms, 1 client", 3),
            ServiceTarget(JAVASCRIPT, "requests/s of one core, 4 clients", 200, at_least=True),
        ),
    ),
    ServiceScenario(
        "memory",
        "Idle gateway and containers",
        (PYTHON,),
        measure_memory,
        (
            ServiceTarget(PYTHON, "gateway without containers: RSS MiB", 65),
            ServiceTarget(PYTHON, "gateway with a cloud that is away: RSS MiB", 65),
            ServiceTarget(PYTHON, "start until /readyz s", 1),
        ),
    ),
    ServiceScenario(
        "deployments",
        "Upload, start and first answer; the next version in place; back again",
        (PYTHON, JAVASCRIPT),
        measure_deployments,
        (
            ServiceTarget(PYTHON, "deploy to first answer: median s", 1),
            ServiceTarget(JAVASCRIPT, "deploy to first answer: median s", 1),
        ),
    ),
)
FULL_SIZE = ServiceSize()
QUICK_SIZE = ServiceSize(
    rounds=1,
    seconds=0.4,
    rates=(200, 400),
    slow_rates=(20, 40),
    warm_up_s=0.1,
    probes=10,
    starts=2,
    clients=(1, 2),
    settle_s=0.2,
    changes=1,
)
