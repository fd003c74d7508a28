import logging
from collections.abc import Iterator

import pytest

from gateway.logs import configure_logs
from settings.logs import LogSettings


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    yield logger
    logger.handlers[:] = handlers
    logger.setLevel(level)


@pytest.mark.parametrize("level", ["debug", "DEBUG", "Debug"])
def test_a_level_that_the_settings_take_is_used_in_any_case(
    root: logging.Logger, level: str
) -> None:
    configure_logs(LogSettings(level).level)
    assert root.level == logging.DEBUG
