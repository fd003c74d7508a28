"""Checks a recorded history of a cluster against what its nodes promise. Pure.

A history is a list of events with times of one clock. The truth about the network comes from the
test, which makes the faults; all other events come from the nodes and from their clients.

What is checked, with a bound in seconds:

1. In each group of running nodes that reach each other, a state other than "one supernode, and all
   follow it" lasts no longer than the bound, counted from the last change of the network.
2. The same for each node's list of nodes: it holds the nodes of its group and no others.
3. The epoch that a node follows never goes back within one run, or over its runs.
4. A message that was acknowledged arrives, and arrives once if its QoS says so.
5. A request is answered by the node that it was for, and no request is carried out twice; a request
   that is said to be not sent is not carried out.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

LEADING = ("supernode", "leaving")
Groups = tuple[frozenset[str], ...]


@dataclass(frozen=True, slots=True)
class Truth:
    """The running nodes by groups that reach each other; None while that cannot be said."""

    at: float
    groups: Groups | None


@dataclass(frozen=True, slots=True)
class View:
    """A node's role and the claim that it follows, from now on."""

    at: float
    node: str
    role: str
    supernode: str  # "" for none
    epoch: int

    @property
    def leads(self) -> bool:
        """True for a supernode."""
        return self.role in LEADING


@dataclass(frozen=True, slots=True)
class Stopped:
    """A node does not run from now on."""

    at: float
    node: str


@dataclass(frozen=True, slots=True)
class Listed:
    """The nodes in a node's list at this time."""

    at: float
    node: str
    nodes: frozenset[str]


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A node has acknowledged a message for the cloud."""

    at: float
    message: str
    qos: int


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message has arrived at a subscriber of the cloud."""

    at: float
    message: str


class Outcome(StrEnum):
    """The answer to a caller."""

    ANSWERED = "answered"
    UNKNOWN = "unknown"
    NOT_SENT = "not sent"


@dataclass(frozen=True, slots=True)
class Called:
    """A request for a node has ended; `by` is the node that answered."""

    at: float
    request: str
    target: str
    outcome: Outcome
    by: str = ""


@dataclass(frozen=True, slots=True)
class Executed:
    """A node has carried out a request."""

    at: float
    request: str
    node: str


Event = Truth | View | Stopped | Listed | Acknowledged | Arrived | Called | Executed


@dataclass(frozen=True, slots=True)
class Verdict:
    """The violations, and how much was looked at."""

    violations: tuple[str, ...]
    counts: Counter[str] = field(default_factory=Counter)

    def check(self, *needed: str) -> None:
        """Fail on a violation, or when there is nothing of a kind to judge."""
        assert not self.violations, "\n".join(self.violations[:20])
        for kind in needed:
            assert self.counts[kind], f"the history holds no {kind}: {dict(self.counts)}"


def judge(events: Iterable[Event], bound_s: float, until: float) -> Verdict:
    """Return what a history proves; `until` is the time of its end."""
    ordered = sorted(events, key=lambda event: event.at)
    counts = Counter(type(event).__name__ for event in ordered)
    violations = (
        *_judge_supernodes(ordered, bound_s, until),
        *_judge_lists(ordered, bound_s, until),
        *_judge_epochs(ordered),
        *_judge_messages(ordered),
        *_judge_requests(ordered),
    )
    return Verdict(violations, counts)


class _Fault:
    """Notes how long one thing is wrong while the network does not change."""

    def __init__(self, bound_s: float) -> None:
        self._bound_s = bound_s
        self._since: float | None = None
        self._what, self._is_told = "", False

    def note(self, wrong: str, at: float) -> Iterator[str]:
        """Note what is wrong from now on, "" for nothing; yield what was wrong for too long."""
        yield from self.end(at)
        if not wrong:
            self._since, self._is_told = None, False
        elif self._since is None:
            self._since = at
        self._what = wrong

    def end(self, at: float) -> Iterator[str]:
        """Yield what was wrong for too long until this time."""
        if self._since is not None and at - self._since > self._bound_s and not self._is_told:
            self._is_told = True
            yield f"{self._what}, for {at - self._since:.1f} s until {at:.1f}"


