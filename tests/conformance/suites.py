"""Finds conformance suites of other projects, and reads their outcomes.

They are run from their own place and never copied: paho.mqtt.testing (EPL/EDL) and
mosquitto (EPL/EDL), each a checkout of its repository.
"""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass
from pathlib import Path

VARIABLE = "HECATE_SUITES"
SIBLING = Path(__file__).resolve().parents[3] / "suites"  # beside this checkout

PAHO, MOSQUITTO = "paho.mqtt.testing", "mosquitto"
_LANDMARKS = {
    PAHO: Path("interoperability/client_test5.py"),
    MOSQUITTO: Path("test/broker/msg_sequence_test.py"),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """One case of a suite; why is empty when it passed.

    exact: every byte was the expected one, also where the standard leaves the choice.
    """

    case: str
    passed: bool
    exact: bool
    why: str = ""


class SuiteMissing(Exception):  # noqa: N818  # nothing is wrong
    """A suite is not at hand; says where it was looked for."""


def find_suite(name: str) -> Path:
    """Return the suite's checkout, or raise SuiteMissing."""
    place = Path(os.environ[VARIABLE]) if VARIABLE in os.environ else SIBLING
    checkout = place / name
    if not (checkout / _LANDMARKS[name]).is_file():
        raise SuiteMissing(
            f"{name} is not in {place}; clone its repository there, or set {VARIABLE} to a folder "
            "that holds it"
        )
    return checkout


def encode_outcome(outcome: Outcome) -> str:
    """Return the line by which a runner tells an outcome."""
    return json.dumps(astuple(outcome))


def decode_outcomes(lines: Iterable[str]) -> Iterator[Outcome]:
    """Read what a runner printed."""
    for line in lines:
        yield Outcome(*json.loads(line))
