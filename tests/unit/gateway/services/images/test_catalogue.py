"""The store of images and containers: what it holds after a restart, and what it removes."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gateway.services.errors import ImageError, ServicesError, StorageError
from gateway.services.images.catalogue import MIGRATIONS, Catalogue, StoredContainer, StoredImage

IMAGE = StoredImage(
    "api-probe-v1", "api", "probe-v1", ("probe-v1:latest",), "sha256:1", "python", 9, 1.5
)
CONTAINER = StoredContainer(
    "api-one", "api", "one", "api-probe-v1", 2.5, "sha256:1", "python", {"CITY": "Delft"}, ("a/#",)
)  # fmt: skip

# as a gateway before `hecate stop` wrote it
FIRST_FORMAT = """
CREATE TABLE image (
    image_id TEXT PRIMARY KEY, client_id TEXT NOT NULL, name TEXT NOT NULL,
    repo_tags TEXT NOT NULL, digest TEXT NOT NULL, runtime TEXT NOT NULL,
    size INTEGER NOT NULL, created REAL NOT NULL);
CREATE TABLE container (
    container_id TEXT PRIMARY KEY, client_id TEXT NOT NULL, name TEXT NOT NULL,
    image_id TEXT NOT NULL, env TEXT NOT NULL, created REAL NOT NULL,
    digest TEXT NOT NULL, runtime TEXT NOT NULL, filters TEXT NOT NULL);
INSERT INTO container VALUES (
    'api-one', 'api', 'one', 'api-probe-v1', '{"CITY": "Delft"}', 2.5, 'sha256:1', 'python',
    '["a/#"]');
"""


def put_content(catalogue: Catalogue, digest: str, manifest: str = 'name = "probe"') -> None:
    with catalogue.scratch() as scratch:
        unpacked = scratch / "content"
        unpacked.mkdir()
        (unpacked / "microservice.toml").write_text(manifest)
        catalogue.put_content(digest, unpacked)


def test_rows_survive_the_process(tmp_path: Path) -> None:
    with closing(Catalogue(tmp_path)) as catalogue:
        catalogue.put_image(IMAGE)
        catalogue.put_container(CONTAINER)
    with closing(Catalogue(tmp_path)) as catalogue:
        assert catalogue.images() == (IMAGE,)
        assert catalogue.containers() == (CONTAINER,)
        catalogue.drop_image(IMAGE.image_id)
        catalogue.drop_container(CONTAINER.container_id)
    with closing(Catalogue(tmp_path)) as catalogue:
        assert not catalogue.images()
        assert not catalogue.containers()


def test_a_file_of_the_first_format_is_migrated_once(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "catalogue.db")) as database:
        database.executescript(FIRST_FORMAT)
    for _ in range(2):
        with closing(Catalogue(tmp_path)) as catalogue:
            assert catalogue.containers() == (CONTAINER,)
    with closing(sqlite3.connect(tmp_path / "catalogue.db")) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)


def test_a_sweep_keeps_what_a_row_or_the_caller_mentions(tmp_path: Path) -> None:
    with closing(Catalogue(tmp_path)) as catalogue:
        for number in range(4):
            put_content(catalogue, f"sha256:{number}")
        catalogue.put_image(IMAGE)  # mentions 1
        catalogue.sweep({"sha256:2"})
        kept = {path.name for path in (tmp_path / "contents").iterdir()}
        assert kept == {"1", "2"}
        assert catalogue.manifest("sha256:1").name == "probe"
        with pytest.raises(ImageError, match=r"cannot read microservice\.toml of sha256:3"):
            catalogue.manifest("sha256:3")


def test_a_content_that_is_there_stays(tmp_path: Path) -> None:
    with closing(Catalogue(tmp_path)) as catalogue:
        put_content(catalogue, "sha256:1")
        put_content(catalogue, "sha256:1", 'name = "other"')
        assert catalogue.manifest("sha256:1").name == "probe"


def test_files_of_an_interrupted_upload_go_at_the_start(tmp_path: Path) -> None:
    Catalogue(tmp_path).close()
    (tmp_path / "contents/.new-abc").mkdir()
    (tmp_path / "containers/api-one/tmp/old").mkdir(parents=True)
    Catalogue(tmp_path).close()
    assert list((tmp_path / "contents").iterdir()) == []
    assert list((tmp_path / "containers/api-one/tmp").iterdir()) == []


def test_a_container_takes_its_folder_with_it(tmp_path: Path) -> None:
    with closing(Catalogue(tmp_path)) as catalogue:
        catalogue.put_container(CONTAINER)
        (catalogue.directory("api-one") / "data").mkdir(parents=True)
        catalogue.drop_container("api-one")
        assert not catalogue.directory("api-one").exists()


def test_a_file_that_is_no_database_is_reported(tmp_path: Path) -> None:
    (tmp_path / "catalogue.db").write_bytes(b"no database" * 100)
    with pytest.raises(ServicesError, match="cannot open"):
        Catalogue(tmp_path)


def test_a_write_that_fails_is_reported_with_the_file(tmp_path: Path) -> None:
    with closing(Catalogue(tmp_path)) as catalogue:
        with closing(sqlite3.connect(tmp_path / "catalogue.db")) as database:
            database.execute("DROP TABLE image")
        with pytest.raises(StorageError, match=r"cannot write .*catalogue\.db"):
            catalogue.put_image(IMAGE)
