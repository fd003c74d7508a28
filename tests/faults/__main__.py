"""Starts fault runs by hand: `python -m tests.faults --help`."""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from tests.faults.checker import describe
from tests.faults.cuts import Recording, come_back_from_all
from tests.faults.link import ENDS, LinkRun, Site
from tests.faults.queues import QueueRun, Shares, make_subject
from tests.faults.rounds import Outcome, Run
from tests.faults.subjects import MOSQUITTO_SAVES, Hecate, Mosquitto, Subject

console = Console(highlight=False)


def main() -> int:
    """Run what is asked for; the exit code says whether promises were broken."""
    options = _parse()
    whats = {"kill": _kill, "cuts": _cut, "queues": _queue, "link": _link}
    return whats[options.what](options)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.faults", description=__doc__)
    kinds = parser.add_subparsers(dest="what", required=True)
    kill = kinds.add_parser("kill", help="kill a broker again and again under load")
    kill.add_argument("--broker", choices=("hecate", "mosquitto"), default="hecate")
    kill.add_argument("--rounds", type=int, default=20)
    kill.add_argument("--durability", choices=("synced", "os", "memory"), default="synced")
    kill.add_argument(
        "--saves",
        choices=tuple(MOSQUITTO_SAVES),
        default="each change",
        help="the moments at which mosquitto saves",
    )
    kill.add_argument("--gentle", action="store_true", help="SIGTERM instead of SIGKILL")
    kill.add_argument("--folder", type=Path, help="the folder in which the broker's own is made")
    cuts = kinds.add_parser("cuts", help="cut the power at every write of a recorded run")
    cuts.add_argument("--steps", type=int, default=150, help="length of the run")
    cuts.add_argument("--moments", type=int, help="try so many only")
    cuts.add_argument("--durability", choices=("synced", "os"), default="synced")
    cuts.add_argument("--loss", choices=("power", "process"), default="power")
    queues = kinds.add_parser("queues", help="queues near their bounds: reloads, expiry, kills")
    queues.add_argument("--rounds", type=int, default=20)
    queues.add_argument("--durability", choices=("synced", "os", "memory"), default="synced")
    for name, share in asdict(Shares()).items():
        queues.add_argument(f"--{name}", type=float, default=share, help="share of what happens")
    link = kinds.add_parser("link", help="end gateway and cloud by turns")
    link.add_argument("--rounds", type=int, default=5)
    link.add_argument("--end", choices=ENDS, action="append", dest="ends", help="only this one")
    for each in (kill, cuts, queues, link):
        each.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def _kill(options: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory(dir=options.folder) as folder, Progress() as progress:
        subject = _subject(options, Path(folder))
        console.print(f"{subject.name}: {subject.settings}")
        task = progress.add_task("rounds", total=options.rounds)
        run = Run(subject, options.seed, gentle=options.gentle)
        outcome = asyncio.run(
            run.go(options.rounds, lambda number: progress.update(task, completed=number))
        )
    _tell(outcome)
    for trouble in subject.troubles:
        console.print(trouble)
    return 1 if outcome.findings or subject.troubles else 0


def _queue(options: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory() as folder:
        subject = make_subject(Path(folder), options.durability)
        kills = 0 if options.durability == "memory" else options.kills
        shares = Shares(kills, options.reloads, options.expiring)
        run = QueueRun(subject, options.seed, shares)
        findings = asyncio.run(run.go(options.rounds))
    console.print(f"{options.rounds} rounds, {run.reloads} reloads, {run.kills} kills")
    console.print(run.numbers)
    console.print(describe(findings) or "all promises kept")
    for trouble in subject.troubles:
        console.print(trouble)
    return 1 if findings or subject.troubles else 0


def _link(options: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory() as folder:
        run = LinkRun(Site(Path(folder)), options.seed, tuple(options.ends or ENDS))
        findings = asyncio.run(run.go(options.rounds))
    console.print(f"{options.rounds} rounds, {run.numbers}")
    console.print(describe(findings) or "all promises kept")
    return 1 if findings else 0


def _subject(options: argparse.Namespace, folder: Path) -> Subject:
    if options.broker == "hecate":
        return Hecate(folder, options.durability)
    folder.chmod(0o777)  # it gives up being root
    return Mosquitto(folder, MOSQUITTO_SAVES[options.saves])


def _tell(outcome: Outcome) -> None:
    console.print(
        f"{outcome.rounds} rounds, {outcome.seconds:.0f} s: {outcome.sent} messages sent, "
        f"{outcome.acknowledged} acknowledged, {outcome.received} received"
    )
    if outcome.written is not None:
        each = outcome.written / max(1, outcome.acknowledged)
        console.print(
            f"{outcome.written} bytes written to the device, {each:.0f} per acknowledged message"
        )
    console.print(describe(outcome.findings) or "all promises kept")


def _cut(options: argparse.Namespace) -> int:
    recording = Recording(options.seed, options.loss, options.durability)
    asyncio.run(recording.go(options.steps))
    moments = recording.moments
    if options.moments is not None:
        moments = random.Random(options.seed).sample(moments, min(options.moments, len(moments)))
    began = time.monotonic()
    with Progress() as progress:
        task = progress.add_task("moments", total=len(moments))
        trials = asyncio.run(
            come_back_from_all(recording, moments, progress=lambda: progress.advance(task))
        )
    broken = [trial for trial in trials if trial.findings]
    rules = Counter(finding.rule for trial in broken for finding in trial.findings)
    console.print(
        f"{len(moments)} moments of {len(recording.moments)}, {time.monotonic() - began:.0f} s, "
        f"{len(recording.history)} events: {len(broken)} break a promise {dict(rules) or ''}"
    )
    for trial in broken[:3]:
        console.print(trial.describe())
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
