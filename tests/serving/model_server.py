"""Test double of TensorFlow Serving: a process that loads a SavedModel, and answers, as the official server does.

`python model_server.py --model_base_path=EXPORT_DIR/embedder` loads the highest version through a TF1 session (tag
`serve`, tensors by the names in the SignatureDef), replays `assets.extra/tf_serving_warmup_requests`, and serves gRPC
`Predict` and `GetModelMetadata` beside the REST API. Flags bear the official names; port 0 takes a free port. One line
of JSON on stdout says where it listens. Codes and rules follow the sources of TensorFlow Serving 2.20 (predict_util.cc,
json_tensor.cc, http_rest_api_handler.cc, http_server.cc). Batching, labels and the other services are left out.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import contextlib
import json
import math
import os
import re
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from google.protobuf.message import DecodeError
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    predict_pb2,
    prediction_log_pb2,
    prediction_service_pb2_grpc,
)

Code = grpc.StatusCode
INT32_MAX = 2**31 - 1  # the largest message that the official server takes over gRPC, and that gRPC can carry
WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"
MOST_WARMUP_REQUESTS = 1000
MESSAGE_LIMIT = 1024  # characters of an error that travel
CODES = {code.value[0]: code for code in Code}
HTTP_STATUS = {
    Code.INVALID_ARGUMENT: 400,
    Code.FAILED_PRECONDITION: 400,
    Code.OUT_OF_RANGE: 400,
    Code.NOT_FOUND: 404,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.UNIMPLEMENTED: 501,
    Code.UNAVAILABLE: 503,
    Code.DEADLINE_EXCEEDED: 504,
}
# The official server answers in these fields of a TensorProto, not in `tensor_content`.
VALUE_FIELDS = {
    tf.float32: "float_val",
    tf.int32: "int_val",
    tf.int64: "int64_val",
    tf.bool: "bool_val",
    tf.string: "string_val",
}


class Refused(Exception):
    """A request that gets an error, with the code and the message that the client sees."""

    def __init__(self, code: grpc.StatusCode, message: str):
        super().__init__(message)
        self.code, self.message = code, message[:MESSAGE_LIMIT]


class Model:
    """The highest version below a base path, in a TF1 session."""

    def __init__(self, name: str, base_path: Path):
        versions = [int(child.name) for child in base_path.glob("*") if child.name.isdigit()]
        if not versions:
            raise SystemExit(f"error: no versions of the model below {str(base_path)!r}.")
        self.name, self.version = name, max(versions)
        self.session = tf.compat.v1.Session(graph=tf.Graph())
        path = base_path / str(self.version)
        with self.session.graph.as_default():
            meta_graph = tf.compat.v1.saved_model.load(self.session, ["serve"], str(path))
        self.signatures = dict(meta_graph.signature_def)
        self.warmup_requests = self._warm_up(path / WARMUP_FILE)

    def _warm_up(self, path: Path) -> int:
        """Runs the recorded requests; one that fails stops the server, as it fails the load there."""
        records = list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator()) if path.exists() else []
        if len(records) > MOST_WARMUP_REQUESTS:
            raise SystemExit(f"error: {len(records)} warm-up requests, expected {MOST_WARMUP_REQUESTS} at most.")
        for number, record in enumerate(records):
            try:
                request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
                # Whatever name the request was recorded under, it warms the model that it lies beside.
                signature_name = request.model_spec.signature_name
                self.run(signature_name, from_protos(request.inputs, INT32_MAX), request.output_filter)
            except (Refused, DecodeError) as error:
                raise SystemExit(f"error: warm-up request {number} of {str(path)!r} fails: {error}.") from error
        return len(records)

    def check(self, name: str, version: int | None = None) -> None:
        if name != self.name or version not in (None, self.version):
            asked = f"Latest({name})" if version is None else f"Specific({name}, {version})"
            raise Refused(Code.NOT_FOUND, f"Servable not found for request: {asked}")

    def run(self, signature_name: str, inputs: dict, output_filter=()) -> dict:
        """Returns the outputs by name, for NumPy inputs by name."""
        signature_name = signature_name or "serving_default"
        if signature_name not in self.signatures:
            raise Refused(Code.FAILED_PRECONDITION, f'Serving signature key "{signature_name}" not found.')
        signature = self.signatures[signature_name]
        if inputs.keys() != signature.inputs.keys():
            extra, missing = inputs.keys() - signature.inputs.keys(), signature.inputs.keys() - inputs.keys()
            raise Refused(
                Code.INVALID_ARGUMENT,
                f"input size does not match signature: {len(inputs)}!={len(signature.inputs)}. "
                f"Sent extra: {{{','.join(sorted(extra))}}}. Missing but required: {{{','.join(sorted(missing))}}}.",
            )
        unknown = set(output_filter) - signature.outputs.keys()
        if unknown:
            raise Refused(Code.INVALID_ARGUMENT, f"output tensor alias not found in signature: {sorted(unknown)[0]}")
        # A Python session would cast a wrong dtype silently; the official server, in C++, refuses it.
        for name, array in inputs.items():
            info = signature.inputs[name]
            if not tf.TensorShape(info.tensor_shape).is_compatible_with(array.shape) or (
                tf.as_dtype(array.dtype) != tf.as_dtype(info.dtype)
            ):
                raise Refused(
                    Code.INVALID_ARGUMENT,
                    f"{name} is {tf.as_dtype(array.dtype).name} {list(array.shape)}, expected "
                    f"{tf.as_dtype(info.dtype).name} {tf.TensorShape(info.tensor_shape)}",
                )
        fetches = {name: signature.outputs[name].name for name in output_filter or signature.outputs}
        try:
            return self.session.run(fetches, {signature.inputs[name].name: inputs[name] for name in inputs})
        except tf.errors.OpError as error:
            raise Refused(CODES[error.error_code], error.message) from error

    def metadata(self) -> get_model_metadata_pb2.GetModelMetadataResponse:
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name = self.name
        response.model_spec.version.value = self.version
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, signature in self.signatures.items():
            signatures.signature_def[name].CopyFrom(signature)
        response.metadata["signature_def"].Pack(signatures)
        return response


def from_protos(protos, most_bytes: int) -> dict:
    """Returns the arrays of a gRPC request; Refused where a proto is no tensor, or claims to be a huge one."""
    arrays = {}
    for name, proto in protos.items():
        try:
            shape = [dimension.size for dimension in proto.tensor_shape.dim]
            # One value may stand for a whole tensor: without this a few bytes could ask for all memory.
            if min(shape, default=1) < 0 or math.prod(shape) * tf.as_dtype(proto.dtype).size > most_bytes:
                raise ValueError(f"its shape is {shape}")
            arrays[name] = tf.make_ndarray(proto)
        except (ValueError, TypeError, KeyError) as error:
            raise Refused(Code.INVALID_ARGUMENT, f"{name} is no tensor: {error}") from error
    return arrays


def to_proto(array: np.ndarray) -> TensorProto:
    dtype = tf.as_dtype(array.dtype)
    proto = TensorProto(dtype=dtype.as_datatype_enum, tensor_shape=tf.TensorShape(array.shape).as_proto())
    getattr(proto, VALUE_FIELDS[dtype]).extend(array.ravel().tolist())
    return proto


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """gRPC."""

    def __init__(self, model: Model, most_bytes: int):
        self.model, self.most_bytes = model, most_bytes

    def Predict(self, request, context):
        response = predict_pb2.PredictResponse()
        try:
            self._check(request.model_spec)
            inputs = from_protos(request.inputs, self.most_bytes)
            outputs = self.model.run(request.model_spec.signature_name, inputs, request.output_filter)
        except Refused as refusal:
            context.abort(refusal.code, refusal.message)
        for name, array in outputs.items():
            response.outputs[name].CopyFrom(to_proto(array))
        response.model_spec.CopyFrom(request.model_spec)
        response.model_spec.version.value = self.model.version
        return response

    def GetModelMetadata(self, request, context):
        try:
            self._check(request.model_spec)
            if list(request.metadata_field) != ["signature_def"]:
                raise Refused(Code.INVALID_ARGUMENT, f"Metadata fields {list(request.metadata_field)} not supported")
        except Refused as refusal:
            context.abort(refusal.code, refusal.message)
        return self.model.metadata()

    def _check(self, spec) -> None:
        self.model.check(spec.name, spec.version.value if spec.HasField("version") else None)


def is_base64(value) -> bool:
    return isinstance(value, dict) and list(value) == ["b64"] and isinstance(value["b64"], str)


def from_json(value, dtype: tf.DType) -> np.ndarray:
    """Returns the array of nested lists; Refused where they are ragged, or not of this type."""
    try:
        if dtype == tf.string:
            array = np.array(strings(value), object)
            fits = all(isinstance(element, bytes) for element in array.ravel())
        else:
            array = np.array(value)
            fits = array.dtype.kind in ("iuf" if dtype.is_floating else "i") or array.size == 0
    except (ValueError, OverflowError, binascii.Error) as error:
        raise Refused(Code.INVALID_ARGUMENT, f"Failed to process JSON value: {error}") from error
    if not fits:
        raise Refused(Code.INVALID_ARGUMENT, f"JSON Value: {str(value)[:200]} is not of expected type: {dtype.name}")
    # 256 becomes 0 in a uint8, as there.
    return array if dtype == tf.string else array.astype(dtype.as_numpy_dtype)


def strings(value):
    if isinstance(value, list):
        return [strings(element) for element in value]
    if is_base64(value):
        return base64.b64decode(value["b64"], validate=True)
    return value.encode() if isinstance(value, str) else value


def from_rows(rows, infos) -> dict:
    """Returns the inputs of the row format: one value, or one object with all names, for each row."""
    if not isinstance(rows, list) or not rows:
        raise Refused(Code.INVALID_ARGUMENT, "Expecting 'instances' to be a list with values")
    named = [isinstance(row, dict) and not is_base64(row) for row in rows]
    if not any(named):
        if len(infos) > 1:
            raise Refused(Code.INVALID_ARGUMENT, "instances is a plain list, but expecting list of objects")
        return {name: from_json(rows, tf.as_dtype(info.dtype)) for name, info in infos.items()}
    for number, row in enumerate(rows):
        if not named[number] or row.keys() != infos.keys():
            names = ",".join(sorted(infos))
            raise Refused(Code.INVALID_ARGUMENT, f"Failed to process element: {number}, keys must be equal to: {names}")
    return {name: from_json([row[name] for row in rows], tf.as_dtype(info.dtype)) for name, info in infos.items()}


def from_columns(columns, infos) -> dict:
    """Returns the inputs of the column format: one value, or an object of names; other names in it are ignored."""
    if not isinstance(columns, dict) or is_base64(columns):
        if len(infos) > 1:
            raise Refused(Code.INVALID_ARGUMENT, "inputs is a plain value/list, but expecting an object")
        columns = dict.fromkeys(infos, columns)
    for name in infos:
        if name not in columns:
            raise Refused(Code.INVALID_ARGUMENT, f"Missing named input: {name} in 'inputs' object.")
    return {name: from_json(columns[name], tf.as_dtype(info.dtype)) for name, info in infos.items()}


def to_json(array: np.ndarray) -> list:
    if array.dtype == object:
        return np.vectorize(bytes.decode, otypes=[object])(array).tolist()
    # The fewest digits that give the same float32, as there: 0.2, not 0.20000000298.
    return (array.astype(str).astype(float) if array.dtype == np.float32 else array).tolist()


class RestHandler(BaseHTTPRequestHandler):
    """REST; `model` and `most_bytes` are set on the subclass that serves."""

    protocol_version = "HTTP/1.1"
    model: Model
    most_bytes: int

    def do_POST(self):
        self._answer(self._predict)

    def do_GET(self):
        self._answer(self._describe)

    def log_message(self, *arguments):
        pass

    def handle(self):
        with contextlib.suppress(ConnectionError):  # a client that did not wait for its answer
            super().handle()

    def _answer(self, method) -> None:
        try:
            status, content = 200, method()
        except Refused as refusal:
            status, content = HTTP_STATUS.get(refusal.code, 500), {"error": refusal.message}
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _match(self, ending: str) -> re.Match:
        found = re.fullmatch(r"/v1/models/([^/:]+)(?:/versions/(\d+))?" + ending, self.path)
        if not found:
            raise Refused(Code.INVALID_ARGUMENT, f"Malformed request: {self.command} {self.path}")
        self.model.check(found[1], None if found[2] is None else int(found[2]))
        return found

    def _body(self) -> dict:
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > self.most_bytes:
            self.close_connection = True  # the body is not read
            raise Refused(Code.INVALID_ARGUMENT, f"Content-Length {length!r}, expected 0 to {self.most_bytes}")
        try:
            content = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError) as error:
            raise Refused(Code.INVALID_ARGUMENT, f"JSON Parse error: {error}") from error
        if not isinstance(content, dict):
            raise Refused(Code.INVALID_ARGUMENT, "JSON Value: Is not object")
        return content

    def _predict(self) -> dict:
        content = self._body()  # first, so that the next request on this connection starts where it should
        self._match(":predict")
        signature_name = content.get("signature_name", "serving_default")
        if not isinstance(signature_name, str):
            raise Refused(Code.INVALID_ARGUMENT, "'signature_name' key must be a string value.")
        if signature_name not in self.model.signatures:
            message = f'Serving signature name: "{signature_name}" not found in signature def'
            raise Refused(Code.INVALID_ARGUMENT, message)
        infos = self.model.signatures[signature_name].inputs
        if ("instances" in content) == ("inputs" in content):
            raise Refused(Code.INVALID_ARGUMENT, "Missing 'inputs' or 'instances' key, or both are there")
        in_rows = "instances" in content
        inputs = from_rows(content["instances"], infos) if in_rows else from_columns(content["inputs"], infos)
        columns = {name: to_json(array) for name, array in self.model.run(signature_name, inputs).items()}
        if len(columns) == 1:
            return {"predictions" if in_rows else "outputs": next(iter(columns.values()))}
        rows = [dict(zip(columns, row)) for row in zip(*columns.values())]
        return {"predictions": rows} if in_rows else {"outputs": columns}

    def _describe(self) -> dict:
        if self._match("(/metadata)?")[3] is None:
            status = {"error_code": "OK", "error_message": ""}
            version = {"version": str(self.model.version), "state": "AVAILABLE", "status": status}
            return {"model_version_status": [version]}
        metadata = self.model.metadata()
        signatures = get_model_metadata_pb2.SignatureDefMap()
        metadata.metadata["signature_def"].Unpack(signatures)
        spec, signatures = (
            json_format.MessageToDict(part, preserving_proto_field_name=True)
            for part in (metadata.model_spec, signatures)
        )
        return {"model_spec": spec, "metadata": {"signature_def": signatures}}


class RestServer(ThreadingHTTPServer):
    """Threads that end with the process, and a queue that no burst of clients overflows."""

    daemon_threads = True
    request_queue_size = 128


def parse_flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model_base_path", type=Path, required=True, help="folder of the numbered versions")
    parser.add_argument("--model_name", default="embedder")
    parser.add_argument("--port", type=int, default=0, help="of gRPC; 0 takes a free one")
    parser.add_argument("--rest_api_port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--max_message_bytes", type=int, default=INT32_MAX, help="largest request, gRPC and REST")
    return parser.parse_args()


def main() -> int:
    flags = parse_flags()
    tf.get_logger().setLevel("ERROR")
    model = Model(flags.model_name, flags.model_base_path)
    sizes = [("grpc.max_receive_message_length", flags.max_message_bytes), ("grpc.max_send_message_length", INT32_MAX)]
    grpc_server = grpc.server(ThreadPoolExecutor(max_workers=16), options=sizes)
    service = PredictionService(model, flags.max_message_bytes)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(service, grpc_server)
    grpc_port = grpc_server.add_insecure_port(f"127.0.0.1:{flags.port}")
    handler = type("Handler", (RestHandler,), {"model": model, "most_bytes": flags.max_message_bytes})
    rest_server = RestServer(("127.0.0.1", flags.rest_api_port), handler)

    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    grpc_server.start()
    threading.Thread(target=rest_server.serve_forever, daemon=True).start()
    report = {"grpc_port": grpc_port, "rest_api_port": rest_server.server_port}
    print(json.dumps({**report, "version": model.version, "warmup_requests": model.warmup_requests}), flush=True)
    stopped.wait()
    rest_server.shutdown()
    grpc_server.stop(grace=0.5).wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
