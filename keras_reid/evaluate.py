"""python -m keras_reid.evaluate --artifact=PATH --dataset=NAME --data_dir=DIR: scores what was shipped.

PATH is a run folder, a .keras file, a SavedModel folder or a .tflite file; --query_embeddings and
--gallery_embeddings score saved embeddings instead. The table shows mAP by the rectangle rule (most code bases) and by
the trapezoid rule (the official Market-1501 script), CMC and mINP, in percent.
"""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from keras_reid import command, options
from keras_reid.data import describe, read_dataset
from keras_reid.data.checks.catalog_checks import names_that_look_alike
from keras_reid.describing_flags import NETWORK, check_artifact
from keras_reid.errors import ReidError
from keras_reid.evaluation.reassociation import check_times
from keras_reid.files import write_text


def evaluate(flags: command.Flags) -> None:
    # --- All that is cheap to check, before TensorFlow is loaded and not after minutes of scoring.
    check(flags)
    against = read_scores(flags.against) if flags.against else None
    sets, pattern = named_data_sets(flags), flags.camera_pattern
    catalogs = {name: read_dataset(*one, camera_pattern=pattern) for name, one in sets.items()}
    for name, catalog in catalogs.items():
        print(f"{name}\n{describe(catalog)}" if len(catalogs) > 1 else describe(catalog), flush=True)
        warn_of_names(catalog, flags)
        if flags.protocol == "reassociation":
            check_times(catalog, f"the images of {name}")
    if flags.artifact:
        check_artifact(flags, metric_describes=False)

    # --- Embeddings.
    from keras_reid.artifacts import open_artifact, read_embeddings
    from keras_reid.evaluation.embedding import embed_catalog, embedded_of_files

    pooled = {"multi_query": flags.multi_query, "tracklets": flags.tracklets}
    if flags.artifact:
        artifact = open_artifact(flags.artifact)
        if flags.metric:
            artifact = dataclasses.replace(artifact, metadata={**artifact.metadata, "metric": flags.metric})
        source, kind = artifact.name, artifact.kind
        options_ = {**command.given(flags, "batch_size", "test_time_augmentation"), **pooled}
        embedded = {name: embed_catalog(artifact, catalog, **options_) for name, catalog in catalogs.items()}
    else:
        source, kind = f"{flags.query_embeddings} against {flags.gallery_embeddings}", "embeddings"
        sides = [read_embeddings(path) for path in (flags.query_embeddings, flags.gallery_embeddings)]
        embedded = {kind: embedded_of_files(*sides, metric=flags.metric, **pooled)}
        warn_of_names(pd.concat([embedded[kind].query, embedded[kind].gallery], ignore_index=True), flags)

    # --- Scores.
    reports, scored = {}, {}
    for name, one in embedded.items():
        scored[name] = as_scored(one, flags)
        reports[name] = report_of(scored[name], flags)
        if flags.save_embeddings:
            folder = re.sub(r"[^\w.-]+", "-", name) if len(embedded) > 1 else ""
            save(one, Path(flags.save_embeddings, folder))
    what = source if len(reports) > 1 else f"{source} on {next(iter(reports))}" if flags.artifact else source
    print(f"\n{what}")
    show(reports, kind, flags)
    try:
        if against:
            show_differences(next(iter(reports.values())), against, flags)
        if flags.calibrate_fpr is not None:
            calibrate(flags, reports)
    finally:  # What was scored is kept, whatever it does not compare with.
        if flags.json:
            write(source, reports, flags)
        if flags.pictures:
            draw_pictures(reports, scored, artifact if flags.artifact else None, flags)
        if flags.report:
            write_report(scored, catalogs, reports, artifact if flags.artifact else None, source, flags)


def warn_of_names(images: pd.DataFrame, flags: command.Flags) -> None:
    """Prints a line where people or cameras are told apart by names that hardly differ."""
    for finding in names_that_look_alike(images):
        print(f"warning: {command.name_flags(finding.to_line(), flags)}", flush=True)


def write(source: str, reports: dict, flags: command.Flags) -> None:
    """Writes everything as JSON."""
    described = {name: dict(zip(("dataset", "data_dir"), one)) for name, one in named_data_sets(flags).items()}
    scores = [{**described.get(name, {}), **report.to_dict()} for name, report in reports.items()]
    content = {"artifact": source, **(scores[0] if len(scores) == 1 else {"data_sets": scores})}
    write_text(flags.json, json.dumps(content, indent=2, allow_nan=False) + "\n")
    print(f"written to {flags.json}")


