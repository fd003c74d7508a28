from pathlib import PurePosixPath

import pytest

from microservice.isolation.view import ETC, FileView, interpreter_paths, needs_mask, outermost


def test_a_path_below_another_is_left_out() -> None:
    assert outermost(["/opt/hecate/lib", "/opt/hecate", "/usr", "/usr"]) == ("/usr", "/opt/hecate")
    assert outermost(["/", "/usr"]) == ("/usr",)  # the whole machine is never a view


def test_an_editable_installation_shows_its_packages_and_nothing_beside_them() -> None:
    paths = interpreter_paths(
        ["/venv", "/usr"],
        ["/srv/hecate", "/venv/lib/python3.11/site-packages", "/other/dist-packages"],
        {"microservice": ["/srv/hecate/microservice"], "settings": ["/srv/hecate/settings"]},
    )
    assert set(paths) == {
        "/venv", "/usr", "/other/dist-packages",
        "/srv/hecate/microservice", "/srv/hecate/settings",
    }  # fmt: skip


def test_a_state_folder_inside_a_readable_one_is_masked() -> None:
    view = FileView(("/venv",), "/code", ("/venv/state/data",), (), (), "/venv/state")
    assert needs_mask(view)
    assert not needs_mask(FileView(("/venv",), "/code", (), (), (), "/var/lib/hecate"))


@pytest.mark.parametrize(
    "path", ["ssl/private/gateway.key", "pki/tls/private/gateway.key", "ssh/ssh_host_rsa_key",
             "hecate/gateway.toml", "shadow"]
)  # fmt: skip
def test_no_private_file_of_etc_is_in_view(path: str) -> None:
    assert not any(PurePosixPath("/etc", path).is_relative_to(one) for one in ETC)
