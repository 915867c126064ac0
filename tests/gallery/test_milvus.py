"""Milvus: a server that does not answer costs a bounded time and one line; Milvus Lite promises little."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from keras_reid.errors import ReidError
from keras_reid.gallery import Gallery
from tests.gallery.engines import address, crowd

pytest.importorskip("pymilvus", reason="the extra milvus is not installed")
ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(params=["nobody listens", "nobody answers"])
def port(request):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if request.param == "nobody answers":
            server.listen()
        yield server.getsockname()[1]


def test_a_server_that_does_not_answer_is_one_line_in_bounded_time(port):
    start = time.monotonic()
    with pytest.raises(ReidError, match="no answer from Milvus within 2 seconds") as caught:
        Gallery(f"http://127.0.0.1:{port}", timeout=2)
    assert time.monotonic() - start < 20 and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["no name", "1st", "a;b", "x" * 300])
def test_the_name_of_a_gallery_on_a_server_is_a_word(name):
    with pytest.raises(ReidError, match="is no name of a collection"):
        Gallery(f"http://127.0.0.1:1#{name}")


def test_milvus_lite_says_that_what_is_forgotten_may_stay_in_its_files(tmp_path):
    uri, people = address("milvus", tmp_path), crowd(30)
    with Gallery(uri) as gallery:
        people.into(gallery)
        forgotten = gallery.forget(identity="Alice")
    assert not forgotten.proven
    assert forgotten.proof.startswith(
        ("not physically removed: Milvus Lite keeps", "not promised: Milvus Lite may keep")
    )


def test_more_neighbors_than_milvus_gives_are_found_all_the_same(tmp_path, monkeypatch):
    from keras_reid.gallery import milvus

    monkeypatch.setattr(milvus, "_MOST_NEIGHBORS", 50)
    people = crowd(60)
    with Gallery(address("milvus", tmp_path)) as gallery:
        people.into(gallery)
        hits = gallery.search(people.embeddings[1], 60).hits
    expected = np.sort(np.linalg.norm(people.embeddings.astype(float) - people.embeddings[1], axis=1))
    np.testing.assert_allclose(hits.distance, expected, rtol=1e-9, atol=1e-12)


def test_a_file_that_is_no_database_is_one_line(tmp_path):
    address("milvus", tmp_path)
    (tmp_path / "people.db").write_bytes(b"no database" * 1000)
    with pytest.raises(ReidError, match="Milvus Lite cannot open it") as caught:
        Gallery(tmp_path / "people.db").count()
    assert "\n" not in str(caught.value)
    with pytest.raises(ReidError, match="there is no folder"):
        Gallery(tmp_path / "away" / "people.db")


def test_milvus_lite_leaves_no_logs_in_the_temporary_folder(tmp_path):
    """Version 2.5 writes two files a process there; 3 has no server of its own."""
    code = "import sys; from keras_reid.gallery import Gallery; import numpy as np; "
    code += "Gallery(sys.argv[1]).add(np.ones(4), source='a')"
    with tempfile.TemporaryDirectory() as folder:  # a short path: that of its socket may have 107 bytes
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": folder}
        subprocess.run([sys.executable, "-c", code, address("milvus", tmp_path)], env=environment, check=True)
        assert not os.listdir(folder)
