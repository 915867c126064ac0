"""What the tests of a gallery share: an address for each engine, people to enroll, and the slow search they compare."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

NAMES = (
    "Alice",
    "O'Brien",
    'x" or "1"=="1',
    "'; DROP TABLE entries; --",
    "' OR '1'='1",
    '"]) or true or (identity in ["',
    "emoji 😀",
    "new\nline\rx",
    "back\\slash\\'",
    "50 %41 _ {x} $1 ?",
    "null\0byte",
    "Zoë/* */--",
)


def address(engine: str, folder) -> str:
    """An address of a new gallery of this engine, in a folder; skips the test where the engine is not installed."""
    if engine == "lance":
        pytest.importorskip("lancedb", reason="the extra gallery is not installed")
        return str(folder / "people")
    pytest.importorskip("pymilvus", reason="the extra milvus is not installed")
    pytest.importorskip("milvus_lite", reason="the extra milvus is not installed")
    return str(folder / "people.db")


@dataclasses.dataclass
class Crowd:
    """Embeddings and what is known of each; some of it is not known of some."""

    embeddings: np.ndarray
    known: pd.DataFrame

    def into(self, gallery, rows=slice(None)):
        known = {name: values[rows].tolist() for name, values in self.known.items()}
        return gallery.add(self.embeddings[rows], **known)


def crowd(count: int = 120, width: int = 16, seed: int = 0) -> Crowd:
    """Two clusters far from 0, some of them at one point: float32 products would not tell them apart."""
    random = np.random.default_rng(seed)
    embeddings = random.normal(size=(count, width)) * 0.01 + 5 * random.integers(0, 2, (count, 1)) + 3
    embeddings[count // 2 : count // 2 + 5] = embeddings[0]
    rows = np.arange(count)
    known = {
        "identity": [NAMES[row % len(NAMES)] if row % 7 else None for row in rows],
        "camera": [str(row % 4) if row % 5 else None for row in rows],
        "time": [1_700_000_000 + 3600 * int(row) if row % 3 else None for row in rows],
        "source": [f"day {row % 2}/{row}.jpg" for row in rows],
        "box": [(row, 0, 10.5, 20) if row % 2 else None for row in rows],
        "crop": [f"crops/{row}.jpg" for row in rows],
    }
    return Crowd(embeddings.astype(np.float32), pd.DataFrame(known, dtype=object))


def nearest_by_loop(people: Crowd, query: np.ndarray, metric: str, keep=lambda row: True) -> list[tuple[float, int]]:
    """Distance and row of everybody that `keep` takes, sorted, in float64, one by one."""
    found = []
    for row, embedding in enumerate(people.embeddings.astype(float)):
        if keep(people.known.iloc[row]):
            a = np.asarray(query, np.float32).astype(float)
            if metric == "cosine":
                distance = 1 - a @ embedding / (np.linalg.norm(a) * np.linalg.norm(embedding))
            else:
                distance = float(np.sqrt(sum((x - y) ** 2 for x, y in zip(a, embedding))))
            found.append((distance, row))
    return sorted(found)
