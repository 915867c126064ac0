"""How long do adding, searching and forgetting take in a large gallery, beside searches without a database?

    python benchmarks/gallery.py                                   # 1,000,000 x 128, minutes
    python benchmarks/gallery.py --count=15913 --sample=100
    python benchmarks/gallery.py --queries=query.npz --saved=gallery.npz     # of evaluate --save_embeddings

Synthetic people: a center of each plus normal noise, 20 entries each, 6 cameras. Baselines in the same run, on the bare
array in memory: the package's exact block search (evaluation/neighbors.py) and, where faiss is installed, faiss-cpu's
flat index; one query at a time, as a gallery is asked, and all at once. With --queries and --saved the mAP of searches
through the engine is compared with evaluate_retrieval's, which must agree to 1e-6.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Callable

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as the commands do

import numpy as np

from keras_reid.artifacts.embeddings_file import read_embeddings
from keras_reid.evaluation import evaluate_retrieval
from keras_reid.evaluation.neighbors import nearest_neighbors
from keras_reid.gallery import Gallery

K = 10


def line(what: str, text: str) -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{what:<34} {text:<44} peak {peak:.2f} GB", flush=True)


def timed(what: str, ask: Callable, queries: np.ndarray) -> list:
    """Asks one query after the other; prints the median and the 99th percentile."""
    ask(queries[0])
    seconds, answers = [], []
    for query in queries:
        start = time.perf_counter()
        answers.append(ask(query))
        seconds.append(time.perf_counter() - start)
    p50, p99 = np.percentile(seconds, [50, 99]) * 1000
    line(what, f"p50 {p50:8.1f} ms   p99 {p99:8.1f} ms")
    return answers


def synthetic(count: int, width: int, sample: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns embeddings `[count, width]`, the person of each, and queries `[sample, width]`."""
    random = np.random.default_rng(0)
    people = np.arange(count) // 20
    centers = random.normal(size=(people[-1] + 1, width)).astype(np.float32)
    embeddings = centers[people] + 0.7 * random.normal(size=(count, width)).astype(np.float32)
    shown = random.integers(0, len(centers), sample)
    return embeddings, people, centers[shown] + 0.7 * random.normal(size=(sample, width)).astype(np.float32)


def measure(count: int, width: int, sample: int, folder: str) -> None:
    embeddings, people, queries = synthetic(count, width, sample)
    line("embeddings", f"{count} x {width}, {embeddings.nbytes / 1e6:.0f} MB, {sample} queries, k={K}")
    known = {"identity": people, "camera": np.arange(count) % 6, "time": 1.7e9 + np.arange(count)}
    with Gallery(os.path.join(folder, "people")) as gallery:
        start = time.perf_counter()
        gallery.add(embeddings, source=[f"{n}.jpg" for n in range(count)], **known)
        line("add", f"{time.perf_counter() - start:.1f} s")
        line("on disk", f"{gallery.size() / 1e6:.0f} MB")
        found = timed("exact search", lambda query: gallery.search(query, K).hits, queries)
        timed("exact, two of six cameras", lambda query: gallery.search(query, K, cameras=[1, 2]).hits, queries)
        timed("exact, a tenth of the time", lambda query: gallery.search(query, K, until=1.7e9 + count / 10), queries)
        baselines(embeddings, queries, found)
        start = time.perf_counter()
        told = gallery.search(queries[0], K, approximate=True).recall
        if told is not None:
            line("index, and its recall on a sample", f"{time.perf_counter() - start:.1f} s, {told:.1%}")
            near = timed("approximate", lambda query: gallery.search(query, K, approximate=True).hits, queries)
            share = np.mean([len(set(a.key) & set(b.key)) / K for a, b in zip(near, found)])
            line("  recall on the queries", f"{share:.1%}")
        start = time.perf_counter()
        forgotten = gallery.forget(identity="7")
        line("forget one person", f"{time.perf_counter() - start:.1f} s, {forgotten.entries} entries")
        print(f"  {forgotten.proof}")


def baselines(embeddings: np.ndarray, queries: np.ndarray, found: list) -> None:
    start = time.perf_counter()
    block = nearest_neighbors(queries, embeddings, K)
    line("block search, all queries at once", f"{1000 * (time.perf_counter() - start) / len(queries):.1f} ms a query")
    ours = [[int(name[:-4]) for name in hits.source] for hits in found]
    assert np.array_equal(ours, block.indices), "the engine's exact search differs from the block search"
    timed("block search, one query", lambda query: nearest_neighbors(query[None], embeddings, K), queries[:10])
    try:
        import faiss
    except ImportError:
        print("faiss is not installed: pip install faiss-cpu")
        return
    index = faiss.IndexFlatL2(embeddings.shape[1])
    index.add(embeddings)
    timed("faiss flat, one query", lambda query: index.search(query[None], K), queries)
    start = time.perf_counter()
    index.search(queries, K)
    line("faiss flat, all queries at once", f"{1000 * (time.perf_counter() - start) / len(queries):.1f} ms a query")


def compare_scores(query_file: str, gallery_file: str, folder: str) -> None:
    query, saved = read_embeddings(query_file), read_embeddings(gallery_file)
    sides = {f"query_{name}s": query.frame[name] for name in ("person_id", "camera_id")}
    sides |= {f"gallery_{name}s": saved.frame[name] for name in ("person_id", "camera_id")}
    metric = saved.metric or "euclidean"
    expected = evaluate_retrieval(query.embeddings, saved.embeddings, metric=metric, **sides).mean_average_precision
    kept = saved.frame.person_id.to_numpy() != -1  # junk is never counted
    frame, precisions = saved.frame[kept], []
    with Gallery(os.path.join(folder, "scored"), metric=metric) as gallery:
        known = {"identity": frame.person_id, "camera": frame.camera_id, "source": [f"{n}" for n in range(len(frame))]}
        gallery.add(saved.embeddings[kept], **known)
        for embedding, row in zip(query.embeddings, query.frame.itertuples()):
            hits = gallery.search(embedding, len(frame)).hits
            same = (hits.identity == str(row.person_id)).to_numpy()
            right = same[~(same & (hits.camera == str(row.camera_id)).to_numpy())]
            if right.any():
                precisions.append(np.mean(np.arange(1, right.sum() + 1) / (np.flatnonzero(right) + 1)))
    through = float(np.mean(precisions))
    print(
        f"mAP through the engine {through:.8f}, evaluate_retrieval {expected:.8f}, differ {abs(through - expected):.1e}"
    )
    assert abs(through - expected) < 1e-6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--sample", type=int, default=100)
    parser.add_argument("--queries")
    parser.add_argument("--saved")
    arguments = parser.parse_args()
    folder = tempfile.mkdtemp()
    try:
        if arguments.queries and arguments.saved:
            compare_scores(arguments.queries, arguments.saved, folder)
        else:
            measure(arguments.count, arguments.width, arguments.sample, folder)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
