"""A gallery in a folder: it survives kills, full disks and other processes, and what it forgets is gone."""

import itertools
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from keras_reid.errors import ReidError
from keras_reid.gallery import Gallery, store
from keras_reid.gallery.lance import LanceEngine
from tests.gallery.engines import address, crowd

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def uri(tmp_path) -> str:
    return address("lance", tmp_path)


def files_with(folder, content: bytes) -> list[Path]:
    return [path for path in Path(folder).rglob("*") if path.is_file() and content in path.read_bytes()]


def bytes_left(folder, people, rows) -> int:
    """How many of these embeddings stand anywhere in a folder."""
    return sum(bool(files_with(folder, people.embeddings[row].tobytes())) for row in rows)


# --- Forgetting ---


@pytest.mark.parametrize("forgotten", [1, 400, 1000], ids=["one", "many", "all"])
def test_what_is_forgotten_stands_in_no_file(uri, forgotten):
    """One of a thousand too: LanceDB alone rewrites a file only when a tenth of it is deleted."""
    people = crowd(1000)
    people.embeddings[:] = np.random.default_rng(0).normal(size=people.embeddings.shape)
    rows = range(forgotten)
    people.known["identity"] = ["forgotten person" if row in rows else "somebody" for row in range(1000)]
    people.known["source"] = [f"{'gone' if row in rows else 'kept'}-{row}" for row in range(1000)]
    with Gallery(uri) as gallery:
        people.into(gallery, slice(0, 600))
        people.into(gallery, slice(600, 1000))
        gallery.compact()
        assert bytes_left(uri, people, range(0, 1000, 100)) == 10 and files_with(uri, b"gone-0")
        result = gallery.forget(identity="forgotten person")
        assert (result.entries, result.proven) == (forgotten, True) and result.proof.startswith("proven: none of")
        assert bytes_left(uri, people, rows) == 0
        assert not files_with(uri, b"forgotten person") and not files_with(uri, b"gone-")
        assert gallery.count() == 1000 - forgotten
        if forgotten < 1000:
            _, embeddings = gallery.entries(embeddings=True)
            assert {row.tobytes() for row in embeddings} == {row.tobytes() for row in people.embeddings[forgotten:]}
            assert bytes_left(uri, people, range(forgotten, 1000, 100)) > 0


def test_an_embedding_that_somebody_else_has_too_is_no_proof_against(uri):
    with Gallery(uri) as gallery:
        gallery.add(np.ones((2, 16)), identity=["Ann", "Bob"], source=["a", "b"])
        assert gallery.forget(identity="Ann").proven
        assert gallery.search(np.ones(16)).hits.identity.tolist() == ["Bob"]


