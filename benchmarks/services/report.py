"""Renders the results of microservices: docs/benchmarks-services.md, tables, JSON. Pure."""

import json
from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from benchmarks.measure import Failure
from benchmarks.report import VERDICTS, Circumstances, describe_run
from benchmarks.services.figures import ServiceResults, ServiceScenario, judge_services
from benchmarks.verdict import format_number, format_spread

INTRODUCTION = """\
# Benchmarks of microservices

`make bench` (`python -m benchmarks.services`) writes this page; [benchmarks.md](benchmarks.md) has
those of the broker. Numbers are medians of the rounds with the lowest and the highest in brackets;
they belong to one machine and one hour. The rivals use the same gateway's broker: the same handler
as a plain paho-mqtt script, and as a flow of Node-RED.
"""
METHOD = """\
## How it is measured

- Each round starts a fresh gateway with its default settings: messages survive a power cut, every
  container is isolated. Gateway, containers and the load generator share the cores.
- *cold_start* uses the gateway's runtime without a gateway around. The first line of `service.py`
  notes the time. *standby*: a process that has its namespaces and cgroups waits; a gateway holds
  one. *no standby*: the next start comes within a fraction of a second, so the warm parent forks.
  *kernel alone*: a bare process makes the same namespaces and enters as many cgroups, and does
  nothing else. The kernel waits for all processors meanwhile (RCU), so this part does not shrink
  with the program; only a process that stands by avoids it.
- *message_latency*: one message each 4 ms, from a device's write to the subscriber's read. Handlers
  publish at QoS 1, the subscriber has QoS 0. The handlers in Python put their time in front of the
  payload: *until the handler runs* is the way through broker and kit, *from there to the
  subscriber* the way back.
- *bare sockets*: two processes in place of broker and handler, joined by the same kinds of sockets,
  pass the bytes on and read none. No program in two processes is faster here. *bare asyncio*: the
  same on the event loop and the transports of Python's asyncio. No program written for asyncio is
  faster, whatever it does with the bytes. Where this floor is near 200 µs or above it, a broker and
  a handler in Python, which also read, match, check and write packets, cannot come below 200 µs.
- The MQTT client of Node-RED does not set TCP_NODELAY: at QoS 1 its PUBLISH waits until the kernel
  has acknowledged its PUBACK, up to 40 ms.
- *message_throughput*: 4 devices send numbered messages of 100 bytes to 64 topics, each with at
  most 125 that are not acknowledged; so a gateway that holds PUBACKs slows them down, and
  *accepted/s* stays below the offered rate. *handled/s* counts what the subscriber got meanwhile.
  After each rate the run waits for the rest; then every number must have come: *lost*, *repeated*.
  *dropped* is the gateway's own count. JavaScript runs each message in a process of its own, so it
  gets lower rates.
- *http_requests*: each client has one connection, one request at a time. *Of one core*: divided
  by the processor time of gateway, front process, evaluator and children.
- *memory*: proportional (PSS) counts a page that several processes share in parts; *one more* is
  the growth of all processes together.
"""


def print_services(
    console: Console, scenarios: Sequence[ServiceScenario], results: ServiceResults
) -> None:
    """Print a table for each scenario, and the targets."""
    for scenario in scenarios:
        table = Table("", *scenario.subjects, title=scenario.name, title_justify="left")
        for row in _rows(scenario, results):
            table.add_row(*row)
        table.caption = "; ".join(_footnotes(scenario, results)) or None
        console.print(table)
    table = Table("scenario", "subject", "metric", "target", "measured", "", title="Targets")
    for cells in _target_rows(scenarios, results):
        table.add_row(*cells)
    console.print(table)


def render_services(
    scenarios: Sequence[ServiceScenario],
    results: ServiceResults,
    circumstances: Circumstances,
    rounds: int,
    versions: Sequence[str] = (),
) -> str:
    """Return docs/benchmarks-services.md."""
    run = describe_run(
        circumstances,
        f"{rounds}, but one for subjects that take long",
        *versions,
        busy="the numbers are worse than on a quiet one",
        quick="short, noisy, at low rates",
    )
    lines = [INTRODUCTION, *run]
    lines += ["\n## Targets\n", "| scenario | subject | metric | target | measured | |"]
    lines += ["|---|---|---|---|---|---|"]
    lines += [f"| {' | '.join(cells)} |" for cells in _target_rows(scenarios, results)]
    lines.append("\n## Results\n")
    for scenario in scenarios:
        lines += [f"### {scenario.name}\n", f"{scenario.title}.\n"]
        lines += [f"| | {' | '.join(scenario.subjects)} |"]
        lines += [f"|---|{'--:|' * len(scenario.subjects)}"]
        lines += [f"| {' | '.join(row)} |" for row in _rows(scenario, results)]
        footnotes = _footnotes(scenario, results)
        lines += ["", *(f"{each}." for each in footnotes), ""] if footnotes else [""]
    return "\n".join([*lines, METHOD])


def services_json(
    scenarios: Sequence[ServiceScenario], results: ServiceResults, circumstances: Circumstances
) -> str:
    """Return everything that was measured, for programs."""
    return json.dumps(
        {
            "machine": circumstances.machine,
            "command": circumstances.command,
            "started": circumstances.started.isoformat(),
            "took_s": round(circumstances.took_s, 1),
            "targets": [
                {
                    "scenario": each.scenario,
                    **asdict(each.target),
                    "measured": each.measured.median if each.measured else None,
                    "met": each.is_met,
                }
                for each in judge_services(scenarios, results)
            ],
            "rounds": [
                {"scenario": scenario, "subject": subject, "round": number, **_as_json(outcome)}
                for (scenario, subject), outcomes in results.rounds.items()
                for number, outcome in enumerate(outcomes, 1)
            ],
        },
        indent=2,
    )


def _as_json(outcome: object) -> dict[str, object]:
    return {"failed": outcome.reason} if isinstance(outcome, Failure) else {"values": outcome}


def _rows(scenario: ServiceScenario, results: ServiceResults) -> list[list[str]]:
    """Return a row for each metric, with the subjects as columns."""
    columns = [results.metrics(scenario.name, subject) for subject in scenario.subjects]
    names = dict.fromkeys(name for column in columns for name in column)
    return [[name, *(format_spread(column.get(name)) for column in columns)] for name in names]


def _footnotes(scenario: ServiceScenario, results: ServiceResults) -> list[str]:
    return [
        f"{subject}: {len(failures)} without numbers: {failures[0].reason}"
        for subject in scenario.subjects
        if (failures := results.failures(scenario.name, subject))
    ]


def _target_rows(
    scenarios: Sequence[ServiceScenario], results: ServiceResults
) -> list[tuple[str, ...]]:
    return [
        (
            each.scenario,
            each.target.subject,
            each.target.metric,
            f"{'≥' if each.target.at_least else '≤'} {format_number(each.target.limit)}",
            format_spread(each.measured),
            VERDICTS[each.is_met],
        )
        for each in judge_services(scenarios, results)
    ]
