"""S3 against moto's server: whole files or none, parts, aborts, words for what goes wrong."""

import contextlib
import secrets
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
import time_machine
import trustme
from werkzeug.datastructures import MultiDict

from tests.servers.fixtures import server_context
from tests.servers.raw import RawServer
from tests.servers.s3 import HOST, S3Server
from webapp.backup.destinations import s3, s3_upload
from webapp.backup.destinations.s3 import S3
from webapp.backup.destinations.s3_form import S3Form
from webapp.backup.errors import BackupError, CancelledError
from webapp.backup.journal import NoJournal
from webapp.backup.reach import Reach

PART = 5 * s3_upload.MEGABYTE  # the least that the protocol allows
BIG = secrets.token_bytes(3 * PART + 12_345)
OURS = "shop-1/2026-11-23T02-00-00Z-7.dump.zst"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    monkeypatch.setattr(s3_upload, "_SIZES", ((1, PART),))
    with S3Server() as running:
        admin(running).create_bucket(Bucket="vault")
        yield running


def admin(server: S3Server) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=server.url,
        region_name="us-east-1",
        aws_access_key_id="admin",
        aws_secret_access_key="x",
    )


def place(server: S3Server, reach: Reach | None = None, **changes: Any) -> S3:
    config = {
        "bucket": "vault",
        "prefix": "backups/here",
        "endpoint": server.url,
        "region": "us-east-1",
        "access_key": "AK",
        "secret_key": "tall ships",
        "addressing": "path",
        "ca_file": "",
    }
    return S3(config | changes, reach or Reach())


def put(target: S3, key: str, content: bytes = BIG) -> None:
    with target.open_write(key) as writer:
        for start in range(0, len(content), 1_000_000):
            writer.write(content[start : start + 1_000_000])


def keys(server: S3Server) -> list[str]:
    found = admin(server).list_objects_v2(Bucket="vault").get("Contents", ())
    return [entry["Key"] for entry in found]


def uploads(server: S3Server) -> list[str]:
    found = admin(server).list_multipart_uploads(Bucket="vault").get("Uploads", ())
    return [entry["Key"] for entry in found]


def test_the_test_writes_reads_back_and_deletes(server: S3Server) -> None:
    assert "vault" in place(server).probe()
    assert keys(server) == []


@pytest.mark.parametrize("size", [0, 10, PART, PART + 1, len(BIG)])
def test_a_file_comes_back_as_it_was(server: S3Server, size: int) -> None:
    target = place(server)
    put(target, OURS, BIG[:size])
    with target.open_read(OURS) as reader:
        read = b"".join(iter(lambda: reader.read(100_000), b""))
    assert read == BIG[:size]
    assert [(entry.key, entry.size) for entry in target.list("shop-1/")] == [(OURS, size)]
    assert target.size(OURS) == size
    assert keys(server) == [f"backups/here/{OURS}"]
    target.delete(OURS)
    target.delete(OURS)
    assert target.list() == ()


def test_long_lists_come_in_pages(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "PAGE_SIZE", 2)
    target = place(server, prefix="")
    client = admin(server)
    for number in range(5):
        client.put_object(Bucket="vault", Key=f"a/{number:04}", Body=b"x")
    found = target.list("a/")
    assert [entry.key for entry in found] == [f"a/{number:04}" for number in range(5)]


def test_a_file_has_its_name_only_when_it_is_whole(server: S3Server) -> None:
    target = place(server)
    with target.open_write(OURS) as writer:
        writer.write(BIG)
        assert target.list() == ()
    assert [entry.key for entry in target.list()] == [OURS]


def test_nothing_stays_of_a_file_that_was_given_up(server: S3Server) -> None:
    target = place(server)
    with contextlib.suppress(CancelledError), target.open_write(OURS) as writer:
        writer.write(BIG)
        raise CancelledError
    assert (keys(server), uploads(server)) == ([], [])


@pytest.mark.parametrize("broken", ["partNumber=3", "uploadId"])
def test_a_part_that_is_refused_aborts_the_upload(server: S3Server, broken: str) -> None:
    step = "PUT" if broken.startswith("part") else "POST"
    server.refuse = lambda method, query: method == step and broken in query
    with pytest.raises(BackupError, match=r"Cannot write .* may not do this in vault"):
        put(place(server), OURS)
    server.refuse = lambda _method, _query: False
    assert (keys(server), uploads(server)) == ([], [])


def test_nothing_is_overwritten(server: S3Server) -> None:
    target = place(server)
    put(target, OURS, b"first")
    with pytest.raises(BackupError, match="there already"):
        put(target, OURS, b"second")