def check(flags: command.Flags) -> None:
    """Raises ReidError for flags that are missing or exclude each other, and places that cannot be written."""
    saved = [name for name in ("query_embeddings", "gallery_embeddings") if flags[name].value]
    if saved:
        command.required(flags, "query_embeddings", "gallery_embeddings")
        for name in ("artifact", "data_dir", "calibrate_fpr", "test_time_augmentation", "input_size", *NETWORK):
            if flags[name].value != flags[name].default:
                raise ReidError(f"--{name} and --query_embeddings exclude each other: leave one of them out.")
    else:
        command.required(flags, "artifact", "data_dir")
    if flags.multi_query and flags.tracklets:
        raise ReidError("--multi_query and --tracklets exclude each other: a track is one query already.")
    several = len(options.data_sets(flags)) > 1
    for name in ("against", "calibrate_fpr", "pictures", "report"):
        if several and flags[name].value is not None:
            raise ReidError(f"--{name} is for one dataset: give one --data_dir.")
    changed = changed_distances(flags)
    if flags.calibrate_fpr is not None and changed:
        raise ReidError(f"--calibrate_fpr is for images and distances as compare sees them: leave out --{changed[0]}.")
    command.check_rate("calibrate_fpr", flags.calibrate_fpr)
    if flags.calibrate_fpr is not None and not (flags.verification or flags.gallery_identities):
        raise ReidError("--calibrate_fpr counts pairs: leave out --noverification.")
    for name in ("json", "report"):
        command.check_writable(name, flags[name].value)
    if flags.gallery_identities and flags.protocol != "open_set" and flags.calibrate_fpr is None:
        raise ReidError("--gallery_identities is for --protocol=open_set or --calibrate_fpr: add one, or leave it out.")
    if flags["gap"].present and flags.protocol != "reassociation":
        raise ReidError("--gap is for --protocol=reassociation: add it, or leave it out.")
    for name in ("pictures", "save_embeddings"):
        command.check_folder(name, flags[name].value)


def named_data_sets(flags: command.Flags) -> dict[str, tuple[str, str]]:
    """Returns dataset and folder of each --data_dir under their name in the table."""
    named, sets = {}, options.data_sets(flags)
    datasets = [dataset for dataset, _ in sets]
    for dataset, folder in sets:
        # The folder tells datasets of one name apart.
        name = f"{dataset}:{Path(folder).name}" if datasets.count(dataset) > 1 else dataset
        named[f"{dataset}:{folder}" if name in named else name] = (dataset, folder)
    return named


def as_scored(embedded, flags: command.Flags):
    """Returns query and gallery without the images that do not count, and with expanded queries where asked for."""
    if flags.missing_cameras == "leave_out":
        embedded = embedded.without_missing_cameras()
    return embedded.with_expanded_queries(flags.expand_queries) if flags.expand_queries else embedded


def report_of(embedded, flags: command.Flags):
    """Returns the `Report` of everything asked for about one dataset."""
    from keras_reid.evaluation import Report, confidence_intervals
    from keras_reid.evaluation.breakdown import camera_pairs, identities
    from keras_reid.evaluation.report import per_query

    rules = {"ignore": flags.ignore, "missing_cameras": flags.missing_cameras}
    plain = result = embedded.evaluate(ranks=flags.ranks, **rules)
    if flags.rerank:
        reranking = command.given(flags, "k1", "k2", "lambda_value", "ranks")
        result = embedded.evaluate_reranked(**reranking, **rules)
    given = ("multi_query", "tracklets", "expand_queries", "rerank", "k1", "k2", "lambda_value", "seed")
    report = Report(
        result,
        per_query(embedded.query, result),
        {**rules, "views": flags.test_time_augmentation, **command.given(flags, *given)},
        before_reranking=plain if flags.rerank else None,
        verification=pairs_of(embedded, flags, rules),
    )
    if flags.protocol == "single_gallery_shot":
        drawing = command.given(flags, "draws", "seed", "ranks")
        report.single_gallery_shot = embedded.evaluate_single_gallery_shot(**drawing, **rules)
    if flags.protocol == "open_set" or flags.gallery_identities:
        drawing = command.given(flags, "gallery_identities", "draws", "seed", "bootstrap")
        report.open_set = embedded.evaluate_open_set(**drawing, **rules)
    if flags.protocol == "reassociation":
        report.reassociation = embedded.evaluate_reassociation(**command.given(flags, "gap", "bootstrap", "seed"))
    if flags.bootstrap:
        report.intervals = confidence_intervals(result, draws=flags.bootstrap, seed=flags.seed)
    if flags.breakdown:
        report.camera_pairs = camera_pairs(embedded, **rules).to_dict("list")
        report.identities = identities(embedded, result).to_dict("list")
    return report


