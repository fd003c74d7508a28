"""The developer sees their own code in a trace, and not that of the kit."""

from collections.abc import Callable
from pathlib import Path

from microservice.errors import ServiceError
from microservice.mqtt.failure import HandlerFailure, describe_error

CODE = "\ndef handler():\n    return 1 / 0\n"


def failure(action: Callable[[], object], code: Path) -> HandlerFailure:
    try:
        action()
    except (ZeroDivisionError, ServiceError, KeyError) as exc:
        return describe_error(exc, code)
    raise AssertionError("it does not fail")


def test_a_trace_begins_in_the_code_of_the_developer(tmp_path: Path) -> None:
    names: dict[str, Callable[[], object]] = {}
    exec(compile(CODE, str(tmp_path / "service.py"), "exec"), names)
    seen = failure(names["handler"], tmp_path)
    assert seen.error == "ZeroDivisionError: division by zero (service.py, line 3)"
    assert seen.trace.startswith("Traceback (most recent call last):\n")
    assert "service.py" in seen.trace.splitlines()[1]
    assert "test_failure.py" not in seen.trace


def test_an_error_of_the_kit_alone_has_no_trace(tmp_path: Path) -> None:
    def refuse() -> None:
        raise ServiceError("POST /mqtt was answered with 502")

    seen = failure(refuse, tmp_path)
    assert seen == HandlerFailure("ServiceError: POST /mqtt was answered with 502")


def test_a_fault_in_the_kit_has_its_whole_trace(tmp_path: Path) -> None:
    seen = failure(lambda: dict[str, int]()["x"], tmp_path)
    assert "test_failure.py" in seen.trace
