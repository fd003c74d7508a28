from gateway.services.liveness import QUESTIONS, Liveness


def test_only_questions_without_answer_count() -> None:
    liveness = Liveness(20.0)
    assert liveness.interval_s * QUESTIONS == 20.0
    assert [liveness.ask() for _ in range(QUESTIONS)] == [True] * QUESTIONS
    liveness.answered()
    assert [liveness.ask() for _ in range(QUESTIONS + 1)] == [True] * QUESTIONS + [False]
    liveness.answered()
    assert liveness.ask()
