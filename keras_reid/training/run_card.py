"""Run card: the record of a run, `run_card.json` for programs and `run_card.md`, which says the same, for people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import jinja2
import pandas as pd

from keras_reid.data.fingerprint import changed_splits
from keras_reid.errors import ReidError
from keras_reid.evaluation.tables import SCORE_ROWS, shown_name
from keras_reid.files import write_text
from keras_reid.training.epoch_log import EpochLog
from keras_reid.training.run_folder import RunFolder, read_json

FORMAT_VERSION = 1


def begin_card(run: RunFolder, facts: Mapping, *, step: int, data: Mapping, environment: Mapping) -> str | None:
    """Writes the card of a run that begins or goes on.

    Data and environments are lists, with a new entry where they differ from those before the run stopped.

    Args:
        run: the run's folder.
        facts: what stays: command, flags, seed, steps_per_epoch, started_from, licence_notes.
        step: that the run goes on from, 0 at its beginning.
        data: of `keras_reid.data.fingerprint`.
        environment: of `keras_reid.training.environment`, and the precision.

    Returns:
        A line on how the data have changed since the run stopped; None where they have not.
    """
    held = read_card(run)
    lists = {"data": _with_entry(held.get("data", []), data, step)}
    lists["environments"] = _with_entry(held.get("environments", []), environment, step)
    _write(run, {"format_version": FORMAT_VERSION, **facts, **lists})
    changes = changed_splits(lists["data"][-2], data) if len(lists["data"]) > 1 else []
    if lists["data"][-1]["from_step"] != step or not changes:
        return None
    return f"the dataset is not the one that the run was trained on up to step {step}: {'; '.join(changes)}"


def update_card(run: RunFolder) -> None:
    """Writes the card anew with all that the run folder knows now; nothing where no card was begun."""
    card = read_card(run)
    if card:
        _write(run, card)


def read_card(run: RunFolder) -> dict:
    """Returns `run_card.json`, empty where there is none."""
    card = read_json(run.card, _is_whole)
    if card and card.get("format_version") != FORMAT_VERSION:
        raise ReidError(
            f"{str(run.card)!r} has format {card.get('format_version')}, this version reads {FORMAT_VERSION}: update "
            "keras_reid, or delete the file."
        )
    return card


def _is_whole(card: Mapping) -> bool:
    kinds = {"data": list, "environments": list, "flags": dict}
    whole = all(isinstance(card.get(name), kind) for name, kind in kinds.items())
    whole = whole and all("from_step" in entry for entry in card["data"] + card["environments"])
    return whole and str(card["flags"].get("epochs", "")).isdecimal()


def _write(run: RunFolder, card: Mapping) -> None:
    evaluation, log, asked = run.read_evaluation(), EpochLog(run), card["flags"]
    state = log.state(epochs=int(asked["epochs"]), early_stop=int(asked.get("early_stop", 0)))
    card = {
        **card,
        "epochs": state.epochs,
        "scored_epoch": evaluation.get("epochs"),
        "finished": state.finished,
        "stopped_early": state.stopped_early,
        "speed": _speed(log.times()),
        "scores": {**evaluation.get("scores", {}), **evaluation.get("baselines", {})},
        "intervals": evaluation.get("intervals", {}),
        "exports": evaluation.get("exports", {}),
        "diagnosis": run.read_diagnosis(),
    }
    write_text(run.card, json.dumps(card, indent=2) + "\n")
    write_text(run.card_text, _as_markdown(card))


def _as_markdown(card: Mapping) -> str:
    """Returns the text of `run_card.md`, as GitHub shows it."""
    templates = jinja2.Environment(loader=jinja2.PackageLoader("keras_reid.training"), keep_trailing_newline=True)
    templates.filters |= {"thousands": "{:,}".format, "duration": _duration, "shown": shown_name}
    return templates.get_template("run_card.md.j2").render(card, score_rows=SCORE_ROWS)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def _with_entry(entries: Sequence[Mapping], newest: Mapping, step: int) -> list[Mapping]:
    """Returns the entries of steps that were made, and one for those to come unless it would say the same."""
    entries = [entry for entry in entries if entry["from_step"] < step]  # later steps are lost, and made again
    entry = {"from_step": step, **newest}
    same = entries and {**entries[-1], "from_step": step} == entry
    return entries if same else [*entries, entry]


def _speed(times: pd.DataFrame) -> dict:
    """Returns the speed of the whole run by `times.csv`; empty before the first epoch."""
    if not {"steps", "seconds_per_step", "waiting_share"} <= set(times) or not len(times):
        return {}
    return {
        "seconds_per_step": float(times.seconds_per_step.median()),
        "images_per_second": float(times.images_per_second.median()),
        "waiting_share": float((times.waiting_share * times.seconds).sum() / times.seconds.sum()),
        "steps_timed": int(times.steps.sum()),
        "seconds_in_steps": float(times.seconds.sum()),
        "seconds_between": float(times.seconds_between.sum()),
    }
