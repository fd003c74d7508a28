from gateway.cli.services.containers import backlog, reason
from gateway.cli.services.security import security_rows


# case S20
def test_a_container_that_failed_shows_its_next_try() -> None:
    container = {"error": "it exited with status 1", "nextTry": 1_060_000}
    assert reason(container, 1_000) == "it exited with status 1; next try in 1 min"
    assert reason({"error": "it exited with status 1", "nextTry": 0}, 1_000).endswith("status 1")


def test_each_finding_has_a_row() -> None:
    shown = {
        "name": "probe",
        "findings": [{"name": "memory", "level": "part", "detail": "each process alone"}],
    }
    assert security_rows(shown) == [("probe", "memory", "part", "each process alone")]


def test_a_container_without_a_process_says_so() -> None:
    shown = {"name": "probe", "state": "stopped", "findings": []}
    assert security_rows(shown) == [("probe", "", "", "it is stopped: no process to probe")]


def test_a_container_that_does_not_keep_up_shows_what_waits_and_what_is_lost() -> None:
    container = {
        "name": "probe",
        "dropped": 7,
        "messages": {"waiting": 1_200, "held": 200},
        "deadLetters": {"kept": 3, "dropped": 0},
    }
    assert backlog(container) == (
        "publishers of 200 messages wait; see `hecate deadletters list probe`"
    )
    assert backlog({"name": "probe"}) == ""