@pytest.fixture
def interruptible():
    """Ctrl-C interrupts, also where a shell has started the tests behind `&`, with the signal ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_forget_that_is_interrupted_is_ended_by_the_next_writer(uri, monkeypatch, interruptible):
    people = crowd(200)
    people.embeddings[:] = np.random.default_rng(0).normal(size=people.embeddings.shape)
    rows = np.flatnonzero(people.known.identity == "Alice")
    with Gallery(uri) as gallery:
        people.into(gallery)
        with monkeypatch.context() as patch:
            patch.setattr(LanceEngine, "purge", lambda self: os.kill(os.getpid(), signal.SIGINT) or time.sleep(1))
            with pytest.raises(KeyboardInterrupt):
                gallery.forget(identity="Alice")
    for write in (lambda gallery: gallery.add(np.ones(16), source="x"), lambda gallery: gallery.forget(identity="Eve")):
        with Gallery(uri) as gallery:
            assert gallery.count(identities="Alice") == 0
            if gallery.header.unfinished_forget:
                assert bytes_left(uri, people, rows) == len(rows)
            write(gallery)
            assert not gallery.header.unfinished_forget and bytes_left(uri, people, rows) == 0


STEPS = ("log", "header", "delete", "purge", "rewritten", "entries cleaned", "records cleaned, header")


@pytest.mark.parametrize("everybody", [False, True], ids=["some", "all"])
def test_a_forget_killed_before_any_step_is_ended_and_proven_by_the_same_command(tmp_path, monkeypatch, everybody):
    people = crowd(40)
    people.embeddings[:] = np.random.default_rng(0).normal(size=people.embeddings.shape)
    people.known["identity"] = ["gone person" if everybody or row < 3 else "Bo" for row in range(40)]
    gone, left = range(40 if everybody else 3), range(40 if everybody else 3, 40)
    made = address("lance", tmp_path)
    with Gallery(made) as gallery:
        people.into(gallery, slice(0, 20))
        people.into(gallery, slice(20, 40))
    for number, step in enumerate(STEPS):
        uri, calls = shutil.copytree(made, tmp_path / step), itertools.count()
        with monkeypatch.context() as patch:
            for name in ("put_record", "delete", "purge", "_optimize"):
                function = getattr(LanceEngine, name)
                patch.setattr(LanceEngine, name, killed_at_call(number, calls, function))
            with pytest.raises(SystemExit):
                Gallery(uri).forget(identity="gone person")
        with Gallery(uri) as gallery:
            result = gallery.forget(identity="gone person")
            assert result.proven and not gallery.header.unfinished_forget and gallery.count() == len(left)
        # Once it is deleted there is nothing to look for: then no file may be left that was there before.
        assert result.proof.startswith("an interrupted forget is ended" if number > 2 else "proven: none of"), step
        assert bytes_left(uri, people, gone) == 0 and not files_with(uri, b"gone person"), step
        assert bytes_left(uri, people, left) == len(left), step


def killed_at_call(number: int, calls, function):
    def call(*arguments, **options):
        if next(calls) == number:
            raise SystemExit("killed")
        return function(*arguments, **options)

    return call


FORGET = """
import sys
from keras_reid.gallery import Gallery
from keras_reid.gallery.lance import LanceEngine
delete = LanceEngine.delete
LanceEngine.delete = lambda *arguments: (delete(*arguments), print("deleted", flush=True))
Gallery(sys.argv[1]).forget(identity="Alice")
"""


def test_a_forget_that_is_really_killed_loses_nobody_else(uri):
    people = crowd(3000, 64)
    people.embeddings[:] = np.random.default_rng(0).normal(size=people.embeddings.shape)
    rows = np.flatnonzero(people.known.identity == "Alice")
    with Gallery(uri) as gallery:
        people.into(gallery)
    process = in_a_process(FORGET, uri)
    assert process.stdout.readline() == "deleted\n"
    process.kill()
    process.communicate()
    with Gallery(uri) as gallery:
        assert gallery.forget(identity="Alice").proven and gallery.count() == 3000 - len(rows)
        _, embeddings = gallery.entries(embeddings=True)
    kept = np.delete(people.embeddings, rows, axis=0)
    assert {row.tobytes() for row in embeddings} == {row.tobytes() for row in kept}
    assert bytes_left(uri, people, rows[:20]) == 0


def test_what_a_killed_writer_left_goes_with_the_next_forget(uri):
    people = crowd(50)
    with Gallery(uri) as gallery:
        people.into(gallery)
        data = next(Path(uri, "entries.lance", "data").iterdir())
        orphan = data.with_name("0" * 40 + data.suffix)
        orphan.write_bytes(data.read_bytes())
        gallery.forget(identity="Alice")
        assert not orphan.exists()


# --- Approximate search ---


def test_approximate_search_tells_its_recall_and_forgets_as_well(uri):
    random = np.random.default_rng(0)
    embeddings = random.normal(size=(12_000, 16)).astype(np.float32)
    with Gallery(uri) as gallery:
        gallery.add(embeddings[:5000], source=[f"{n}" for n in range(5000)])
        assert gallery.search(embeddings[0], approximate=True).recall is None  # exact, and faster than an index
        gallery.add(embeddings[5000:], source=[f"{n}" for n in range(5000, 12_000)], identity="many")
        found = [gallery.search(query, 10, approximate=True) for query in embeddings[:20]]
        exact = [gallery.search(query, 10) for query in embeddings[:20]]
        assert exact[0].recall is None and 0.5 < found[0].recall <= 1
        recall = np.mean([len(set(a.hits.key) & set(b.hits.key)) / 10 for a, b in zip(found, exact)])
        assert abs(recall - found[0].recall) < 0.2
        for a, b in zip(found, exact):
            both = a.hits.merge(b.hits, on="key")
            assert len(both) and (both.distance_x == both.distance_y).all()  # float64, whoever chose the candidates
        one = embeddings[7]
        assert gallery.forget(source="7").proven and not files_with(uri, one.tobytes())
        assert gallery.header.recall is None


# --- Other processes ---


def test_a_second_writer_waits_and_then_says_so(uri, monkeypatch):
    monkeypatch.setattr(store, "_SECONDS_FOR_LOCK", 0.2)
    with Gallery(uri) as gallery:
        gallery.add(np.ones(4), source="a")
        with FileLock(Path(uri, ".lock")):
            for call in (
                lambda: gallery.add(np.ones(4), source="b"),
                lambda: gallery.forget(source="a"),
                gallery.compact,
            ):
                with pytest.raises(ReidError, match="another process is writing to it, for 0.2 seconds"):
                    call()
            assert gallery.count() == 1 and len(gallery.search(np.ones(4)).hits) == 1  # readers go on
        assert gallery.add(np.ones(4), source="b").new == 1


def test_writers_and_readers_at_once_lose_nothing_and_see_whole_states(uri):
    people, wrong, end = crowd(400), [], threading.Event()
    with Gallery(uri) as gallery:
        people.into(gallery, slice(0, 100))

    def write(start: int) -> None:
        with Gallery(uri) as gallery:
            for first in range(start, start + 150, 50):
                people.into(gallery, slice(first, first + 60))  # both write some of the same
                gallery.forget(source=f"day 0/{start - 100}.jpg")

    def read() -> None:
        with Gallery(uri) as gallery:
            while not end.is_set():
                count = len(gallery.search(people.embeddings[0], 1000).hits)
                if count < 98:
                    wrong.append(count)

    def kept(function, *arguments):
        def run():
            try:
                function(*arguments)
            except BaseException as error:
                wrong.append(error)

        return threading.Thread(target=run)

    reader, writers = kept(read), [kept(write, 100), kept(write, 240)]
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    end.set()
    reader.join()
    assert not wrong
    with Gallery(uri) as gallery:
        sources = gallery.entries()[0].source.tolist()
    assert len(sources) == len(set(sources))
    assert set(sources) == set(people.known.source) - {"day 0/0.jpg", "day 0/140.jpg"} or (
        set(sources) == set(people.known.source) - {"day 0/0.jpg"}  # 140 was added after it was forgotten
    )


def test_two_writers_without_a_lock_add_each_entry_once(uri, monkeypatch):
    """As in a bucket, which has none: LanceDB commits one after the other, and the key is its primary key."""
    monkeypatch.setattr(LanceEngine, "lock_file", None)
    people, failed = crowd(240), []
    with Gallery(uri) as gallery:
        people.into(gallery, slice(0, 1))

    def write() -> None:
        try:
            with Gallery(uri) as gallery:
                for first in range(0, 240, 30):
                    people.into(gallery, slice(first, first + 30))
        except ReidError as error:
            failed.append(error)

    writers = [threading.Thread(target=write) for _ in range(2)]
    for thread in writers:
        thread.start()
    for thread in writers:
        thread.join()
    assert not failed
    with Gallery(uri) as gallery:
        sources = gallery.entries()[0].source
        assert len(sources) == sources.nunique() == 240 and len(gallery._store.engine.records()) >= 9


ADD = """
import sys
import numpy as np
from keras_reid.gallery import Gallery
import tests.gallery.engines as engines
import keras_reid.gallery.adding as adding
adding._ROWS_AT_ONCE, record = 500, adding.audit.record
adding.audit.record = lambda *arguments: (print("a part begins", flush=True), record(*arguments))
people = engines.crowd(20_000, 32)
with Gallery(sys.argv[1]) as gallery:
    print(people.into(gallery))
