"""Load on a served embedder, over gRPC or REST: images per second and latencies, as a table and as JSON.

    python load.py --seconds=30 --concurrency=8 --images_per_request=4 --json=load.json

Each of `--concurrency` threads sends `serve_bytes` requests, one after the other, and waits for each answer (a closed
loop: a slow server is asked less). Requests of the warm-up do not count. The photos are noise unless `--image` names
one: all photos take the network the same time, larger ones take longer to decode.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

try:
    import numpy as np
    from PIL import Image
except ImportError as error:
    sys.exit(f"error: {error}: python -m pip install -r {Path(__file__).with_name('requirements.txt')} first.")

WARMUP_REQUESTS = 3  # of each thread: connecting, and the first request, are slow


def noise_jpeg(height: int = 256, width: int = 128) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


def grpc_request(host: str, photos: list, model: str, timeout: float):
    """Returns a function that sends one request and raises where it fails."""
    import client_grpc  # TensorFlow takes seconds, and REST does not need it

    stub = client_grpc.connect(host)
    return lambda: client_grpc.predict(stub, "serve_bytes", {"image_bytes": photos}, model=model, timeout=timeout)


def rest_request(url: str, photos: list, model: str, timeout: float):
    """Returns a function that sends one request and raises where it fails."""
    import client_rest

    inputs = {"image_bytes": [{"b64": base64.b64encode(photo).decode()} for photo in photos]}
    return lambda: client_rest.predict(url, "serve_bytes", inputs, model=model, timeout=timeout)


def run(send, *, seconds: float, concurrency: int) -> tuple:
    """Returns the latencies in seconds of the requests that were answered, the errors of the others, and the time."""

    def worker(deadline: float) -> tuple:
        latencies, errors = [], []
        while (start := time.perf_counter()) < deadline:
            try:
                send()
            except Exception as error:  # a failed request is counted, and the load goes on
                errors.append(error)
                time.sleep(0.01)  # a server that is gone would be asked a million times
            else:
                latencies.append(time.perf_counter() - start)
        return latencies, errors

    with ThreadPoolExecutor(concurrency) as pool:
        for warm in [pool.submit(send) for _ in range(WARMUP_REQUESTS * concurrency)]:
            warm.result()
        start = time.perf_counter()
        parts = list(pool.map(worker, [start + seconds] * concurrency))
        elapsed = time.perf_counter() - start
    return [one for part in parts for one in part[0]], [one for part in parts for one in part[1]], elapsed


def summary(latencies: list, errors: list, elapsed: float, images_per_request: int) -> dict:
    """Returns the numbers of the table, latencies in milliseconds; None where no request was answered."""
    numbers = {"requests": len(latencies) + len(errors), "errors": len(errors)}
    numbers["images_per_second"] = len(latencies) * images_per_request / elapsed
    for name, percent in (("p50_ms", 50), ("p90_ms", 90), ("p99_ms", 99), ("max_ms", 100)):
        numbers[name] = float(np.percentile(latencies, percent)) * 1000 if latencies else None
    return numbers


def one_line(error: Exception) -> str:
    """Returns an error's message; gRPC keeps it in `details`."""
    return " ".join(str(error.details() if hasattr(error, "details") else error).split())[:300]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--concurrency", type=int, default=4, help="requests under way at once")
    parser.add_argument("--images_per_request", type=int, default=1)
    parser.add_argument("--image", help="file that is sent; default: noise of 256x128 pixels as JPEG")
    parser.add_argument("--protocol", choices=["grpc", "rest"], default="grpc")
    parser.add_argument("--host", default="localhost:8500", help="of gRPC")
    parser.add_argument("--url", default="http://localhost:8501", help="of REST")
    parser.add_argument("--model", default="embedder")
    parser.add_argument("--timeout", type=float, default=30, help="seconds for each request")
    parser.add_argument("--json", help="file for the numbers and the options")
    flags = parser.parse_args()
    if min(flags.seconds, flags.concurrency, flags.images_per_request) <= 0:
        parser.error("--seconds, --concurrency and --images_per_request must be above 0")

    try:
        photos = [Path(flags.image).read_bytes() if flags.image else noise_jpeg()] * flags.images_per_request
        make, place = (grpc_request, flags.host) if flags.protocol == "grpc" else (rest_request, flags.url)
        send = make(place, photos, flags.model, flags.timeout)
        latencies, errors, elapsed = run(send, seconds=flags.seconds, concurrency=flags.concurrency)
        numbers = summary(latencies, errors, elapsed, flags.images_per_request)
        if flags.json:
            Path(flags.json).write_text(json.dumps({**numbers, "options": vars(flags)}, indent=2) + "\n")
    except Exception as error:  # the warm-up's: no server, no such model, no image
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 1
    print("".join(f"{name:>18}" for name in numbers))
    print("".join(f"{'-' if number is None else format(number, '.6g'):>18}" for number in numbers.values()))
    for error in errors[:1]:
        print(f"first error: {one_line(error)}", file=sys.stderr)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
