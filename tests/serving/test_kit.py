"""The kit of `export/`, without keras_reid: its clients, configurations and pages, against a server that is a process.

The server is the test double of `model_server.py`. Expected numbers come from the reference model.
"""

import base64
import importlib
import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest
import requests
import yaml
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from PIL import Image
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    predict_pb2,
    prediction_log_pb2,
    prediction_service_pb2_grpc,
)
from tensorflow_serving.config import model_server_config_pb2

from keras_reid.artifacts import artifact_of
from keras_reid.artifacts.formats import tflite
from keras_reid.artifacts.formats.search import Gallery
from keras_reid.keras2 import tf
from tests.artifacts.formats.versions import write_version
from tests.conftest import tiny_embedder
from tests.serving import model_server

KIT = Path(__file__).resolve().parents[2] / "export"
LITERT = os.environ.get("KERAS_REID_PYTHON_LITERT")
METADATA = {"format_version": 1, "embedding_size": 8, "image_size": [32, 16], "metric": "euclidean"}
CALIBRATED = {**METADATA, "threshold": 0.5, "false_positive_rate": 0.001, "threshold_dataset": "somewhere"}
IDS = np.arange(20) % 7 + 100
SMALL_MESSAGES = 50_000
PYTHON_BLOCKS = re.findall(r"```python\n(.*?)```", (KIT / "README.md").read_text(), re.DOTALL)
# Each curl command of the page, and the JSON that it is said to give.
CURLS = re.findall(r"```bash\n([^`]*curl[^`]*)```(?:\n```json\n(.*?)```)?", (KIT / "README.md").read_text(), re.DOTALL)


