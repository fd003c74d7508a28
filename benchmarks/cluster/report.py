"""Renders the results of clusters: docs/benchmarks-cluster.md and JSON. Pure."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from benchmarks.cluster.figures import ClusterResults, ClusterScenario, ClusterSize, judge_cluster
from benchmarks.measure import Failure, spread
from benchmarks.report import VERDICTS, Circumstances, describe_run
from benchmarks.verdict import format_number

INTRODUCTION = """\
# Benchmarks of clusters

`make bench` (`python -m benchmarks.cluster`) writes this page; [cluster.md](cluster.md) describes
clusters. Numbers are the median, the best and the worst of all rounds; they belong to one machine
and one hour. All gateways of a run share its processors.
"""
METHOD = """\
## How it is measured

- *discovery* and *power_loss*: network namespaces joined by a bridge, with real multicast. A node
  starts to take part; *found* is the time until multicast DNS gives it the address of the
  supernode, *joined* until it follows. A loss of power is the supernode's cable that is pulled: no
  FIN, no RST.
- *take_over*: three gateways and a cloud on loopback. The supernode is killed (SIGKILL). The time
  runs until another gateway logs that it leads, and until the third one follows. *SEP back* counts
  from then until the cloud has passed a request to both, tried each 20 ms.
- *calls*: `GET /nodes/NODE/healthz` at the API of one gateway, answered by another: HTTP to the own
  gateway, TLS to the other, and back.
- *idle*: the counters of each host's interface, both directions, multicast included.
- *members*: one process holds the members, with real links and records, beside two gateways. The
  supernode is killed; the time runs until the other one has all members. Meanwhile a client asks
  the other one for `/healthz`.
"""


def render_cluster(
    scenarios: Sequence[ClusterScenario],
    results: ClusterResults,
    circumstances: Circumstances,
    size: ClusterSize,
) -> str:
    """Return docs/benchmarks-cluster.md."""
    run = describe_run(
        circumstances,
        f"{size.rounds}, {size.member_rounds} of *members* with {size.members} each",
        busy="the numbers are worse than on a quiet one",
        quick="few rounds",
    )
    lines = [INTRODUCTION, *run]
    lines += ["\n## Targets\n", "| scenario | metric | | target | measured | |"]
    lines += ["|---|---|---|---|---|---|"]
    for judged in judge_cluster(scenarios, results):
        measured = "-" if judged.measured is None else format_number(judged.measured)
        target = judged.target
        lines.append(
            f"| {judged.scenario} | {target.metric} | {target.judged} "
            f"| ≤ {format_number(target.limit)} | {measured} | {VERDICTS[judged.is_met]} |"
        )
    lines += ["\n## Results\n", "| scenario | metric | median | best | worst | of |"]
    lines += ["|---|---|--:|--:|--:|--:|", *_rows(scenarios, results), "", METHOD]
    return "\n".join(lines)


def cluster_json(results: ClusterResults, circumstances: Circumstances) -> str:
    """Return all numbers as JSON."""
    numbers = {
        name: {"failed": each.reason} if isinstance(each, Failure) else dict(each)
        for name, each in results.items()
    }
    document = {"circumstances": asdict(circumstances), "results": numbers}
    return json.dumps(document, indent=2, default=str)


def _rows(scenarios: Sequence[ClusterScenario], results: ClusterResults) -> Iterator[str]:
    for scenario in scenarios:
        samples = results.get(scenario.name)
        if samples is None:
            continue
        if isinstance(samples, Failure):
            yield f"| {scenario.name} | {samples.reason} | - | - | - | 0 |"
            continue
        for metric, values in samples.items():
            found = spread(values)
            numbers = (format_number(each) for each in (found.median, found.low, found.high))
            yield f"| {scenario.name} | {metric} | {' | '.join(numbers)} | {len(values)} |"
