"""Does exact evaluation keep up with the matrix product that it cannot do without?

    python benchmarks/evaluation.py                        # all cases, about 2 minutes
    python benchmarks/evaluation.py --cases=a,c --json=FILE

(a) 3,368 x 15,913 x 512: embeddings to mAP, CMC and mINP, beside the bare float32 product of the same matrices, in
    blocks whose result is overwritten. At most 3.5 times its time: ranks are those of float64, and a float64 product
    alone takes about twice as long.
(b) 3,368 x 515,913 x 128: 500,000 distractors more. At most 3.5 times, under 1.5 GB above the embeddings.
(c) re-ranking 3,368 x 15,913 x 512, beside the bare product of all 19,281 images with themselves. At most 4 times,
    under 1.5 GB above the embeddings, its result of 214 MB included.
(a random), (b random): the same as (a) and (b) with embeddings that know nothing of people, the worst case: hardly a
    wrong image can be ruled out, and none of the bounds is meant for it.

Each case runs in a process of its own; in it the baseline is run before and after each of the measured runs, and each
ratio is that of a run to the mean of its two neighbors, so that the machine's noise falls on both. Memory is the peak
of a process that runs nothing else, above what it held with its embeddings. People and cameras are those of Market-1501
when MARKET1501_DIR names its folder, else drawn alike. Embeddings are a center of each person plus normal noise; mAP is
printed, so that one sees how good a model they stand for.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import sys
import time

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as the commands do

import numpy as np

BLOCK = 512  # rows of the baseline's block
# width, distractors, spread of the people's centers, what is measured, bounds of ratio and GB
CASES = {
    "a": (512, 0, 0.5, "evaluate", 3.5, None),
    "b": (128, 500_000, 0.9, "evaluate", 3.5, 1.5),
    "c": (512, 0, 0.5, "rerank", 4.0, 1.5),
    "a random": (512, 0, 0.0, "evaluate", None, None),
    "b random": (128, 500_000, 0.0, "evaluate", None, None),
}


def people_and_cameras(distractors: int) -> dict[str, np.ndarray]:
    """Returns person and camera ids of 3,368 queries and 15,913 gallery images and more."""
    root = os.environ.get("MARKET1501_DIR")
    random = np.random.default_rng(0)
    if root:
        from keras_reid.data import read_market1501

        catalog = read_market1501(root)
        query = catalog[catalog.split == "query"]
        gallery = catalog[(catalog.split == "gallery") & (catalog.person_id != -1)]
        sides = [(side.person_id.to_numpy(), side.camera_id.to_numpy()) for side in (query, gallery)]
    else:
        sides = [
            (random.integers(1, 751, 3368), random.integers(1, 7, 3368)),
            (np.append(random.integers(1, 751, 13115), np.zeros(2798, int)), random.integers(1, 7, 15913)),
        ]
    more = random.integers(1, 7, distractors)
    return {
        "query_person_ids": sides[0][0],
        "query_camera_ids": sides[0][1],
        "gallery_person_ids": np.append(sides[1][0], np.zeros(distractors, int)),
        "gallery_camera_ids": np.append(sides[1][1], more),
    }


def embeddings_of(person_ids: np.ndarray, width: int, spread: float, seed: int) -> np.ndarray:
    """Returns float32 `[N, width]`: a center of each person plus noise; distractors, id 0, have each a center."""
    rows = np.random.default_rng(seed).standard_normal((len(person_ids), width), dtype=np.float32)
    centers = np.random.default_rng(2).standard_normal((person_ids.max() + 1, width), dtype=np.float32)
    known = person_ids > 0
    rows[known] += np.float32(spread) * centers[person_ids[known]]
    strangers = np.random.default_rng(seed + 9).standard_normal((int((~known).sum()), width), dtype=np.float32)
    rows[~known] += np.float32(spread) * strangers
    return rows


def product(query: np.ndarray, gallery: np.ndarray) -> float:
    """Returns the seconds of the bare float32 product."""
    memory = np.ones((BLOCK, len(gallery)), np.float32)  # touched, so that its pages are there
    start = time.perf_counter()
    for row in range(0, len(query), BLOCK):
        block = query[row : row + BLOCK]
        np.matmul(block, gallery.T, out=memory[: len(block)])
    return time.perf_counter() - start


def run(case: str, repeats: int, connection) -> None:
    """Measures a case; sends seconds of both, ratios and mAP, or, without repeats, GB and mAP."""
    from keras_reid.evaluation import evaluate_distances, evaluate_retrieval, rerank

    width, distractors, spread, what, *_ = CASES[case]
    ids = people_and_cameras(distractors)
    query = embeddings_of(ids["query_person_ids"], width, spread, seed=3)
    gallery = embeddings_of(ids["gallery_person_ids"], width, spread, seed=4)

    def measured() -> tuple[float, float]:
        start = time.perf_counter()
        if what == "rerank":
            distances = rerank(query, gallery)
            seconds = time.perf_counter() - start
            return seconds, evaluate_distances(distances, **ids).mean_average_precision if repeats else 0.0
        result = evaluate_retrieval(query, gallery, **ids)
        return time.perf_counter() - start, result.mean_average_precision

    if not repeats:
        before = resident()
        measured()
        connection.send((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before) / 1e9)
        return
    sides = (query, gallery) if what == "evaluate" else (np.concatenate([query, gallery]),) * 2
    product(*sides)
    bare, ours, ratios = [product(*sides)], [], []
    for _ in range(repeats):
        seconds, precision = measured()
        bare.append(product(*sides))
        ours.append(seconds)
        ratios.append(seconds / np.mean(bare[-2:]))
    connection.send((float(np.median(bare)), float(np.median(ours)), float(np.median(ratios)), precision))


def resident() -> int:
    """Returns the bytes of memory that this process holds."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def in_a_process(case: str, repeats: int):
    """Returns what `run` sends."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=run, args=(case, repeats, there))
    process.start()
    there.close()
    try:
        return here.recv()
    except EOFError:
        raise SystemExit(f"case {case} ended without a result, exit code {process.exitcode}") from None
    finally:
        process.join()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default=",".join(CASES), help="by commas; default: %(default)s")
    parser.add_argument("--repeats", type=int, default=3, help="runs, the median is shown; default: %(default)s")
    parser.add_argument("--json", help="file for the numbers")
    arguments = parser.parse_args()
    cases = arguments.cases.split(",")
    if not set(cases) <= set(CASES) or arguments.repeats < 1:
        parser.error(f"expected cases of {', '.join(CASES)}, and at least 1 repeat")
    people = "Market-1501's people" if os.environ.get("MARKET1501_DIR") else "drawn people"
    print(f"NumPy {np.__version__}, {os.cpu_count()} cores, {people}")
    print(f"{'case':10}{'product':>9}{'ours':>9}{'ratio':>7}{'bound':>7}{'memory':>9}{'bound':>8}{'mAP':>8}")
    rows, kept = {}, True
    for case in cases:
        *_, ratio_bound, memory_bound = CASES[case]
        bare, ours, ratio, precision = in_a_process(case, arguments.repeats)
        memory = in_a_process(case, 0)
        rows[case] = {"product_s": bare, "ours_s": ours, "ratio": ratio, "memory_gb": memory, "map": precision}
        kept &= ratio <= (ratio_bound or np.inf) and memory <= (memory_bound or np.inf)
        most = f"{memory_bound} GB" if memory_bound else "-"
        print(
            f"{case:10}{bare:7.2f} s{ours:7.2f} s{ratio:7.2f}{ratio_bound or '-':>7}{memory:6.2f} GB{most:>8}"
            f"{precision:8.2%}",
            flush=True,
        )
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump(rows, file, indent=2)
    print("all bounds are kept" if kept else "a bound is broken")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