def pairs_of(embedded, flags: command.Flags, rules: dict):
    """Returns the verification, or None where it is not asked for, or there are no two identities to compare."""
    if not flags.verification:
        return None
    try:
        return embedded.verify(**rules)
    except ReidError as error:
        if flags.calibrate_fpr is not None and not flags.gallery_identities:
            raise
        print(f"no verification: {command.name_flags(str(error), flags)}")
        return None


def show(reports: dict, kind: str, flags: command.Flags) -> None:
    """Prints the tables."""
    from keras_reid.evaluation.tables import (
        camera_pairs_table,
        identities_table,
        open_set_table,
        reassociation_table,
        scores_table,
        verification_table,
    )

    first, last = next(iter(reports.values())), "re-ranked" if flags.rerank else kind
    if len(reports) > 1:
        for column in first.other_scores():
            print(f"{column}\n{scores_table({name: one.other_scores()[column] for name, one in reports.items()})}\n")
        print(f"{last}\n{scores_table({name: one.result.to_dict() for name, one in reports.items()})}")
    else:
        print(scores_table({**first.other_scores(), last: first.result.to_dict()}, first.intervals))
    verified = {name: one.verification.to_dict() for name, one in reports.items() if one.verification}
    if verified:
        print(f"\nverification: genuine and impostor pairs\n{verification_table(verified, kind)}")
    opened = {name: one.open_set.to_dict() for name, one in reports.items() if one.open_set}
    for name, one in opened.items():
        print(
            f"\nopen set{f' of {name}' if len(opened) > 1 else ''}: {one['draws']} galleries of "
            f"{one['gallery_identities']} of {one['identities']} people; in the mean {one['enrolled_queries']:.1f} "
            f"queries of enrolled people and {one['unknown_queries']:.1f} of strangers"
        )
    if opened:
        print(open_set_table(opened, kind))
    again = {name: one.reassociation.to_dict() for name, one in reports.items() if one.reassociation}
    if again:
        print(f"\nre-association by the same camera, {flags.gap:g} seconds or more later")
        print(reassociation_table(again, kind))
    for name, report in reports.items():
        of = f" of {name}" if len(reports) > 1 else ""
        skipped, queries = report.skipped, report.result.queries
        if skipped:
            names = f"{', '.join(skipped[:3])}{f' and {len(skipped) - 3} more' if len(skipped) > 3 else ''}"
            print(f"{len(skipped)} of {queries} queries{of} have no match in the gallery, left out: {names}")
        if flags.breakdown:
            before = ", before re-ranking" if flags.rerank else ""
            print(f"\npairs of cameras{of}, queries down{before}\n{camera_pairs_table(report.camera_pairs)}")
            print(f"\nidentities{of} found worst\n{identities_table(report.identities)}")


def draw_pictures(reports: dict, scored: dict, artifact, flags: command.Flags) -> None:
    """Draws the pictures of one dataset; with the threshold where the distances are those it was calibrated for."""
    from keras_reid.reports.plots import draw
    from keras_reid.reports.sheets import draw_worst_queries

    ((name, report),) = reports.items()
    paths = draw(flags.pictures, report, dataset=name, threshold=threshold_of(artifact, report, flags))
    rules = command.given(flags, "ignore", "missing_cameras")
    paths.append(draw_worst_queries(flags.pictures, scored[name], report, dataset=name, seed=flags.seed, **rules))
    for path in paths:
        print(f"drawn {path}")


def write_report(scored: dict, catalogs: dict, reports: dict, artifact, source: str, flags: command.Flags) -> None:
    """Writes the page of one dataset."""
    from keras_reid.reports.page import write_page
    from keras_reid.training.run_page import record_of_artifact

    ((name, report),) = reports.items()
    record = None
    if artifact:
        record = record_of_artifact(flags.artifact, catalogs[name], options.data_sets(flags))
        if flags.ignore != "same_camera" or flags.multi_query or flags.tracklets:
            record = dataclasses.replace(record, baselines={})  # they were counted otherwise
    what = {"title": name, "source": source, "artifact": artifact, "seed": flags.seed}
    what["threshold"] = threshold_of(artifact, report, flags)
    print(f"drawing {flags.report}", flush=True)
    write_page(flags.report, scored[name], report, **what, record=record)


