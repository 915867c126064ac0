"""Client of a served embedder over REST: embeds, compares and searches photos. Needs neither keras_reid nor TensorFlow.

    python client_rest.py embed A.jpg B.png       one line of JSON for each photo
    python client_rest.py compare A.jpg B.jpg     their distance and, where calibrated, same person or not
    python client_rest.py search A.jpg            the nearest of the gallery, where the model was exported with one

`embed` sends the files as they are. `compare` and `search` send pixels, ten times as many characters: for large photos
the gRPC client is faster. The functions can be copied into other programs: `predict` is the whole protocol.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import sys
from pathlib import Path

try:
    import requests
    from PIL import Image, ImageOps
except ImportError as error:
    sys.exit(f"error: {error}: python -m pip install -r {Path(__file__).with_name('requirements.txt')} first.")

IMAGES_PER_REQUEST = 32  # bounds the memory of the server, however many photos are given
NO_IMAGE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)  # what Pillow raises


class ServerError(Exception):
    """The server's own message, or that there is none."""


def predict(url: str, signature: str, inputs: dict, *, model: str = "embedder", timeout: float = 30):
    """Asks one signature in the column format: all rows of an input together.

    Returns:
        A list where the signature has one output, otherwise a list for each output by name.
    """
    address = f"{url.rstrip('/')}/v1/models/{model}:predict"
    try:
        answer = requests.post(address, json={"signature_name": signature, "inputs": inputs}, timeout=timeout)
        content = answer.json()
    except requests.exceptions.JSONDecodeError as error:
        raise ServerError(f"{address} is no TensorFlow Serving (status {answer.status_code}).") from error
    except requests.exceptions.RequestException as error:
        if "timed out" in str(error):  # while sending, a ConnectionError and no `Timeout`
            raise ServerError(f"{url} gave no answer in time: see --timeout.") from error
        raise ServerError(f"no TensorFlow Serving answers at {url} ({type(error).__name__}).") from error
    if not isinstance(content, dict):
        raise ServerError(f"{address} is no TensorFlow Serving (status {answer.status_code}).")
    if "outputs" in content:
        return content["outputs"]
    message = " ".join(str(content.get("error", content)).split())
    if answer.status_code == 404:
        raise ServerError(f"{url} serves no model {model!r} ({message[:200]}).")
    if "signature" in message.lower() and "not found" in message:
        how = ": export it with --gallery=EMBEDDINGS" if signature == "search" else f" {signature!r}"
        raise ServerError(f"the model {model!r} has no signature{how} ({message[:200]}).")
    raise ServerError(f"{url} refused the request: {message[:300]} (status {answer.status_code}).")


def read_bytes(path: str) -> dict:
    """Returns an image file as JSON carries bytes: JPEG and PNG as they are, others as PNG.

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
    return {"b64": base64.b64encode(content).decode()}


def as_seen(image: Image.Image) -> Image.Image:
    """Returns a photo in RGB and upright, as the package reads it.

    Cameras store photos turned and note how in EXIF. Of 16 bits of gray the upper 8 count: Pillow would clip to white.
    """
    image = ImageOps.exif_transpose(image)
    return (image.point(lambda value: value / 256) if image.mode.startswith("I") else image).convert("RGB")


def read_image(path: str) -> list:
    """Returns a photo as lists [1][H][W][3] of 0..255, RGB. Raises OSError where it is no image."""
    try:
        with Image.open(path) as image:
            seen = as_seen(image)
    except NO_IMAGE as error:
        raise OSError(f"{path} cannot be read as an image: {error}") from error
    pixels, width = seen.tobytes(), seen.width
    colors = [list(pixels[start : start + 3]) for start in range(0, len(pixels), 3)]
    return [[colors[start : start + width] for start in range(0, len(colors), width)]]


def embed(url: str, image_files: list, **options) -> list:
    """Returns the embeddings [N][D] of photos of any sizes; the server decodes and resizes them."""
    files = [read_bytes(path) for path in image_files]
    chunks = [files[start : start + IMAGES_PER_REQUEST] for start in range(0, len(files), IMAGES_PER_REQUEST)]
    return [row for chunk in chunks for row in predict(url, "serve_bytes", {"image_bytes": chunk}, **options)]


def compare(url: str, first: str, second: str, **options) -> tuple:
    """Returns the distance of two photos, and whether it is the same person: None where no threshold is calibrated."""
    inputs = {"first_images": read_image(first), "second_images": read_image(second)}
    outputs = predict(url, "compare", inputs, **options)
    if isinstance(outputs, list):
        return outputs[0], None
    return outputs["distance"][0], outputs["same_person"][0]


def search(url: str, path: str, **options) -> list:
    """Returns (id, distance, row in the gallery file) of the nearest, the nearest first."""
    outputs = predict(url, "search", {"images": read_image(path)}, **options)
    return list(zip(outputs["ids"][0], outputs["distances"][0], outputs["rows"][0]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["embed", "compare", "search"])
    parser.add_argument("images", nargs="+")
    parser.add_argument("--url", default="http://localhost:8501", help="of the REST API")
    parser.add_argument("--model", default="embedder")
    parser.add_argument("--timeout", type=float, default=30, help="seconds for each request")
    flags = parser.parse_args()
    if flags.command != "embed" and len(flags.images) != {"compare": 2, "search": 1}[flags.command]:
        parser.error(f"{flags.command} takes {'two images' if flags.command == 'compare' else 'one image'}")

    options = {"model": flags.model, "timeout": flags.timeout}
    try:
        if flags.command == "embed":
            for path, embedding in zip(flags.images, embed(flags.url, flags.images, **options)):
                print(json.dumps({"image": path, "embedding": embedding}))
        elif flags.command == "compare":
            distance, same_person = compare(flags.url, *flags.images, **options)
            answer = {None: "no threshold is calibrated", True: "same person", False: "different people"}[same_person]
            print(f"distance {distance:.6g}: {answer}\nthis is a hint, never a proof of identity")
        else:
            found = search(flags.url, flags.images[0], **options)
            print(f"{'rank':>4} {'distance':>10} {'row':>8}  id")
            for rank, (name, distance, row) in enumerate(found, 1):
                print(f"{rank:>4} {distance:>10.6g} {row:>8}  {name}")
    except (ServerError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
