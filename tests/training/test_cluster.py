"""TF_CONFIG: who is who, what is refused; and workers that wait for each other."""

import json
import socket
import subprocess
import sys
import threading

import pytest

from keras_reid.errors import ReidError
from keras_reid.launch import free_places, gpus_of_workers
from keras_reid.training.cluster import Cluster, read_cluster

TWO = ["a:1", "b:2"]


def config(cluster, kind="worker", index=0):
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})}


@pytest.mark.parametrize(
    ("environment", "workers", "rank"),
    [
        ({}, ("",), 0),
        ({"TF_CONFIG": "{}"}, ("",), 0),
        (config({"worker": TWO}, index=1), ("a:1", "b:2"), 1),
        (config({"chief": ["c:3"], "worker": TWO}, index=1), ("c:3", "a:1", "b:2"), 2),
        (config({"worker": TWO, "chief": ["c:3"]}, "chief"), ("c:3", "a:1", "b:2"), 0),
    ],
)
def test_who_is_who(environment, workers, rank):
    assert read_cluster("auto", environment) == Cluster(workers, rank)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("worker0", "Expecting value"),
        ("[1]", "list"),
        (json.dumps({"cluster": {"worker": TWO}}), "no 'type'"),
        (config({"worker": TWO}, index=2)["TF_CONFIG"], "a task 2 of 2"),
        (config({"worker": TWO, "ps": ["p:1"]})["TF_CONFIG"], "a job 'ps'"),
        (config({"worker": ["a:1", "a:1"]})["TF_CONFIG"], "a worker twice"),
        (config({"worker": ["a", "b:1"]})["TF_CONFIG"], "no host:port"),
        (config({"worker": TWO}, "chief")["TF_CONFIG"], "no 'chief'"),
        (config({"worker": ["a:99999", "b:1"]})["TF_CONFIG"], "a port from 1 to 65535"),
        (config({"worker": [":1", "b:1"]})["TF_CONFIG"], "no host:port"),
        (config({"worker": {"a": "b:1"}})["TF_CONFIG"], "workers that are no list"),
        (config({"worker": TWO})["TF_CONFIG"].replace('"index": 0', '"index": 1e400'), "TF_CONFIG is not as expected"),
    ],
)
def test_what_tf_config_cannot_be(text, reason):
    with pytest.raises(ReidError, match="TF_CONFIG is not as expected") as error:
        read_cluster("multi_worker", {"TF_CONFIG": text})
    assert reason in str(error.value)


def test_tf_config_and_strategy_must_agree():
    with pytest.raises(ReidError, match="^strategy=multi_worker, but TF_CONFIG is not set"):
        read_cluster("multi_worker", {})
    with pytest.raises(ReidError, match="^strategy=one, but TF_CONFIG names 2 workers"):
        read_cluster("one", config({"worker": TWO}))


def test_a_worker_whose_port_is_taken_says_so_before_the_chief_waits_for_it():
    chief, taken = free_places(2)
    with socket.create_server(("", int(taken.split(":")[1]))):
        with pytest.raises(ReidError, match="of TF_CONFIG cannot be used .* give worker 1 another one"):
            Cluster((chief, taken), 1).meet(seconds=5)


def test_workers_meet_at_the_chiefs_port():
    places, came = tuple(free_places(3)), []
    threads = [
        threading.Thread(target=lambda rank=rank: (Cluster(places, rank).meet(30), came.append(rank)))
        for rank in (1, 2, 0)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(came) == [0, 1, 2]


@pytest.mark.parametrize(
    ("rank", "message"), [(0, r"these did not come: 1 \(127.0.0.1:"), (1, "the chief, 127.0.0.1:")]
)
def test_who_does_not_come_is_named(rank, message):
    with pytest.raises(ReidError, match=message):
        Cluster(tuple(free_places(2)), rank).meet(0.5)


@pytest.mark.parametrize(("seconds", "exit_code"), [(0.5, -9), (60, 0)])
def test_a_start_that_waits_for_the_dead_ends_though_no_python_runs(seconds, exit_code):
    program = f"""
import ctypes
from keras_reid.training.cluster import Cluster
with Cluster(("a:1", "b:2"), 1).start_watched({seconds}):
    ctypes.PyDLL(None).sleep(3)  # holds Python's lock, as TensorFlow does
"""
    worker = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert worker.returncode == exit_code
    said = "error: worker 1 waited 0 s for another one, which must have ended since they met. "
    assert worker.stderr.startswith(said) if exit_code else worker.stderr == ""


def test_workers_of_a_host_are_counted():
    assert Cluster(("a:1", "b:2", "a:3"), 2).on_this_host == 2


def test_launch_shares_out_the_gpus(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5,7")
    assert [share["CUDA_VISIBLE_DEVICES"] for share in gpus_of_workers(2)] == ["3,7", "5"]
    with pytest.raises(ReidError, match="--workers=4, but there are 3 GPUs"):
        gpus_of_workers(4)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpus_of_workers(2) == [{}, {}]
