"""Carries out `hecate broker check`: reports the contents and the losses of a data folder."""

from pathlib import Path
from typing import Any

from broker.journal import JournalError
from broker.journal.checking import Findings, check_journal
from gateway.cli.errors import CliError
from gateway.cli.output import console, notes, print_json, print_table

DAMAGED = 1  # exit code


def check_data(directory: Path, *, as_json: bool) -> int:
    """Print what is there; return the exit code."""
    try:
        findings = check_journal(directory)
    except JournalError as exc:
        raise CliError(str(exc)) from exc
    if as_json:
        print_json(_describe(findings))
    else:
        _print(directory, findings)
    return 0 if findings.report.is_clean else DAMAGED


def _describe(findings: Findings) -> dict[str, Any]:
    report = findings.report
    return {
        "clean": report.is_clean,
        "in_use": findings.is_in_use,
        "sessions": findings.sessions,
        "messages": findings.messages,
        "retained": findings.retained,
        "wills": findings.wills,
        "segments": report.segments,
        "log_bytes": findings.log_bytes,
        "lost_bytes": report.lost_bytes,
        "sessions_without_beginning": report.orphans,
        "torn_tails": report.torn,
        "damages": [
            {"file": name, "offset": each.offset, "bytes": each.length, "problem": each.problem}
            for name, each in report.damages
        ],
    }


def _print(directory: Path, findings: Findings) -> None:
    out, report = console(), findings.report
    out.print(
        f"{directory}: {findings.sessions} sessions, {findings.messages} messages, "
        f"{findings.retained} of them retained, {findings.wills} wills; "
        f"{report.segments} segments, {findings.log_bytes} bytes"
    )
    if findings.is_in_use:
        notes().print("a broker is using the folder: what it writes now may look damaged")
    if report.is_clean:
        out.print("nothing is damaged or missing")
        return
    rows = [(name, str(each.offset), str(each.length), each.problem)
            for name, each in report.damages]  # fmt: skip
    if rows:
        print_table(("file", "at byte", "bytes", "problem"), rows, "")
    out.print(
        f"lost: at most {report.lost_bytes} bytes of the log, and {report.orphans} sessions whose "
        "beginning was there; the broker starts with what is left"
    )
