"""Tables of scores for the screen: artifacts or datasets side by side, verification, differences, breakdowns."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from keras_reid.evaluation.uncertainty import Difference

# What a table calls each score, and what `RetrievalResult.to_dict()` does.
SCORE_ROWS = {
    "mAP %": "mean_average_precision",
    "mAP % (trapezoid)": "mean_average_precision_trapezoid",
    "top-1 %": "top1",
    "top-5 %": "top5",
    "top-10 %": "top10",
    "mINP %": "mean_inverse_negative_penalty",
}

# The same of a point of `OpenSetResult.to_dict()`.
OPEN_SET_ROWS = {
    "DIR %": "detection_and_identification_rate",
    "TPIR %": "true_positive_identification_rate",
    "threshold": "threshold",
}


def shown_name(name: str) -> str:
    """Returns what a table calls an artifact: the files of a run keep the names that earlier versions gave."""
    return {"live": "reference", "mean colour": "mean color"}.get(name, name)


def scores_table(scores: Mapping[str, Mapping], intervals: Mapping[str, tuple] | None = None) -> str:
    """Returns a table on which each of several artifacts or datasets has a column, in percent.

    Args:
        scores: name -> `to_dict()` of a result; what a result does not have is left out.
        intervals: of the last column, as `confidence_intervals` returns them; shown beside it.
    """
    columns = {}
    for name, score in scores.items():
        columns[shown_name(name)] = {row: f"{100 * score[key]:.2f}" for row, key in SCORE_ROWS.items() if key in score}
    if intervals:
        shown = {row: intervals[key] for row, key in SCORE_ROWS.items() if key in intervals}
        columns["95 % interval"] = {row: f"{100 * low:.2f} to {100 * high:.2f}" for row, (low, high) in shown.items()}
    return pd.DataFrame(columns).fillna("").to_string()


def verification_table(scores: Mapping[str, Mapping], kind: str) -> str:
    """Returns a table of each dataset's `VerificationResult.to_dict()`; the column of a single one is named `kind`."""
    columns = {}
    for name, found in scores.items():
        rows = {"genuine pairs": f"{found['genuine_pairs']:,}", "impostor pairs": f"{found['impostor_pairs']:,}"}
        rows["equal error rate %"] = f"{100 * found['equal_error_rate']:.2f}"
        for rate, point in found["at_false_positive_rate"].items():
            rows[f"TPR % at FPR {rate}"] = f"{100 * point['true_positive_rate']:.2f}" if point else "no threshold"
        columns[name if len(scores) > 1 else kind] = rows
    return pd.DataFrame(columns).to_string()


def open_set_table(scores: Mapping[str, Mapping], kind: str) -> str:
    """Returns a table of each dataset's `OpenSetResult.to_dict()`; a single one is named `kind`, with intervals."""
    columns: dict[str, dict[str, str]] = {}
    for name, found in scores.items():
        rows, intervals = {"rank 1, no threshold %": f"{100 * found['rank1']:.2f}"}, {}
        for rate, point in found["at_false_alarm_rate"].items():
            for row, key in OPEN_SET_ROWS.items():
                rows[f"{row} at FAR {rate}"] = _open_set_number(point[key], key) if point else "no threshold"
                if point and key in point["intervals"]:
                    low, high = (_open_set_number(bound, key) for bound in point["intervals"][key])
                    intervals[f"{row} at FAR {rate}"] = f"{low} to {high}"
        columns[name if len(scores) > 1 else kind] = rows
        if len(scores) == 1 and intervals:
            columns["95 % interval"] = intervals
    return pd.DataFrame(columns).fillna("").to_string()


def reassociation_table(scores: Mapping[str, Mapping], kind: str) -> str:
    """Returns a table of each dataset's `ReassociationResult.to_dict()`, as `open_set_table` does."""
    columns: dict[str, dict[str, str]] = {}
    names = {"rank 1 %": "rank1", "MRR %": "mean_reciprocal_rank"}
    for name, found in scores.items():
        rows = {row: f"{100 * found[key]:.2f}" for row, key in names.items()}
        counts = {"queries": f"{found['queries']:,}", "not seen again": f"{found['skipped']:,}"}
        columns[name if len(scores) > 1 else kind] = {**rows, **counts, "candidates": f"{found['candidates']:.1f}"}
        if len(scores) == 1 and found["intervals"]:
            shown = {row: [100 * bound for bound in found["intervals"][key]] for row, key in names.items()}
            columns["95 % interval"] = {row: f"{low:.2f} to {high:.2f}" for row, (low, high) in shown.items()}
    return pd.DataFrame(columns).fillna("").to_string()


def _open_set_number(value: float, key: str) -> str:
    return f"{value:.6g}" if key == "threshold" else f"{100 * value:.2f}"


def differences_table(differences: Mapping[str, Difference]) -> str:
    """Returns a table of what `paired_differences` returns, in percentage points."""
    names = {key: row for row, key in SCORE_ROWS.items()}
    rows = {
        names[key]: {
            "here": f"{100 * one.here:.2f}",
            "there": f"{100 * one.there:.2f}",
            "difference": f"{100 * one.difference:+.2f}",
            "95 % interval": f"{100 * one.interval[0]:+.2f} to {100 * one.interval[1]:+.2f}",
            "p-value": f"{one.p_value:.4f}",
        }
        for key, one in differences.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").to_string()


def camera_pairs_table(pairs: Mapping[str, list]) -> str:
    """Returns mAP in percent from the columns of `camera_pairs`: cameras of the queries down, of the gallery across."""
    frame = pd.DataFrame(pairs)
    if not len(frame):
        return "no pair of two cameras has a match"
    table = 100 * frame.pivot(index="query_camera", columns="gallery_camera", values="mean_average_precision")
    return table.rename_axis(index="mAP %", columns="gallery").to_string(float_format="{:.2f}".format, na_rep="-")


def identities_table(identities: Mapping[str, list], count: int = 10) -> str:
    """Returns the `count` identities found worst, from the columns of what `breakdown.identities` returns."""
    frame = pd.DataFrame(identities).head(count)
    percent = {"mAP %": 100 * frame.mean_average_precision, "top-1 %": 100 * frame.top1}
    return frame[["person_id", "queries"]].assign(**percent).to_string(index=False, float_format="{:.2f}".format)
