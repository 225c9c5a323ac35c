from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

import pytest

from dataops.errors import AccessDenied, AlreadyExists, Integrity, InvalidInput, NotFound, Storage
from dataops.storage import objects, s3_client
from dataops.storage.files import DataFiles, open_files
from dataops.storage.journal import Journal
from dataops.storage.objects import Store, open_store
from tests.storage.files_suite import FilesSuite, put
from tests.storage.s3_server import DONE, S3Server, environment
from tests.storage.store_suite import SharedStoreSuite

ATTEMPTS = 7  # one, and what is tried again


class TestS3Store(SharedStoreSuite):
    THREADS_RACE_FOR, PROCESSES_RACE_FOR, APPENDS = 10, 40, 8

    @pytest.fixture
    def store(self, tmp_path: Path, s3: S3Server) -> Store:
        return open_store(f"s3://{s3.make_bucket()}/some/prefix")

    def test_a_record_comes_with_who_wrote_it_as_far_as_that_can_be_told(self, store: Store) -> None:
        store.put_if_absent("a", b"x")
        with pytest.raises(AccessDenied, match="doesn't tell who wrote a: what is submitted on S3 has to be signed"):
            store.get_owned("a", 5)

    def test_names_come_with_whose_they_are_as_reading_them_says_it(self, store: Store) -> None:
        store.put_if_absent("a", b"x")
        assert [(one.key, one.owner, one.is_own) for one in store.names_owned()] == [("a", None, False)]

    def test_eight_writers_race_and_one_wins_each_key(self, store: Store) -> None:
        barrier, won = threading.Barrier(8), list[tuple[int, int]]()

        def write(writer: int) -> None:
            for n in range(5):
                barrier.wait()
                if store.put_if_absent(f"race/{n}", f"writer {writer}".encode()):
                    won.append((n, writer))

        threads = [threading.Thread(target=write, args=(writer,)) for writer in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(n for n, _ in won) == list(range(5))
        assert all(store.get(f"race/{n}") == f"writer {writer}".encode() for n, writer in won)

    def test_what_other_programs_leave_there_is_no_record(self, store: Store, s3: S3Server) -> None:
        store.put_if_absent("a/b", b"x")
        s3.put_raw(f"{store.url.removeprefix('s3://')}/.hidden/c", b"x")
        assert store.list("") == ["a/b"]
        assert store.folders("") == ["a"]


class TestS3Files(FilesSuite):
    @pytest.fixture
    def files(self, s3: S3Server) -> DataFiles:
        return open_files(f"s3://{s3.make_bucket()}/some data")

    def test_the_same_bytes_written_again_are_the_same_file(self, files: DataFiles) -> None:
        assert files.write("a", put(b"first")) == files.write("a", put(b"first")) == 5
        with pytest.raises(AlreadyExists):
            files.write("a", put(b"other"))

    def test_a_large_file_appears_when_all_of_its_parts_are_there(
        self, files: DataFiles, s3: S3Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("dataops.storage.s3_files._LARGEST_PUT", 1 << 20)
        monkeypatch.setattr("dataops.storage.s3_files._PART_BYTES", 5 << 20)
        data = os.urandom(11 << 20)

        def write(stream: IO[bytes]) -> None:
            for start in range(0, len(data), 3_000_000):
                stream.write(data[start : start + 3_000_000])

        refused = Fail(lambda asked: asked["REQUEST_METHOD"] == "PUT", "403 Forbidden", "AccessDenied", after=1)
        with s3.upsetting(refused), pytest.raises(Storage, match="AccessDenied"):
            files.write("a/b", write)
        with pytest.raises(NotFound):
            files.stat("a/b")
        assert files.write("a/b", write) == len(data)
        with files.open("a/b") as source:
            assert source.read() == data
        with pytest.raises(AlreadyExists):
            files.write("a/b", write)

    def test_a_file_exchanged_while_it_is_read_is_found_out(self, files: DataFiles, s3: S3Server) -> None:
        files.write("a", put(os.urandom(200_000)))
        with files.open("a") as source:
            assert len(source.read(100)) == 100
            s3.put_raw(f"{files.url.removeprefix('s3://')}/a", os.urandom(200_000))
            with pytest.raises(Integrity, match="exchanged while it was read"):
                source.read(100)

    def test_a_file_exchanged_within_a_second_is_another(self, files: DataFiles, s3: S3Server) -> None:
        files.write("a", put(b"one"))
        before = files.stat("a")
        s3.put_raw(f"{files.url.removeprefix('s3://')}/a", b"two")
        assert before.size_bytes == files.stat("a").size_bytes
        assert before != files.stat("a")

    def test_a_listing_and_a_look_say_the_same(self, files: DataFiles) -> None:
        files.write("a=1/b.parquet", put(b"x"))
        assert files.list("") == files.list("a=1") == [files.stat("a=1/b.parquet")]

    def test_what_stands_for_a_folder_is_no_file(self, files: DataFiles, s3: S3Server) -> None:
        files.write("table.parquet/part-1.parquet", put(b"x"))
        s3.put_raw(f"{files.url.removeprefix('s3://')}/table.parquet/", b"")
        assert [stat.path for stat in files.list("")] == ["table.parquet/part-1.parquet"]

    def test_who_must_bear_strange_names_is_told_of_them(self, files: DataFiles, s3: S3Server) -> None:
        files.write("a.parquet", put(b"x"))
        s3.put_raw(f"{files.url.removeprefix('s3://')}/b\u202e.parquet", b"x")
        told: list[str] = []
        assert [stat.path for stat in files.list("", unnamed=told.append)] == ["a.parquet"]
        assert told == ["b\\u202e.parquet"]
        with pytest.raises(InvalidInput, match="can't be the path of a data file"):
            files.list("")

    def test_opening_and_reading_a_small_file_is_one_request(self, files: DataFiles, s3: S3Server) -> None:
        files.write("a", put(b"some bytes"))
        with s3.counting() as asked, files.open("a") as source:
            assert source.read(4) + source.read_at(5, 5) == b"somebytes"
        assert len(asked) == 1


class Fail:
    """Answers `status` and `code` to what `which` picks, from the one after the first `after` on, `times` times."""

    def __init__(
        self, which: Callable[[dict[str, Any]], bool], status: str, code: str, *, times: int = 1000, after: int = 0
    ) -> None:
        self.which, self.answer, self.times, self.after, self.seen = which, (status, code), times, after, 0

    def __call__(self, asked: dict[str, Any]) -> tuple[str, str] | str | None:
        if not self.which(asked):
            return None
        self.seen += 1
        if not self.after < self.seen <= self.after + self.times:
            return None
        return "lost" if self.answer[1] == "lost" else self.answer


def writes(asked: dict[str, Any]) -> bool:
    return asked["REQUEST_METHOD"] in ("PUT", "POST", "DELETE")


def completes(asked: dict[str, Any]) -> bool:
    return asked["REQUEST_METHOD"] == "POST" and "uploadId" in asked["QUERY_STRING"]


def is_put(asked: dict[str, Any]) -> bool:
    return bool(asked["REQUEST_METHOD"] == "PUT")


def always(asked: dict[str, Any]) -> bool:
    return True


@pytest.fixture
def in_parts(monkeypatch: pytest.MonkeyPatch) -> bytes:
    """The bytes of a file that goes up in parts."""
    monkeypatch.setattr("dataops.storage.s3_files._LARGEST_PUT", 1 << 20)
    monkeypatch.setattr("dataops.storage.s3_files._PART_BYTES", 5 << 20)
    return os.urandom(6 << 20)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nobody waits long between two tries."""
    backoff = {"init_backoff": timedelta(milliseconds=1), "max_backoff": timedelta(milliseconds=2), "base": 2}
    monkeypatch.setattr(s3_client, "_RETRIES", {**s3_client._RETRIES, "backoff": backoff})
    s3_client._client.cache_clear()
    yield
    s3_client._client.cache_clear()


@pytest.mark.usefixtures("impatient")
class TestFaults:
    @pytest.fixture
    def store(self, s3: S3Server) -> Store:
        store = open_store(f"s3://{s3.make_bucket()}/p")
        objects.prove(store)
        return store

    @pytest.fixture
    def files(self, s3: S3Server) -> DataFiles:
        return open_files(f"s3://{s3.make_bucket()}/p")

    def test_a_put_whose_reply_is_lost_is_no_conflict(self, store: Store, files: DataFiles, s3: S3Server) -> None:
        with s3.upsetting(Fail(is_put, "", "lost", times=1)):
            assert store.put_if_absent("slot", b"mine with a nonce") is True
        with s3.upsetting(Fail(is_put, "", "lost", times=1)):
            assert files.write("part", put(b"mine")) == 4
        assert store.get("slot") == b"mine with a nonce"

    def test_a_put_that_was_done_and_answered_with_an_error_is_no_conflict(self, store: Store, s3: S3Server) -> None:
        with s3.upsetting(Fail(is_put, *DONE, times=1)), s3.counting() as asked:
            assert store.put_if_absent("slot", b"mine with a nonce") is True
        assert [method for method, _ in asked] == ["PUT", "PUT", "GET"]
        assert store.get("slot") == b"mine with a nonce"

    @pytest.mark.parametrize("answer", ["lost", DONE], ids=["lost", "an error"])
    def test_the_last_request_of_a_large_file_that_was_done_unheard_is_no_failure(
        self, files: DataFiles, s3: S3Server, in_parts: bytes, answer: tuple[str, str] | str
    ) -> None:
        answers = iter([answer, ("404 Not Found", "NoSuchUpload")])
        with s3.upsetting(lambda asked: next(answers) if completes(asked) else None):
            assert files.write("a", put(in_parts)) == len(in_parts)
        assert list(answers) == []  # completed, unheard; asked for once more, by then unknown
        with files.open("a") as source:
            assert source.read() == in_parts

    def test_a_large_file_whose_parts_somebody_cleared_away_is_a_failure_that_may_pass(
        self, files: DataFiles, s3: S3Server, in_parts: bytes
    ) -> None:
        with (
            s3.upsetting(Fail(completes, "404 Not Found", "NoSuchUpload")),
            pytest.raises(Storage, match="its parts are gone") as failed,
        ):
            files.write("a", put(in_parts))
        assert failed.value.may_pass
        with pytest.raises(NotFound):
            files.stat("a")

    def test_of_two_large_files_of_one_name_the_one_that_is_there_stays(
        self, files: DataFiles, s3: S3Server, in_parts: bytes
    ) -> None:
        def overtaken(asked: dict[str, Any]) -> tuple[str, str] | None:
            if not completes(asked):
                return None
            s3.put_raw(f"{files.url.removeprefix('s3://')}/a", b"theirs")
            return "404 Not Found", "NoSuchUpload"

        with s3.upsetting(overtaken), pytest.raises(AlreadyExists):
            files.write("a", put(in_parts))
        with files.open("a") as source:
            assert source.read() == b"theirs"

    def test_an_append_whose_reply_is_lost_is_there_once(self, store: Store, s3: S3Server) -> None:
        journal = Journal(store, "events", "test")
        with s3.upsetting(Fail(is_put, "", "lost", times=1)):
            journal.append({"n": 1})
        journal.append({"n": 2})
        assert [entry.body["n"] for entry in journal.entries()] == [1, 2]

    @pytest.mark.parametrize("status", ["503 Slow Down", "500 Internal Server Error"])
    def test_what_asks_for_patience_is_tried_again(self, store: Store, s3: S3Server, status: str) -> None:
        with s3.upsetting(Fail(always, status, "SlowDown", times=ATTEMPTS - 1)):
            assert store.put_if_absent("a", b"x") is True
        with s3.upsetting(Fail(always, status, "SlowDown", times=ATTEMPTS - 1)):
            assert store.get("a") == b"x"

    def test_a_server_that_hangs_is_asked_three_times(
        self, store: Store, s3: S3Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store.put_if_absent("a", b"x")
        faster = 40  # than in earnest; more, and a busy machine has no time for the third
        for of, name in ((s3_client._TIMEOUTS, "timeout"), (s3_client._RETRIES, "retry_timeout")):
            monkeypatch.setitem(of, name, of[name] / faster)
        s3_client._client.cache_clear()
        until = threading.Event()

        def hang(_: dict[str, Any]) -> None:
            until.wait(20)

        with s3.upsetting(hang), s3.counting() as asked, pytest.raises(Storage, match="no answer") as failed:
            store.get("a")
        until.set()
        assert failed.value.may_pass
        assert len(asked) == 3

    def test_what_goes_on_asking_for_patience_is_an_error_that_may_pass(self, store: Store, s3: S3Server) -> None:
        told = r"reading a in s3://\S+/p failed: SlowDown; it asks for fewer"
        throttled = s3.upsetting(Fail(always, "503 Slow Down", "SlowDown"))
        with throttled, s3.counting() as asked, pytest.raises(Storage, match=told) as failed:
            store.get("a")
        assert failed.value.may_pass
        assert len(asked) == ATTEMPTS

    @pytest.mark.parametrize(
        ("status", "code", "advice"),
        [
            ("403 Forbidden", "AccessDenied", "needs rights there"),
            ("403 Forbidden", "InvalidAccessKeyId", "knows no such AWS_ACCESS_KEY_ID"),
            ("403 Forbidden", "SignatureDoesNotMatch", "AWS_SECRET_ACCESS_KEY"),
            ("400 Bad Request", "ExpiredToken", "get new credentials"),
            ("404 Not Found", "NoSuchBucket", "make the bucket first"),
        ],
    )
    def test_a_refusal_says_what_is_wrong_and_no_secret(
        self, store: Store, files: DataFiles, s3: S3Server, status: str, code: str, advice: str
    ) -> None:
        attempts: list[Callable[[], object]] = [
            lambda: store.get("a"),
            lambda: store.put_if_absent("a", b"x"),
            lambda: store.list(""),
            store.names,
            lambda: store.folders("a"),
            lambda: store.delete("a"),
            lambda: files.open("a"),
            lambda: files.list(""),
            lambda: files.write("a", put(b"x")),
            lambda: files.delete("a"),
        ]
        with s3.upsetting(Fail(always, status, code)):
            for attempt in attempts:
                with pytest.raises(Storage, match=rf"s3://bucket-\d+/p failed: {code}; .*{advice}") as refusal:
                    attempt()
                assert "AKIASECRET" not in str(refusal.value)
                assert refusal.value.__cause__ is None
                assert isinstance(pickle.loads(pickle.dumps(refusal.value)), Storage)

    def test_a_look_that_is_refused_without_a_word_is_told_by_its_status(self, files: DataFiles, s3: S3Server) -> None:
        with s3.upsetting(Fail(always, "403 Forbidden", "AccessDenied")), pytest.raises(Storage, match="AccessDenied"):
            files.stat("a")

    def test_a_bucket_that_is_not_there_is_no_empty_one(self, s3: S3Server) -> None:
        with pytest.raises(Storage, match="NoSuchBucket; make the bucket first"):
            open_store("s3://no-such-bucket/p").put_if_absent("a", b"x")
        store = open_store("s3://no-such-bucket/p", read_only=True)
        for attempt in (lambda: store.get("a"), lambda: store.list(""), lambda: Journal(store, "a", "test").tail()):
            with pytest.raises(Storage, match="NoSuchBucket"):
                attempt()
        with pytest.raises(Storage, match="NoSuchBucket"):
            open_files("s3://no-such-bucket/p").list("")

    def test_nobody_at_the_endpoint_is_said_so(self) -> None:
        with environment("http://127.0.0.1:1"), pytest.raises(Storage, match="no answer; check AWS_ENDPOINT_URL"):
            open_store("s3://bucket/p", read_only=True).get("a")

    def test_a_test_without_a_server_of_its_own_reaches_nobody(self) -> None:
        with pytest.raises(Storage, match="no answer"):
            open_store("s3://bucket/p").list("")

    def test_plain_http_to_another_machine_has_to_be_asked_for(self) -> None:
        with environment("http://192.0.2.1"), pytest.raises(Storage, match="AWS_ALLOW_HTTP"):
            open_store("s3://bucket/p", read_only=True).get("a")

    def test_a_write_that_fails_in_the_middle_leaves_nothing_that_counts(self, files: DataFiles, s3: S3Server) -> None:
        with s3.upsetting(Fail(is_put, "403 Forbidden", "AccessDenied")), pytest.raises(Storage):
            files.write("a", put(b"x"))
        with pytest.raises(NotFound):
            files.list("", suffix="")


class TestProbe:
    def test_a_look_alike_that_takes_the_condition_and_ignores_it_is_refused(self, s3: S3Server) -> None:
        def forget(asked: dict[str, Any]) -> None:
            asked.pop("HTTP_IF_NONE_MATCH", None)

        url = f"s3://{s3.make_bucket()}/p"
        with s3.upsetting(forget), pytest.raises(Storage, match=r"can't be used: it doesn't keep the first") as refusal:
            open_store(url).put_if_absent("a", b"x")
        assert url in str(refusal.value)
        assert open_store(url).list("") == []

    def test_who_may_only_read_opens_and_reads_and_is_refused_at_the_first_record(self, s3: S3Server) -> None:
        url = f"s3://{s3.make_bucket()}/p"
        open_store(url).put_if_absent("a/b", b"x")
        objects._probed.discard(url)  # as a process that has just begun
        with s3.upsetting(Fail(writes, "403 Forbidden", "AccessDenied")), s3.counting() as asked:
            with s3.counting() as looked:
                store = open_store(url)
                assert (store.get("a/b"), store.list(""), store.folders("")) == (b"x", ["a/b"], ["a"])
            assert {method for method, _ in looked} == {"GET"}
            with pytest.raises(Storage, match="AccessDenied; the account that runs this needs rights"):
                store.put_if_absent("c", b"y")
        assert not [path for _, path in asked if path.endswith("/c")]
        assert open_store(url).list("") == ["a/b"]

    def test_a_store_is_probed_before_its_first_record_and_no_other(self, s3: S3Server) -> None:
        url = f"s3://{s3.make_bucket()}/p"
        with s3.counting() as asked:
            for key in ("a", "b"):
                for store in (open_store(url), pickle.loads(pickle.dumps(open_store(url)))):
                    store.put_if_absent(key, b"x")
        tried = {path for method, path in asked if method == "PUT" and "/probe-" in path}
        assert len(tried) == 1
        assert asked[0][1] in tried


class TestUrls:
    @pytest.mark.parametrize(
        ("url", "message"),
        [
            ("s3://", "name of a bucket"),
            ("s3:///a", "name of a bucket"),
            ("s3://Bucket/a", "name of a bucket"),
            ("s3://key:secret@bucket/x", "without credentials"),
            ("s3://bucket/x?token=secret", "without credentials"),
            ("s3://bucket/x#secret", "without credentials"),
            ("s3://bucket/a//b", "expected a prefix"),
            ("s3://bucket/../b", "expected a prefix"),
            ("s3://bucket/" + "a" * 200, "expected a prefix"),
        ],
    )
    def test_what_is_no_place_is_refused_without_its_secrets(self, url: str, message: str) -> None:
        for attempt in (open_store, open_files):
            with pytest.raises(InvalidInput, match=message) as refusal:
                attempt(url)
            assert "secret" not in str(refusal.value)

    @pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT"])
    def test_an_endpoint_that_is_no_url_is_told_by_its_variable_alone(
        self, monkeypatch: pytest.MonkeyPatch, variable: str
    ) -> None:
        with environment("", secret="hidden"):
            monkeypatch.setenv(variable, "http://[::1:secret")
            with pytest.raises(InvalidInput, match=f"{variable} is no URL") as refusal:
                open_store("s3://bucket/p").list("")
        assert "secret" not in str(refusal.value)

    def test_without_the_library_it_says_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "obstore.store", None)
        s3_client._client.cache_clear()
        with pytest.raises(InvalidInput, match=r"pip install 'dataops\[s3\]'"):
            open_store("s3://bucket/p", read_only=True).get("a")

    def test_importing_stores_loads_no_library_of_s3(self) -> None:
        script = "import sys, dataops.storage.objects, dataops.storage.files; sys.exit('obstore' in sys.modules)"
        subprocess.run([sys.executable, "-c", script], check=True)


def test_a_forked_process_says_that_it_cannot_go_on_and_does_not_hang(s3: S3Server) -> None:
    store = open_store(f"s3://{s3.make_bucket()}/p")
    store.put_if_absent("a", b"x")
    child = os.fork()
    if child == 0:
        try:
            store.get("a")
        except Storage as error:
            os._exit(0 if "forked" in str(error) else 1)
        os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