def _judge_supernodes(events: Sequence[Event], bound_s: float, until: float) -> Iterator[str]:
    views: dict[str, View] = {}
    faults: dict[frozenset[str], _Fault] = {}
    for event in events:
        match event:
            case Truth():
                for fault in faults.values():
                    yield from fault.end(event.at)
                faults = {group: _Fault(bound_s) for group in event.groups or ()}
            case View():
                views[event.node] = event
            case Stopped():
                views.pop(event.node, None)
            case _:
                continue
        for group, fault in faults.items():
            yield from fault.note(_find_discord(group, views), event.at)
    for fault in faults.values():
        yield from fault.end(until)


def _find_discord(group: frozenset[str], views: dict[str, View]) -> str:
    """Return what is wrong with the roles in a group; "" for nothing."""
    roles = {node: views.get(node) for node in sorted(group)}
    leaders = {node for node, view in roles.items() if view and view.leads}
    if len(leaders) > 1:
        return f"{len(leaders)} supernodes: {', '.join(sorted(leaders))}"
    followed = {view.supernode if view else "" for view in roles.values()}
    if len(leaders) == 1 and followed == leaders:
        return ""
    seen = ", ".join(f"{n} {v.role} of {v.supernode or '-'}" if v else n for n, v in roles.items())
    return f"no supernode that all follow: {seen}"


def _judge_lists(events: Sequence[Event], bound_s: float, until: float) -> Iterator[str]:
    faults: dict[str, _Fault] = {}
    groups: dict[str, frozenset[str]] = {}
    for event in events:
        match event:
            case Truth():
                for fault in faults.values():
                    yield from fault.end(event.at)
                groups = {node: group for group in event.groups or () for node in group}
                faults = {node: _Fault(bound_s) for node in groups}
            case Listed(node=node) if node in faults:
                more, less = event.nodes - groups[node], groups[node] - event.nodes
                wrong = f"the list of {node} lacks {sorted(less)}, has {sorted(more)} too many"
                yield from faults[node].note(wrong if more or less else "", event.at)
    for fault in faults.values():
        yield from fault.end(until)


def _judge_epochs(events: Sequence[Event]) -> Iterator[str]:
    highest: dict[str, int] = {}
    for event in events:
        if isinstance(event, View):
            before = highest.get(event.node, 0)
            if event.epoch < before:
                yield f"the epoch of {event.node} goes back from {before} to {event.epoch}"
            highest[event.node] = max(before, event.epoch)


def _judge_messages(events: Sequence[Event]) -> Iterator[str]:
    arrivals = Counter(event.message for event in events if isinstance(event, Arrived))
    for event in events:
        if isinstance(event, Acknowledged):
            times = arrivals[event.message]
            if not times and event.qos > 0:
                yield f"message {event.message} was acknowledged and is lost"
            if times > 1 and event.qos != 1:
                yield f"message {event.message} of QoS {event.qos} arrived {times} times"


def _judge_requests(events: Sequence[Event]) -> Iterator[str]:
    executions: dict[str, list[str]] = defaultdict(list)
    for event in events:
        if isinstance(event, Executed):
            executions[event.request].append(event.node)
    for request, nodes in executions.items():
        if len(nodes) > 1:
            yield f"request {request} was carried out {len(nodes)} times, by {', '.join(nodes)}"
    for event in events:
        if isinstance(event, Called):
            yield from _judge_call(event, executions[event.request])


def _judge_call(call: Called, executed_by: Sequence[str]) -> Iterator[str]:
    if strangers := set(executed_by) - {call.target}:
        yield f"request {call.request} for {call.target} was carried out by {strangers}"
    if call.outcome is Outcome.ANSWERED and call.by != call.target:
        yield f"request {call.request} for {call.target} was answered by {call.by}"
    if call.outcome is Outcome.ANSWERED and not executed_by:
        yield f"request {call.request} was answered and not carried out"
    if call.outcome is Outcome.NOT_SENT and executed_by:
        yield f"request {call.request} was carried out, and said not to be sent"
