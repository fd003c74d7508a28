from gateway.services.runtimes.liveness import QUESTIONS, REPORTS_PER_S, Liveness, ReportLimiter


def test_only_questions_without_answer_count() -> None:
    liveness = Liveness(20.0)
    assert liveness.interval_s * QUESTIONS == 20.0
    assert [liveness.ask() for _ in range(QUESTIONS)] == [True] * QUESTIONS
    liveness.answered()
    assert [liveness.ask() for _ in range(QUESTIONS + 1)] == [True] * QUESTIONS + [False]
    liveness.answered()
    assert liveness.ask()


def test_a_burst_of_reports_is_refused_and_the_next_second_is_new() -> None:
    limiter = ReportLimiter()
    burst = [limiter.admit(10.0 + n / 10_000) for n in range(2 * REPORTS_PER_S)]
    assert burst == [True] * REPORTS_PER_S + [False] * REPORTS_PER_S
    assert limiter.admit(11.0)