def threshold_of(artifact, report, flags: command.Flags) -> float | None:
    """Returns the threshold where the distances are those that it was calibrated for."""
    if not artifact or changed_distances(flags):
        return None
    artifact = dataclasses.replace(artifact, metadata={**artifact.metadata, **(report.calibration or {})})
    as_now = (artifact.metadata.get("threshold_views") or "none") == flags.test_time_augmentation
    return artifact.threshold if as_now else None


def changed_distances(flags: command.Flags) -> list[str]:
    """Returns the flags that are given and make other distances than `compare` sees."""
    return [name for name in ("expand_queries", "multi_query", "tracklets", "metric") if flags[name].value]


def show_differences(report, against: dict, flags: command.Flags) -> None:
    """Prints how this run differs from another, and adds it to the report."""
    from keras_reid.evaluation import paired_differences
    from keras_reid.evaluation.tables import differences_table

    draws = flags.bootstrap or options.evaluate_flags()["bootstrap"].default
    differences = paired_differences(report.per_query, against["per_query"], draws=draws, seed=flags.seed)
    print(f"\nagainst {flags.against}: {against.get('artifact', 'unknown')}\n{differences_table(differences)}")
    report.against = {"file": flags.against, **{name: vars(one) for name, one in differences.items()}}


def calibrate(flags: command.Flags, reports: dict) -> None:
    """Writes the threshold for a false positive rate into the artifact; of a run, into all of the same network."""
    from keras_reid.artifacts import open_artifact, signature_outputs, threshold_lines, write_threshold

    ((name, report),) = reports.items()
    measured = report.open_set if flags.gallery_identities else report.verification
    augmentation = command.given(flags, "test_time_augmentation")
    changes = measured.calibration(flags.calibrate_fpr, dataset=name, **augmentation)
    kept = write_threshold(flags.artifact, changes)
    rates, threshold = vars(measured.operating_point(flags.calibrate_fpr)), changes["threshold"]
    report.calibration = {**changes, **{rate: value for rate, value in rates.items() if rate not in changes}}
    print(f"\nthreshold {threshold:.6g} written into {flags.artifact}: on {name}, {measured.told(flags.calibrate_fpr)}")
    for line in threshold_lines(kept):
        print(line)
    for path in (path for path, why in kept.items() if why is None and path.suffix != ".keras"):
        is_saved_model = (path / "saved_model.pb").exists()
        if is_saved_model and "same_person" not in signature_outputs(open_artifact(path), "compare"):
            print(
                f"the signature compare of {path} was written without a threshold and gives the distance alone: export "
                "--calibrate_fpr writes one that says same_person"
            )
        elif flags.test_time_augmentation != "none":
            augmented = f"--test_time_augmentation={flags.test_time_augmentation}"
            print(f"whoever asks {path} without keras_reid does not augment: with {augmented} the rate may be another")


def save(embedded, folder: Path) -> None:
    """Writes query.npz and gallery.npz, which --query_embeddings and --gallery_embeddings read."""
    from keras_reid.artifacts import write_embeddings

    about = {"metric": embedded.metric, "network_fingerprint": embedded.network_fingerprint}
    for side in ("query", "gallery"):
        frame = getattr(embedded, side).drop(columns="split", errors="ignore")
        write_embeddings(folder / f"{side}.npz", frame, getattr(embedded, f"{side}_embeddings"), **about)
    print(f"embeddings written to {folder}")


def read_scores(path: str) -> dict:
    """Returns what --json wrote of another run."""
    from keras_reid.evaluation.uncertainty import check_run

    try:
        scores = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ReidError(f"--against={path} is no JSON ({error}): expected what evaluate --json wrote.") from error
    rows = scores.get("per_query") if isinstance(scores, dict) else None
    if not (isinstance(rows, dict) and all(isinstance(values, list) for values in rows.values())):
        raise ReidError(f"--against={path} holds no scores per query: expected --json's file of one dataset.")
    try:
        check_run(rows)
    except ReidError as error:
        raise ReidError(f"--against={path}: {error}") from error
    return scores


def main(argv: Sequence[str] | None = None) -> int:
    return command.run_command(evaluate, options.evaluate_flags(), argv)


if __name__ == "__main__":
    sys.exit(main())