def start_server(base_path, *flags: str):
    process = subprocess.Popen(
        [sys.executable, model_server.__file__, f"--model_base_path={base_path}", *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    line = process.stdout.readline()
    assert line, process.communicate()[1]
    report = json.loads(line)
    host, url = f"localhost:{report['grpc_port']}", f"http://localhost:{report['rest_api_port']}"
    return types.SimpleNamespace(process=process, report=report, host=host, url=url)


def stop_server(server) -> None:
    """SIGTERM ends it in order, whatever it was sent before."""
    assert server.process.poll() is None
    server.process.send_signal(signal.SIGTERM)
    errors = server.process.communicate(timeout=30)[1]
    assert server.process.returncode == 0, errors
    assert "Traceback" not in errors


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(0)
    for name, size in {"A.jpg": (64, 32), "B.png": (90, 40), "C.bmp": (31, 17), "large.png": (1500, 1000)}.items():
        Image.fromarray(random.integers(0, 256, (*size, 3), np.uint8)).save(folder / name)
    (folder / "none.jpg").write_bytes(b"no image")
    (folder / "cut.jpg").write_bytes((folder / "A.jpg").read_bytes()[:700])
    return folder


@pytest.fixture(scope="module")
def embedder():
    """Weights as after training: of a BatchNormalization with shift 0, TensorFlow 2.15 makes int16 files that abort."""
    embedder, random = tiny_embedder(), np.random.default_rng(0)
    embedder.set_weights([weights + random.uniform(0, 0.3, weights.shape) for weights in embedder.get_weights()])
    return embedder


@pytest.fixture(scope="module")
def base_path(embedder, tmp_path_factory) -> Path:
    """Versions 1, the plain one, and 2, with a threshold and a gallery of 20."""
    path = tmp_path_factory.mktemp("export") / "embedder"
    gallery = np.random.default_rng(1).normal(0, 0.3, (20, 8)).astype(np.float32)
    write_version(embedder, path, METADATA)
    rows = np.arange(20, dtype=np.int32)
    write_version(embedder, path, CALIBRATED, gallery=Gallery(IDS, gallery, rows), neighbors=3)
    return path


@pytest.fixture(scope="module")
def servers(base_path, tmp_path_factory):
    """One with everything, and one of version 1 alone that takes small messages only."""
    plain = tmp_path_factory.mktemp("plain")
    shutil.copytree(base_path / "1", plain / "1")
    with ThreadPoolExecutor() as pool:
        full = pool.submit(start_server, base_path)
        small = pool.submit(start_server, plain, f"--max_message_bytes={SMALL_MESSAGES}")
        servers = full.result(), small.result()
    yield servers
    with ThreadPoolExecutor() as pool:
        list(pool.map(stop_server, servers))


@pytest.fixture
def server(servers):
    yield servers[0]
    assert requests.get(f"{servers[0].url}/v1/models/embedder", timeout=20).status_code == 200  # it lives on


@pytest.fixture
def plain_server(servers):
    yield servers[1]
    assert requests.get(f"{servers[1].url}/v1/models/embedder", timeout=20).status_code == 200


MANY = ["A.jpg", "B.png", "C.bmp", *["A.jpg"] * 31, "large.png"]  # more than one request takes
COMMANDS = {"embed": MANY, "compare": ["A.jpg", "B.png"], "search": ["A.jpg"]}


@pytest.fixture(scope="module")
def runs(servers, photos) -> dict:
    """Each command of each client, as its user types it, by (protocol, command); side by side to save time."""

    def run(protocol: str, command: str) -> subprocess.CompletedProcess:
        flag, place = {"grpc": ("--host", servers[0].host), "rest": ("--url", servers[0].url)}[protocol]
        program = [sys.executable, KIT / "tf_serving" / f"client_{protocol}.py", command, *COMMANDS[command]]
        return subprocess.run([*program, flag, place], cwd=photos, capture_output=True, text=True, timeout=120)

    with ThreadPoolExecutor(4) as pool:
        keys = [(protocol, command) for protocol in ("grpc", "rest") for command in COMMANDS]
        return dict(zip(keys, pool.map(run, *zip(*keys))))


@pytest.fixture
def refused(monkeypatch, capsys, photos):
    """Runs a program of the kit inside this process; returns its one line."""

    def run(program: str, *arguments: str) -> str:
        monkeypatch.syspath_prepend(KIT / "tf_serving")
        monkeypatch.chdir(photos)
        monkeypatch.setattr(sys, "argv", [program, *arguments])
        assert importlib.import_module(program).main() == 1
        shown = capsys.readouterr()
        assert shown.out == "" and shown.err.startswith("error: ") and shown.err.count("\n") == 1, shown
        return shown.err

    return run


def reference(embedder, path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return artifact_of(embedder).embed(np.asarray(image.convert("RGB"))[None])[0]


def cosine(first, second) -> float:
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    return first @ second / np.linalg.norm(first) / np.linalg.norm(second)


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_a_client_embeds_as_the_reference_model_does(runs, protocol, photos, embedder):
    run = runs[protocol, "embed"]
    assert run.returncode == 0, run.stderr
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    assert [line["image"] for line in lines] == MANY
    for line in lines[:4] + lines[-1:]:
        expected = reference(embedder, photos / line["image"])
        assert cosine(line["embedding"], expected) >= 0.9999
        np.testing.assert_allclose(line["embedding"], expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_a_client_compares(runs, protocol, photos, embedder):
    run = runs[protocol, "compare"]
    distance = np.linalg.norm(reference(embedder, photos / "A.jpg") - reference(embedder, photos / "B.png"))
    shown = re.match(r"distance (\S+): (.*)\n", run.stdout)
    assert float(shown[1]) == pytest.approx(distance, rel=1e-3)
    assert shown[2] == ("same person" if distance <= 0.5 else "different people")
    assert "never a proof of identity" in run.stdout


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_a_client_searches(runs, protocol, photos, embedder):
    run = runs[protocol, "search"]
    gallery = np.random.default_rng(1).normal(0, 0.3, (20, 8)).astype(np.float32)
    distances = np.linalg.norm(gallery - reference(embedder, photos / "A.jpg"), axis=1)
    nearest = np.argsort(distances)[:3]
    found = [line.split() for line in run.stdout.splitlines()[1:]]
    assert [(int(rank), int(row), int(name)) for rank, _, row, name in found] == [
        (rank, row, IDS[row]) for rank, row in enumerate(nearest, 1)
    ]
    np.testing.assert_allclose([float(line[1]) for line in found], distances[nearest], rtol=1e-3)


def test_without_a_threshold_nobody_is_called_the_same(plain_server, monkeypatch, photos, capsys):
    for protocol, place in (("grpc", ["--host", plain_server.host]), ("rest", ["--url", plain_server.url])):
        monkeypatch.syspath_prepend(KIT / "tf_serving")
        program, images = f"client_{protocol}", [str(photos / "C.bmp"), str(photos / "C.bmp")]
        monkeypatch.setattr(sys, "argv", [program, "compare", *images, *place])
        assert importlib.import_module(program).main() == 0
        assert capsys.readouterr().out.startswith("distance 0: no threshold is calibrated\n")


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["embed", "none.jpg"], "none.jpg"),
        (["embed", "A.jpg", "absent.jpg"], "absent.jpg"),
        (["embed", "A.jpg", "cut.jpg"], "refused the request.*JPEG"),
        (["compare", "A.jpg", "none.jpg"], "none.jpg cannot be read as an image"),
        (["compare", "A.jpg", "cut.jpg"], "cut.jpg cannot be read as an image"),
        (["embed", "A.jpg", "--model", "other"], r"serves no model 'other' \(Servable not found"),
        (["embed", "large.png", "--timeout", "0.001"], "gave no answer in time"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_goes_wrong_is_one_line(server, refused, protocol, arguments, message):
    place = ["--host", server.host] if protocol == "grpc" else ["--url", server.url]
    assert re.search(message, refused(f"client_{protocol}", *arguments, *place))


def test_a_search_that_was_not_exported_is_named(plain_server, refused):
    places = {"client_grpc": ["--host", plain_server.host], "client_rest": ["--url", plain_server.url]}
    for program, place in places.items():
        assert "no signature: export it with --gallery=EMBEDDINGS" in refused(program, "search", "C.bmp", *place)


def test_a_server_that_is_not_there_is_named(refused):
    grpc_place, rest_place = "--host=localhost:1", "--url=http://localhost:1"
    assert "no TensorFlow Serving answers at localhost:1" in refused("client_grpc", "embed", "A.jpg", grpc_place)
    assert "no TensorFlow Serving answers at http://localhost:1" in refused("client_rest", "embed", "A.jpg", rest_place)
    assert "http://localhost:1" in refused("load", "--protocol=rest", "--seconds=1", rest_place)
    assert "Connection refused" in refused("load", "--protocol=grpc", "--seconds=1", grpc_place)


def test_a_command_that_fails_ends_in_one_line_and_1(photos):
    command = [sys.executable, KIT / "tf_serving" / "client_rest.py", "embed", "A.jpg", "--url=http://localhost:1"]
    run = subprocess.run(command, cwd=photos, capture_output=True, text=True, timeout=120)
    assert run.returncode == 1 and run.stdout == "" and run.stderr.count("\n") == 1
    assert run.stderr.startswith("error: no TensorFlow Serving answers")


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_load_counts_what_was_answered(server, protocol, tmp_path):
    place = ["--host", server.host] if protocol == "grpc" else ["--url", server.url]
    flags = ["--seconds=1", "--concurrency=2", "--images_per_request=3", f"--protocol={protocol}", "--json=load.json"]
    run = subprocess.run(
        [sys.executable, KIT / "tf_serving" / "load.py", *flags, *place],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    numbers = json.loads((tmp_path / "load.json").read_text())
    assert numbers["errors"] == 0 and numbers["requests"] > 2
    # The last requests end after the second is over.
    assert numbers["requests"] * 3 / 10 < numbers["images_per_second"] <= numbers["requests"] * 3
    assert 0 < numbers["p50_ms"] <= numbers["p90_ms"] <= numbers["p99_ms"] <= numbers["max_ms"]
    names, values = (line.split() for line in run.stdout.splitlines())
    assert dict(zip(names, map(float, values))) == pytest.approx({name: numbers[name] for name in names}, rel=1e-4)


def test_load_goes_on_where_requests_fail(monkeypatch):
    """Three warm-up requests for its one thread, then every second request fails."""
    monkeypatch.syspath_prepend(KIT / "tf_serving")
    load, sent = importlib.import_module("load"), []

    def send():
        sent.append(None)
        if len(sent) > 3 and len(sent) % 2:
            raise OSError("no more")

    latencies, errors, elapsed = load.run(send, seconds=0.3, concurrency=1)
    assert len(latencies) + len(errors) == len(sent) - 3 and 0 <= len(latencies) - len(errors) <= 1
    numbers = load.summary([0.001, 0.002, 0.003], errors[:1], 0.5, images_per_request=4)
    assert (numbers["requests"], numbers["errors"], numbers["images_per_second"]) == (4, 1, 24.0)
    assert (numbers["p50_ms"], numbers["max_ms"]) == (pytest.approx(2), pytest.approx(3))
    assert load.summary([], errors, elapsed, 1)["p99_ms"] is None


def test_load_names_what_its_warm_up_met(plain_server, refused):
    place = ["--protocol=rest", f"--url={plain_server.url}"]
    assert "refused the request" in refused("load", *place, "--image=large.png")
    assert "no model 'other'" in refused("load", *place, "--model=other")


def post(server, content, path: str = "/v1/models/embedder:predict") -> requests.Response:
    body = content if isinstance(content, (bytes, str)) else json.dumps(content)
    return requests.post(server.url + path, data=body, timeout=30)


PIXELS = [[[1, 2, 3], [4, 5, 6]]]
PNG = CURLS[4][0].split('"b64": "')[1].split('"')[0]


@pytest.mark.parametrize(
    ("content", "status"),
    [
        ("", 400),
        ("{", 400),
        ("[" * 100_000, 400),
        ([], 400),
        ({}, 400),
        ({"instances": []}, 400),
        ({"instances": [PIXELS], "inputs": [PIXELS]}, 400),
        ({"instances": [PIXELS, [[[1, 2, 3]]]]}, 400),  # two sizes
        ({"instances": [[[[1, 2]]]]}, 400),  # two colors
        ({"instances": [[[[0.5, 1, 2]]]]}, 400),
        ({"instances": [[[["a", "b", "c"]]]]}, 400),
        ({"instances": [{"photos": PIXELS}]}, 400),
        ({"inputs": {"photos": [PIXELS]}}, 400),
        ({"inputs": 3}, 400),
        ({"signature_name": "sing", "instances": [PIXELS]}, 400),
        ({"signature_name": 3, "instances": [PIXELS]}, 400),
        ({"signature_name": "serve_bytes", "instances": [{"b64": "no base64!"}]}, 400),
        ({"signature_name": "serve_bytes", "instances": [{"b64": "bm8gaW1hZ2U="}]}, 400),
        ({"signature_name": "serve_bytes", "instances": [{"b64": PNG[:80]}]}, 400),
        ({"signature_name": "serve_bytes", "instances": [[["a"], ["b", "c"]]]}, 400),
        ({"signature_name": "serve_bytes", "instances": [3]}, 400),
        ({"signature_name": "compare", "instances": [PIXELS]}, 400),
        ({"signature_name": "compare", "inputs": {"first_images": [PIXELS]}}, 400),
        ({"signature_name": "compare", "inputs": {"first_images": [PIXELS] * 2, "second_images": [PIXELS]}}, 400),
    ],
)
def test_rest_refuses_what_is_wrong(server, content, status):
    answer = post(server, content)
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["error"] and answer.json()["error"]


def test_rest_knows_its_models_and_versions(server):
    for path in ("/v1/models/other:predict", "/v1/models/embedder/versions/1:predict"):  # the highest alone is served
        assert post(server, {"instances": [PIXELS]}, path).status_code == 404
    for path in ("/v1/models/embedder:sing", "/v1/embedder", "/"):
        assert post(server, {"instances": [PIXELS]}, path).status_code == 400
    default = post(server, {"instances": [PIXELS]}).json()
    assert post(server, {"instances": [PIXELS]}, "/v1/models/embedder/versions/2:predict").json() == default
    assert requests.get(f"{server.url}/v1/models/other", timeout=20).status_code == 404
    state = requests.get(f"{server.url}/v1/models/embedder/versions/2", timeout=20).json()["model_version_status"][0]
    assert (state["version"], state["state"]) == ("2", "AVAILABLE")


def test_a_request_that_is_too_large_is_refused_and_an_allowed_one_passes(servers, server, plain_server):
    images = np.zeros((1, 1500, 1000, 3), np.uint8)
    stub = prediction_service_pb2_grpc.PredictionServiceStub(grpc.insecure_channel(plain_server.host))
    request = predict_request("serving_default", images=images)
    with pytest.raises(grpc.RpcError) as error:
        stub.Predict(request, 20)
    assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert post(plain_server, " " * (SMALL_MESSAGES + 1)).status_code == 400
    stub = prediction_service_pb2_grpc.PredictionServiceStub(grpc.insecure_channel(server.host))
    assert tf.make_ndarray(stub.Predict(request, 20).outputs["embedding"]).shape == (1, 8)


def predict_request(signature: str, model: str = "embedder", version=None, **inputs) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = model, signature
    if version is not None:
        request.model_spec.version.value = version
    for name, value in inputs.items():
        is_proto = isinstance(value, TensorProto)
        request.inputs[name].CopyFrom(value if is_proto else tf.make_tensor_proto(value))
    return request


IMAGES = np.zeros((1, 8, 8, 3), np.uint8)
HUGE = tf.make_tensor_proto(np.uint8(0), shape=[1, 10**6, 10**6, 3])  # a few bytes that stand for 3 TB
CUT = tf.make_tensor_proto(IMAGES)
CUT.tensor_content = CUT.tensor_content[:10]
NOT_TYPED = TensorProto(dtype=99)


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (predict_request("serving_default", model="other", images=IMAGES), "NOT_FOUND"),
        (predict_request("serving_default", version=1, images=IMAGES), "NOT_FOUND"),
        (predict_request("sing", images=IMAGES), "FAILED_PRECONDITION"),
        (predict_request("serving_default"), "INVALID_ARGUMENT"),
        (predict_request("serving_default", images=IMAGES, more=IMAGES), "INVALID_ARGUMENT"),
        (predict_request("serving_default", photos=IMAGES), "INVALID_ARGUMENT"),
        (predict_request("serving_default", images=IMAGES.astype(np.float32)), "INVALID_ARGUMENT"),
        (predict_request("serve_float", images=IMAGES), "INVALID_ARGUMENT"),
        (predict_request("serving_default", images=IMAGES[0]), "INVALID_ARGUMENT"),
        (predict_request("serving_default", images=IMAGES[..., :2]), "INVALID_ARGUMENT"),
        (predict_request("serving_default", images=HUGE), "INVALID_ARGUMENT"),
        (predict_request("serving_default", images=CUT), "INVALID_ARGUMENT"),
        (predict_request("serving_default", images=NOT_TYPED), "INVALID_ARGUMENT"),
        (predict_request("serve_bytes", image_bytes=[b"no image"]), "INVALID_ARGUMENT"),
        (predict_request("serve_bytes", image_bytes=[base64.b64decode(PNG)[:60]]), "INVALID_ARGUMENT"),
        (predict_request("serve_bytes", image_bytes=[b""]), "INVALID_ARGUMENT"),
    ],
)
def test_grpc_refuses_what_is_wrong(server, request_, code):
    stub = prediction_service_pb2_grpc.PredictionServiceStub(grpc.insecure_channel(server.host))
    with pytest.raises(grpc.RpcError) as error:
        stub.Predict(request_, 20)
    assert error.value.code().name == code, error.value.details()


def test_grpc_answers_which_version_and_what_signatures(server, base_path):
    stub = prediction_service_pb2_grpc.PredictionServiceStub(grpc.insecure_channel(server.host))
    request = predict_request("compare", first_images=IMAGES, second_images=IMAGES)
    request.output_filter.append("distance")
    response = stub.Predict(request, 20)
    assert response.model_spec.version.value == 2
    assert {name: list(tensor.float_val) for name, tensor in response.outputs.items()} == {"distance": [0.0]}
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "embedder"
    signatures = get_model_metadata_pb2.SignatureDefMap()
    stub.GetModelMetadata(request, 20).metadata["signature_def"].Unpack(signatures)
    names = {"serving_default", "serve_float", "serve_bytes", "compare", "search"}
    assert names <= set(signatures.signature_def)
    shown = requests.get(f"{server.url}/v1/models/embedder/metadata", timeout=20).json()
    images = shown["metadata"]["signature_def"]["signature_def"]["serving_default"]["inputs"]["images"]
    assert images["dtype"] == "DT_UINT8"
    assert [dimension["size"] for dimension in images["tensor_shape"]["dim"]] == ["-1", "-1", "-1", "3"]


def test_the_server_replays_the_warm_up(servers, base_path, tmp_path):
    for server, signatures in zip(servers, (5, 4)):
        assert server.report["warmup_requests"] == signatures
    shutil.copytree(base_path / "1", tmp_path / "1")
    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.CopyFrom(predict_request("sing", images=IMAGES))
    with tf.io.TFRecordWriter(str(tmp_path / "1" / "assets.extra" / "tf_serving_warmup_requests")) as writer:
        writer.write(log.SerializeToString())
    with pytest.raises(SystemExit, match='error: warm-up request 0 .* signature key "sing" not found'):
        model_server.Model("embedder", tmp_path)


def shape_of(value):
    """What a JSON answer is made of: keys, depth of its lists, kinds of its values."""
    if isinstance(value, dict):
        return {key: shape_of(each) for key, each in value.items()}
    if isinstance(value, list):
        return [shape_of(value[0])]
    return type(value).__name__


@pytest.mark.parametrize(("command", "expected"), CURLS)
def test_the_requests_of_the_page_get_the_answers_of_the_page(server, photos, command, expected):
    """Run as they stand, but for the port."""
    command = command.replace("http://localhost:8501", server.url)
    if not shutil.which("curl"):
        pytest.skip("no curl here")
    run = subprocess.run(["bash", "-c", command], cwd=photos, capture_output=True, text=True, timeout=30)
    answer = json.loads(run.stdout)
    assert ("error" in answer) == ("error" in json.loads(expected or "{}")), answer
    if expected:
        assert shape_of(answer) == shape_of(json.loads(expected))


def test_rows_columns_and_protocols_agree(server, embedder):
    """All examples of the page that embed are of one image, but for half a color: so are their answers."""
    image = np.array([[[200, 30, 30], [200, 30, 30]], [[20, 20, 90], [20, 20, 90]]], np.uint8)
    expected = artifact_of(embedder).embed(image[None])[0]
    for command, _ in CURLS[:6]:
        content = json.loads(shlex.split(command)[-1])
        answer = post(server, content).json()
        assert cosine((answer.get("predictions") or answer["outputs"])[0], expected) > 0.9999
    # Files of one request may differ in size; as many rows as come in go out.
    file = io.BytesIO()
    Image.fromarray(np.tile(image, (3, 5, 1))).save(file, "PNG")
    files = [{"b64": PNG}, {"b64": base64.b64encode(file.getvalue()).decode()}]
    answer = post(server, {"signature_name": "serve_bytes", "instances": files}).json()["predictions"]
    assert cosine(answer[0], expected) > 0.9999 and len(answer) == 2


def test_the_page_speaks_of_every_signature_in_rows_and_columns():
    asked = [json.loads(shlex.split(command)[-1]) for command, _ in CURLS if ":predict -d '" in command]
    kinds = {(content.get("signature_name", "serving_default"), "instances" in content) for content in asked}
    names = ("serving_default", "serve_float", "serve_bytes", "compare", "search")
    assert kinds == {(name, in_rows) for name in names for in_rows in (True, False)} | {("sing", True)}


def test_the_python_of_the_page_runs(server, photos):
    """The first block needs no server, and runs among those of all pages."""
    environment = {**os.environ, "PYTHONPATH": str(KIT / "tf_serving")}
    code = "\n".join(PYTHON_BLOCKS[1:]).replace("localhost:8500", server.host)
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=photos, env=environment, capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stderr
    assert "distances" in run.stdout and run.stdout.endswith("(1, 8)\n")


def test_models_config_is_a_model_server_config():
    text, config = (KIT / "tf_serving" / "models.config").read_text(), model_server_config_pb2.ModelServerConfig()
    text_format.Parse(text, config)
    (model,) = config.model_config_list.config
    assert (model.name, model.model_platform) == ("embedder", "tensorflow")
    assert model.model_version_policy.latest.num_versions == 1
    volumes = {volume["target"] for volume in compose()["volumes"]}
    assert model.base_path in volumes


def message_class(name: str, fields: dict):
    """Returns a message built from the fields of its .proto: tensorflow-serving-api comes without these."""
    file = descriptor_pb2.FileDescriptorProto(name=f"{name}.proto", package="of_serving", syntax="proto3")
    file.dependency.append("google/protobuf/wrappers.proto")
    for message, its_fields in {**fields.pop("parts", {}), name: fields}.items():
        descriptor = file.message_type.add(name=message)
        for number, (field, kind) in enumerate(its_fields.items(), 1):
            kinds = descriptor_pb2.FieldDescriptorProto
            simple = {"bool": kinds.TYPE_BOOL, "string": kinds.TYPE_STRING, "int64": kinds.TYPE_INT64}
            label = kinds.LABEL_REPEATED if kind.startswith("repeated ") else kinds.LABEL_OPTIONAL
            kind = kind.replace("repeated ", "")
            if kind in simple:
                descriptor.field.add(name=field, number=number, label=label, type=simple[kind])
            else:
                descriptor.field.add(name=field, number=number, label=label, type=kinds.TYPE_MESSAGE, type_name=kind)
    pool = descriptor_pool.DescriptorPool()
    wrappers = descriptor_pb2.FileDescriptorProto()
    descriptor_pool.Default().FindFileByName("google/protobuf/wrappers.proto").CopyToProto(wrappers)
    pool.Add(wrappers)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"of_serving.{name}"))


def test_batching_config_is_batching_parameters():
    integer = ".google.protobuf.Int64Value"
    parameters = message_class(
        "BatchingParameters",
        {
            "max_batch_size": integer,
            "batch_timeout_micros": integer,
            "max_enqueued_batches": integer,
            "num_batch_threads": integer,
            "thread_pool_name": ".google.protobuf.StringValue",
            "allowed_batch_sizes": "repeated int64",
            "pad_variable_length_inputs": "bool",
            "enable_large_batch_splitting": ".google.protobuf.BoolValue",
            "max_execution_batch_size": integer,
        },
    )()
    text_format.Parse((KIT / "tf_serving" / "batching.config").read_text(), parameters)
    # A request of the clients fits, large ones are cut, and photos are never padded.
    assert 32 <= parameters.max_execution_batch_size.value <= parameters.max_batch_size.value
    assert parameters.enable_large_batch_splitting.value and not parameters.pad_variable_length_inputs
    assert 0 < parameters.batch_timeout_micros.value < 100_000


def test_monitoring_config_is_a_monitoring_config():
    prometheus = {"enable": "bool", "path": "string"}
    fields = {"parts": {"PrometheusConfig": prometheus}, "prometheus_config": ".of_serving.PrometheusConfig"}
    config = message_class("MonitoringConfig", fields)()
    text_format.Parse((KIT / "tf_serving" / "monitoring.config").read_text(), config)
    assert config.prometheus_config.enable
    assert f"http://localhost:8501{config.prometheus_config.path}" in (KIT / "README.md").read_text()


def compose(name: str = "compose.yaml") -> dict:
    return yaml.safe_load((KIT / "tf_serving" / name).read_text())["services"]["embedder"]


def test_compose_mounts_what_is_there(base_path):
    service = compose()
    assert re.fullmatch(r"tensorflow/serving:\d+\.\d+\.\d+", service["image"])
    models, config = service["volumes"]
    assert models["read_only"] and config["read_only"]
    source = re.sub(r"\$\{EXPORT_DIR:\?[^}]*\}", str(base_path.parent), models["source"])
    assert Path(source) == base_path and Path(source).is_dir()
    assert [port.split(":")[1:] for port in service["ports"]] == [["8500", "8500"], ["8501", "8501"]]
    for command in (service["command"], compose("compose.batching.yaml")["command"]):
        files = re.findall(rf"={config['target']}/(\S+)", " ".join(command))
        assert len(files) >= 2
        for file in files:
            assert (KIT / "tf_serving" / config["source"] / file).is_file()
    # What the other adds is batching alone.
    assert set(service["command"]) < set(compose("compose.batching.yaml")["command"])


def test_compose_turns_the_fast_kernels_on_unless_the_user_has_set_them():
    assert compose()["environment"] == {"TF_ENABLE_ONEDNN_OPTS": "${TF_ENABLE_ONEDNN_OPTS:-1}"}


def test_the_health_check_knows_a_server_that_is_ready(server):
    kind, *command = compose()["healthcheck"]["test"]
    assert kind == "CMD"
    port = str(server.report["rest_api_port"])
    assert subprocess.run([part.replace("8501", port) for part in command], timeout=20).returncode == 0
    gone = [part.replace("8501", "1") for part in command]
    assert subprocess.run(gone, timeout=20, stderr=subprocess.DEVNULL).returncode != 0


needs_litert = pytest.mark.skipif(not LITERT, reason="KERAS_REID_PYTHON_LITERT names no Python with ai-edge-litert")


def compare_lite(*arguments) -> subprocess.CompletedProcess:
    command = [LITERT, KIT / "tflite" / "compare.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@needs_litert
@pytest.mark.parametrize("kind", ["float32", "int16"])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_the_program_for_tflite_measures_as_the_reference_model_does(embedder, photos, tmp_path, kind, metric):
    model, paths = tmp_path / "model.tflite", (photos / "A.jpg", photos / "B.png")
    calibration = np.random.default_rng(0).integers(0, 256, (20, 64, 32, 3), np.uint8)
    tflite.write(embedder, model, {**CALIBRATED, "metric": metric}, kind=kind, calibration_images=calibration)
    first, second = (reference(embedder, path) for path in paths)
    distance = np.linalg.norm(first - second) if metric == "euclidean" else 1 - cosine(first, second)
    run = compare_lite(model, *paths)
    assert run.returncode == 0, run.stderr
    line, *others = run.stdout.splitlines()
    assert line.startswith(f"{metric} distance: ")
    assert float(line.split()[-1]) == pytest.approx(distance, rel=1e-3 if kind == "float32" else 0.2, abs=1e-5)
    assert others[0] == f"{'same person' if distance <= 0.5 else 'different people'}: the threshold is 0.5"
    assert "0.001 of the impostor pairs" in others[1] and "somewhere" in others[1]


@needs_litert
def test_the_program_for_tflite_refuses_in_one_line(embedder, photos, tmp_path):
    model = tflite.write(embedder, tmp_path / "model.tflite", METADATA)
    content = bytearray(model.read_bytes())
    content[1500] ^= 255
    (tmp_path / "damaged.tflite").write_bytes(content)
    (tmp_path / "cut.tflite").write_bytes(content[:2000])
    a, none = photos / "A.jpg", photos / "none.jpg"
    assert "no threshold is calibrated" in compare_lite(model, a, a).stdout
    for arguments, message in (
        ((tmp_path / "damaged.tflite", a, a), "damaged.tflite is damaged"),
        ((tmp_path / "cut.tflite", a, a), "cut.tflite holds no reid.json"),
        ((tmp_path / "absent.tflite", a, a), "absent.tflite"),
        ((model, a, none), "none.jpg cannot be read as an image"),
    ):
        run = compare_lite(*arguments)
        assert run.returncode == 1 and run.stdout == "" and run.stderr.count("\n") == 1, run.stderr
        assert run.stderr.startswith("error: ") and message in run.stderr


@pytest.mark.parametrize("program", [*map(str, KIT.glob("t*/*.py"))])
def test_a_program_without_its_requirements_says_so_in_one_line(program):
    run = subprocess.run([sys.executable, "-I", "-S", program, "--help"], capture_output=True, text=True)
    requirements = Path(program).with_name("requirements.txt")
    assert (run.returncode, run.stdout) == (1, "") and requirements.exists()
    assert re.fullmatch(
        rf"error: No module named '\w+': python -m pip install -r {re.escape(str(requirements))} first.\n", run.stderr
    )


@pytest.mark.parametrize("program", ["tf_serving/client_grpc.py", "tf_serving/client_rest.py", "tflite/compare.py"])
def test_programs_see_photos_as_the_package_does(tmp_path, program):
    """Gray of 16 bits by its upper 8, where Pillow alone takes all above 255 as white; and upright, as EXIF demands.

    The clients send a WebP file, which the server does not know, as PNG with the same pixels.
    """
    gray = np.arange(24, dtype=np.uint16).reshape(6, 4) * 2700
    Image.fromarray(gray).save(tmp_path / "gray.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (5, 3, 3), np.uint8))
    for name in ("turned.png", "turned.webp"):
        photo.save(tmp_path / name, exif=exif, lossless=True)
    names = ["gray.png", "turned.png", "turned.webp"]
    code = f"import json, numpy as np, {Path(program).stem} as kit\n"
    code += f"print(json.dumps([np.array(kit.read_image(name)).tolist() for name in {names}]))\n"
    if "client" in program:
        code += "sent = kit.read_bytes('turned.webp')\nfrom base64 import b64decode\n"
        code += "open('sent.png', 'wb').write(b64decode(sent['b64']) if isinstance(sent, dict) else sent)\n"
    environment = {**os.environ, "PYTHONPATH": str(KIT / Path(program).parent)}
    python = sys.executable
    if "tflite" in program:
        if not LITERT:
            pytest.skip("KERAS_REID_PYTHON_LITERT names no interpreter")
        python = LITERT
    read = subprocess.run([python, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert read.returncode == 0, read.stderr
    seen = json.loads(read.stdout.splitlines()[-1])
    np.testing.assert_array_equal(seen[0], np.repeat(gray[None, ..., None] >> 8, 3, axis=-1))
    for pixels in seen[1:]:  # turned by a quarter, clockwise
        np.testing.assert_array_equal(pixels, np.rot90(np.asarray(photo), -1)[None])
    if "client" in program:
        sent = tf.io.decode_png((tmp_path / "sent.png").read_bytes())
        np.testing.assert_array_equal(sent, np.rot90(np.asarray(photo), -1))
