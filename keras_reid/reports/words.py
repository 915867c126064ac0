"""Words of a page: what the scores say, against what, and how they were counted, in plain sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keras_reid.evaluation.report import Report
from keras_reid.evaluation.results import RetrievalResult
from keras_reid.evaluation.tables import shown_name

_IGNORED = {
    "same_camera": "Gallery images of the query's identity from the query's own camera are ignored: neither right nor "
    "wrong.",
    "same_tracklet": "Gallery images of the query's own tracklet are ignored: neither right nor wrong.",
    "same_file": "The query's own file in the gallery is ignored: neither right nor wrong.",
    "nothing": "Every gallery image of the query's identity is a true match, one of the same camera too.",
}
_MISSING_CAMERAS = {
    "distinct": "An image whose camera is not known has a camera of its own.",
    "leave_out": "A gallery image whose camera is not known does not count, and such a query is skipped.",
}
_OPTIONS = {
    "multi_query": "All images of a query's identity by its camera are pooled into one query ({}).",
    "tracklets": "The frames of each track are pooled into one embedding ({}).",
    "expand_queries": "Each query is averaged with its {} nearest gallery embeddings.",
}


def percent(share: float | None) -> str:
    """Returns a share as a page writes it: 0.2487 is 24.9 %."""
    return "–" if share is None or share != share else f"{100 * share:.1f} %"


def verdict(result: RetrievalResult, intervals: Mapping[str, tuple], baselines: Mapping[str, Mapping]) -> list[str]:
    """Returns what the scores say: numbers, what they mean, and how they stand to the baselines."""
    score = result.mean_average_precision
    scored, first = result.queries - len(result.skipped_queries), int((result.first_match_rank == 1).sum())
    sentences = [
        f"mAP {_with_interval(score, intervals.get('mean_average_precision'))}, "
        f"top-1 {_with_interval(result.top1, intervals.get('top1'))}.",
        f"For {first:,} of {scored:,} {'query' if scored == 1 else 'queries'} the nearest gallery image that counts "
        "shows the same person.",
    ]
    for name, scores in baselines.items():
        other = scores["mean_average_precision"]
        times = f"{score / other:.1f} times" if other else "more than"
        sentences.append(f"mAP is {times} that of {_baseline(name)} ({percent(other)}).")
    return sentences


def counted(report: Report, result: RetrievalResult, draws: int) -> list[str]:
    """Returns how the scores were counted: protocol, ties, skipped queries, intervals."""
    rules, skipped = report.rules, report.skipped
    sentences = [
        f"{result.queries:,} {'query' if result.queries == 1 else 'queries'} against {result.gallery:,} gallery "
        f"images, compared by {result.metric} distance.",
        _IGNORED[rules["ignore"]],
        _MISSING_CAMERAS.get(rules["missing_cameras"], "") if rules["ignore"] == "same_camera" else "",
        "Junk (identity -1) is on no list.",
        "Ties: at equal distances a wrong image counts as nearer than a right one.",
        _skipped(skipped, result.queries),
        "mAP is by the rectangle rule, as most code bases count it; the official Market-1501 script's trapezoid rule "
        "is beside it.",
        _intervals(draws),
        *(text.format(rules[name]) for name, text in _OPTIONS.items() if rules.get(name)),
    ]
    if rules.get("views", "none") != "none":
        sentences.append(f"Each embedding is the mean over variants of its image ({rules['views']}).")
    if report.before_reranking:
        sentences.append("All of this page is before re-ranking, but for the column “re-ranked”.")
    return list(filter(None, sentences))


def _intervals(draws: int) -> str:
    if not draws:
        return ""
    return f"In parentheses: 95 % intervals, by {draws:,} draws of the queries with replacement (bootstrap)."


def _skipped(names: list[str], queries: int) -> str:
    if not names:
        return "No query was skipped: each has a true match in the gallery."
    more = f" and {len(names) - 5:,} more" if len(names) > 5 else ""
    shown = ", ".join(map(str, names[:5]))
    return f"{len(names):,} of {queries:,} queries have no true match in the gallery and are skipped: {shown}{more}."


def _with_interval(score: float, interval: tuple[Any, Any] | None) -> str:
    return percent(score) + (f" ({100 * interval[0]:.1f} to {100 * interval[1]:.1f})" if interval else "")


def _baseline(name: str) -> str:
    shown = shown_name(name)
    return {"untrained": "the untrained network", "mean color": "an image's mean color"}.get(shown, shown)