def test_uploads_that_a_killed_server_left_are_aborted_after_a_day(server: S3Server) -> None:
    target = place(server)
    for key in (f"backups/here/{OURS}", "backups/here/photo.jpg", f"elsewhere/{OURS}"):
        admin(server).create_multipart_upload(Bucket="vault", Key=key)
    begun = admin(server).list_multipart_uploads(Bucket="vault")["Uploads"][0]["Initiated"]
    with time_machine.travel(begun + timedelta(hours=24)):
        assert target.sweep() == 0
    with time_machine.travel(begun + timedelta(hours=26)):
        assert target.sweep() == 1
    assert sorted(uploads(server)) == ["backups/here/photo.jpg", f"elsewhere/{OURS}"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"bucket": "absent"}, "bucket absent does not exist|no bucket absent"),
        ({"endpoint": "http://127.0.0.1:1"}, "cannot be reached"),
        ({"endpoint": "http://nowhere.invalid"}, "host name nowhere.invalid is not known"),
        ({"endpoint": "http://169.254.169.254"}, "may not be called"),
    ],
)
def test_what_is_wrong_is_said_in_words(
    server: S3Server, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(BackupError, match=words) as caught:
        place(server, **changes).probe()
    assert "tall ships" not in str(caught.value)


@pytest.mark.parametrize(
    "entry",
    [
        "<Size>1</Size><LastModified>2026-01-01T00:00:00Z</LastModified>",
        "<Key>a</Key><Size>1</Size>",
        "<Key>a</Key><Size>many</Size><LastModified>2026-01-01T00:00:00Z</LastModified>",
        "<Key>a</Key><Size>1</Size><LastModified>99999999999999999</LastModified>",
    ],
)
def test_an_answer_without_sense_is_said_in_words(server: S3Server, entry: str) -> None:
    body = f"<ListBucketResult><Contents>{entry}</Contents></ListBucketResult>".encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with (
        RawServer([head + body]) as other,
        pytest.raises(BackupError, match="has no sense"),
    ):
        place(server, endpoint=other.url).list()


def test_an_endpoint_that_the_library_does_not_take_is_said_in_words(server: S3Server) -> None:
    with pytest.raises(BackupError, match="has no sense"):
        place(server, endpoint="http://①.example.org").list()


def test_private_networks_can_be_forbidden(server: S3Server) -> None:
    server.seen.clear()
    with pytest.raises(BackupError, match="private network"):
        place(server, Reach(allow_private=False)).probe()
    assert server.seen == []


def test_an_authority_of_ones_own_is_trusted_when_it_is_named(
    authority: trustme.CA, ca_file: Path
) -> None:
    with S3Server(server_context(authority, HOST)) as server:
        with pytest.raises(BackupError, match="certificate could not be verified"):
            place(server).probe()
        trusting = place(server, ca_file=str(ca_file))
        trusting._client.create_bucket(Bucket="vault")
        assert trusting.probe()
        assert place(server, Reach(ca_file=ca_file)).probe()


def test_files_of_the_servers_user_do_not_matter(
    server: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "config").write_text("[default]\nregion = nowhere\ns3 =\n  payload = \x00")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_PROFILE", "absent")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert place(server).probe()


def test_part_sizes_grow_so_that_large_backups_fit_and_memory_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.undo()
    upload = s3_upload.Upload(None, "b", "k", NoJournal())
    total = 0
    for number in range(s3_upload.MOST_PARTS):
        upload._parts = [{}] * number
        total += upload._part_size()
    assert total > 470 * 1000**3
    assert upload._part_size() <= 64 * s3_upload.MEGABYTE


@pytest.mark.parametrize(
    ("field", "typed"),
    [
        ("bucket", "s3://vault"),
        ("bucket", "a/b"),
        ("prefix", "a/../b"),
        ("endpoint", "s3.example.org"),
        ("endpoint", "https://user@s3.example.org"),
        ("endpoint", "https://:password@s3.example.org"),
        ("endpoint", "https://s3.example.org/vault"),
        ("region", "eu central"),
        ("ca_file", "ca.pem"),
        ("secret_key", ""),
    ],
)
def test_what_cannot_be_an_address_is_refused_in_the_form(field: str, typed: str) -> None:
    right = {"bucket": "vault", "region": "us-east-1", "access_key": "a", "secret_key": "b"}
    assert S3Form(MultiDict(right | {"addressing": "auto"})).validate()
    form = S3Form(MultiDict(right | {"addressing": "auto", field: typed}))
    assert not form.validate()
    assert list(form.errors) == [field]
