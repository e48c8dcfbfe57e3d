"""One set of tests for every place a backup can be kept."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from perdure.backup import Depot, FolderDepot, open_depot
from perdure.kernel.errors import InvalidInput, StorageError


@pytest.fixture(scope="session")
def bucket() -> Iterator[str]:
    """A bucket on a server of this machine that speaks S3."""
    if not os.environ.get("CI"):
        pytest.importorskip("moto.server", reason="moto[server] is not installed")
        pytest.importorskip("obstore", reason="obstore (perdure[s3]) is not installed")
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    patch = pytest.MonkeyPatch()
    patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    patch.setenv("AWS_ACCESS_KEY_ID", "key")
    patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    patch.setenv("AWS_REGION", "us-east-1")
    boto3.client("s3", region_name="us-east-1").create_bucket(Bucket="backups")
    yield "backups"
    patch.undo()
    server.stop()


@pytest.fixture(params=["folder", "bucket"])
def depot(request: Any, tmp_path: Path) -> Depot:
    if request.param == "folder":
        return open_depot(str(tmp_path / "depot"))
    return open_depot(f"s3://{request.getfixturevalue('bucket')}/{uuid.uuid4().hex}")


def test_what_is_written_is_read_and_listed(depot: Depot) -> None:
    assert list(depot.names("objects/")) == []
    assert depot.read("objects/ab/cd") is None
    depot.write("objects/ab/cd", b"one")
    depot.write("objects/ef/gh", b"")
    depot.write("backups/x.json", b"{}")
    depot.settle()
    assert (depot.read("objects/ab/cd"), depot.read("objects/ef/gh")) == (b"one", b"")
    assert sorted(depot.names("objects/")) == ["objects/ab/cd", "objects/ef/gh"]
    assert list(depot.names("backups/")) == ["backups/x.json"]
    depot.write("objects/ab/cd", b"another")
    assert depot.read("objects/ab/cd") == b"another"


@pytest.mark.slow
def test_more_keys_than_a_page_are_all_listed(depot: Depot) -> None:
    if isinstance(depot, FolderDepot):
        pytest.skip("a folder has no pages")
    for number in range(1010):
        depot.write(f"objects/{number:04}", b"")
    assert len(list(depot.names("objects/"))) == 1010


def test_a_large_piece_is_written_whole(depot: Depot) -> None:
    data = os.urandom(9 << 20)
    depot.write("objects/big", data)
    assert depot.read("objects/big") == data


def test_a_bucket_that_is_not_there_is_a_clear_error(bucket: str) -> None:
    missing = open_depot("s3://nosuchbucket/x")
    with pytest.raises(StorageError, match="s3://nosuchbucket/x"):
        missing.write("objects/a", b"")


@pytest.mark.parametrize("bad", ["s3://", "https://example.org/x", "gs://b"])
def test_what_is_no_place_is_refused(bad: str) -> None:
    with pytest.raises(InvalidInput):
        open_depot(bad)


def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="could not write"):
        FolderDepot(tmp_path / "file").write("objects/a", b"")
