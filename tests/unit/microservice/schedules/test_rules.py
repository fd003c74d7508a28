"""Times that a rule is due."""

from microservice.schedules.rules import parse_cron


# case S13
def test_a_service_that_starts_in_the_second_hour_of_an_autumn_night_runs_the_next_night() -> None:
    rule = parse_cron("30 2 * * *", "Europe/Berlin", "once")
    second_two_o_clock = 1_824_944_400.0  # 2027-10-31 01:00 UTC
    for late_s in (0.0, 1.0, 1799.0):
        due = rule.next_after(second_two_o_clock + late_s)
        assert due == second_two_o_clock + 1800 + 86_400
