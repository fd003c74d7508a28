import errno

import pytest

from microservice.memory import explain_memory, is_out_of_memory


def caused(by: BaseException) -> ValueError:
    outer = ValueError("cannot decode")
    outer.__cause__ = by
    return outer


# case G14
@pytest.mark.parametrize(
    ("exc", "is_so"),
    [
        (MemoryError(), True),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), True),
        (OSError(errno.ENOENT, "no such file"), False),
        (RuntimeError("can't start new thread"), True),
        (ImportError("x.so: failed to map segment from shared object"), True),
        (ImportError("no module"), False),
        (ValueError("Cannot allocate memory"), False),
        (caused(MemoryError()), True),
        (caused(ValueError()), False),
    ],
)
def test_what_means_that_memory_ran_out(exc: BaseException, is_so: bool) -> None:
    assert is_out_of_memory(exc) is is_so


def test_a_circle_of_causes_ends() -> None:
    one, two = ValueError(), ValueError()
    one.__cause__, two.__cause__ = two, one
    assert not is_out_of_memory(one)


def test_the_setting_is_named() -> None:
    assert "memory_mib = 64 of microservice.toml" in explain_memory(64)


def test_a_thread_that_cannot_start_names_both_settings() -> None:
    why = explain_memory(64, caused(RuntimeError("can't start new thread")))
    assert why == (
        "no thread can start: [limits] memory_mib = 64 or processes of microservice.toml "
        "is too small"
    )