"""


def in_a_process(code: str, uri: str, **options) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", code, uri], env=environment, **pipes, **options)


@pytest.mark.slow
def test_twenty_kills_during_add_lose_nothing_and_add_nothing_twice(uri):
    random, counts = np.random.default_rng(0), [0]
    for _ in range(20):
        process = in_a_process(ADD, uri)
        for _ in range(random.integers(1, 4)):
            process.stdout.readline()
        time.sleep(random.uniform(0, 0.03))  # a part takes about that long
        process.kill()
        process.communicate()
        with Gallery(uri) as gallery:
            counts.append(gallery.count())
        assert counts[-1] >= counts[-2] and counts[-1] % 500 == 0  # a part is there, or none of it
    assert len(set(counts)) > 5 and counts[-1] < 20_000  # the kills came in the middle of it
    people = crowd(20_000, 32)
    with Gallery(uri) as gallery:
        people.into(gallery)
        entries, embeddings = gallery.entries(embeddings=True)
        assert len(entries) == 20_000 and entries.source.nunique() == 20_000
        rows = entries.source.str.extract(r"/(\d+)\.")[0].astype(int)
        np.testing.assert_array_equal(embeddings, people.embeddings[rows])
        assert gallery.forget(identity="Alice").proven  # what the killed ones left is no longer there either
    gone = np.flatnonzero(people.known.identity == "Alice")[:20]
    unique = [row for row in gone if (people.embeddings == people.embeddings[row]).all(axis=1).sum() == 1]
    assert bytes_left(uri, people, unique) == 0


def test_a_full_disk_is_one_line_and_keeps_what_was_there(uri):
    with Gallery(uri) as gallery:
        gallery.add(np.ones(32), source="first")

    def no_file_grows():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    process = in_a_process(ADD, uri, preexec_fn=no_file_grows)
    error = process.communicate()[1].strip().splitlines()[-1]
    assert process.returncode == 1 and "No space left on the disk" in error and "is kept" in error
    with Gallery(uri) as gallery:
        assert gallery.count() == 1 and gallery.add(np.ones(32) * 2, source="second").new == 1


@pytest.mark.parametrize("how", ["cut", "flipped", "gone", "table"])
@pytest.mark.parametrize("what", ["entries.lance/data", "entries.lance/_versions", "records.lance/data"])
def test_a_damaged_folder_is_one_line(uri, what, how):
    people = crowd(60)
    with Gallery(uri) as gallery:
        people.into(gallery)
        gallery.compact()
    for path in Path(uri, what).iterdir():
        content = path.read_bytes()
        if how == "gone":
            path.unlink()
        elif how == "table":
            path.write_bytes(b"no table at all")
        else:
            middle = len(content) // 2
            path.write_bytes(content[:middle] if how == "cut" else bytes(byte ^ 0xFF for byte in content))
    with pytest.raises(ReidError) as caught:
        with Gallery(uri) as gallery:
            gallery.search(people.embeddings[0])
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path):
    address("lance", tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ReidError, match="'notes.txt' in it, but no gallery"):
        Gallery(tmp_path)
    with pytest.raises(ReidError, match="is a file"):
        Gallery(tmp_path / "notes.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_gallery_of_a_later_version_is_refused(uri):
    with Gallery(uri) as gallery:
        gallery.add(np.ones(4), source="a")
        engine = gallery._store.engine
        engine.put_record("header", engine.records()["header"].replace('"format_version": 1', '"format_version": 2'))
    with pytest.raises(ReidError, match="format 2, this version reads 1: update keras_reid"):
        Gallery(uri)


def test_it_takes_no_tensorflow(uri):
    code = "import sys; from keras_reid.gallery import Gallery; import numpy as np; g = Gallery(sys.argv[1]); "
    code += "g.add(np.ones(4), source='a'); g.search(np.ones(4)); print('tensorflow' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code, uri], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "False\n", "")
