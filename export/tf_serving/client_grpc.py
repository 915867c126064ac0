"""Client of a served embedder over gRPC: embeds, compares and searches photos. Needs no keras_reid.

    python client_grpc.py embed A.jpg B.png       one line of JSON for each photo
    python client_grpc.py compare A.jpg B.jpg     their distance and, where calibrated, same person or not
    python client_grpc.py search A.jpg            the nearest of the gallery, where the model was exported with one

The functions can be copied into other programs: `predict` is the whole protocol.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # tensorflow-serving-api imports TensorFlow, which is talkative

try:
    import grpc
    import numpy as np
    import tensorflow as tf
    from PIL import Image, ImageOps
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc
except ImportError as error:
    sys.exit(f"error: {error}: python -m pip install -r {Path(__file__).with_name('requirements.txt')} first.")

IMAGES_PER_REQUEST = 32  # bounds the memory of the server, however many photos are given
NO_IMAGE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)  # what Pillow raises
# gRPC's own limit for an answer is 4 MB, less than the embeddings of a large request.
ANY_SIZE = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


def connect(host: str) -> prediction_service_pb2_grpc.PredictionServiceStub:
    """Returns a stub that many threads may share; it connects at the first request."""
    return prediction_service_pb2_grpc.PredictionServiceStub(grpc.insecure_channel(host, options=ANY_SIZE))


def predict(stub, signature: str, inputs: dict, *, model: str = "embedder", timeout: float = 30) -> dict:
    """Asks one signature; returns its outputs by name as NumPy arrays. Raises grpc.RpcError."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    response = stub.Predict(request, timeout)
    return {name: tf.make_ndarray(proto) for name, proto in response.outputs.items()}


def read_bytes(path: str) -> bytes:
    """Returns an image file: JPEG and PNG as they are, others as PNG.

    The server puts photos upright. Raises OSError where it is no image: the server could not name the file.
    """
    try:
        with Image.open(path) as image:  # reads the header alone
            content = Path(path).read_bytes()
            if image.format not in ("JPEG", "MPO", "PNG"):
                as_seen(image).save(png := io.BytesIO(), "PNG")
                content = png.getvalue()
    except NO_IMAGE as error:
        raise OSError(f"{path} cannot be read as an image: {error}") from error
    return content


def as_seen(image: Image.Image) -> Image.Image:
    """Returns a photo in RGB and upright, as the package reads it.

    Cameras store photos turned and note how in EXIF. Of 16 bits of gray the upper 8 count: Pillow would clip to white.
    """
    image = ImageOps.exif_transpose(image)
    return (image.point(lambda value: value / 256) if image.mode.startswith("I") else image).convert("RGB")


def read_image(path: str) -> np.ndarray:
    """Returns a photo as uint8 [1, H, W, 3] RGB. Raises OSError where it is no image."""
    try:
        with Image.open(path) as image:
            return np.asarray(as_seen(image))[None]
    except NO_IMAGE as error:
        raise OSError(f"{path} cannot be read as an image: {error}") from error


def embed(stub, image_files: list, **options) -> np.ndarray:
    """Returns the embeddings float32 [N, D] of photos of any sizes; the server decodes and resizes them."""
    contents = [read_bytes(path) for path in image_files]
    chunks = [contents[start : start + IMAGES_PER_REQUEST] for start in range(0, len(contents), IMAGES_PER_REQUEST)]
    return np.concatenate(
        [predict(stub, "serve_bytes", {"image_bytes": chunk}, **options)["embedding"] for chunk in chunks]
    )


def compare(stub, first: str, second: str, **options) -> tuple:
    """Returns the distance of two photos, and whether it is the same person: None where no threshold is calibrated."""
    inputs = {"first_images": read_image(first), "second_images": read_image(second)}
    outputs = predict(stub, "compare", inputs, **options)
    return float(outputs["distance"][0]), bool(outputs["same_person"][0]) if "same_person" in outputs else None


def search(stub, path: str, **options) -> list:
    """Returns (id, distance, row in the gallery file) of the nearest, the nearest first."""
    outputs = predict(stub, "search", {"images": read_image(path)}, **options)
    ids = [name.decode() if isinstance(name, bytes) else int(name) for name in outputs["ids"][0]]
    return list(zip(ids, outputs["distances"][0].tolist(), outputs["rows"][0].tolist()))


def explain(error: grpc.RpcError, host: str, model: str, command: str) -> str:
    """Returns what went wrong in one line."""
    code, details = error.code().name, " ".join((error.details() or "").split())[:300]
    known = {
        "UNAVAILABLE": f"no TensorFlow Serving answers at {host}",
        "NOT_FOUND": f"{host} serves no model {model!r}",
        "DEADLINE_EXCEEDED": f"{host} gave no answer in time: see --timeout",
    }
    if "signature" in details.lower() and "not found" in details:
        how = ": export it with --gallery=EMBEDDINGS" if command == "search" else f" for {command}"
        return f"the model {model!r} has no signature{how} ({details})."
    return f"{known.get(code, f'{host} refused the request')} ({details}, {code})."


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["embed", "compare", "search"])
    parser.add_argument("images", nargs="+")
    parser.add_argument("--host", default="localhost:8500", help="host and gRPC port")
    parser.add_argument("--model", default="embedder")
    parser.add_argument("--timeout", type=float, default=30, help="seconds for each request")
    flags = parser.parse_args()
    if flags.command != "embed" and len(flags.images) != {"compare": 2, "search": 1}[flags.command]:
        parser.error(f"{flags.command} takes {'two images' if flags.command == 'compare' else 'one image'}")

    stub, options = connect(flags.host), {"model": flags.model, "timeout": flags.timeout}
    try:
        if flags.command == "embed":
            for path, embedding in zip(flags.images, embed(stub, flags.images, **options)):
                print(json.dumps({"image": path, "embedding": embedding.tolist()}))
        elif flags.command == "compare":
            distance, same_person = compare(stub, *flags.images, **options)
            answer = {None: "no threshold is calibrated", True: "same person", False: "different people"}[same_person]
            print(f"distance {distance:.6g}: {answer}\nthis is a hint, never a proof of identity")
        else:
            found = search(stub, flags.images[0], **options)
            print(f"{'rank':>4} {'distance':>10} {'row':>8}  id")
            for rank, (name, distance, row) in enumerate(found, 1):
                print(f"{rank:>4} {distance:>10.6g} {row:>8}  {name}")
    except grpc.RpcError as error:
        print(f"error: {explain(error, flags.host, flags.model, flags.command)}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: {error}.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
