"""Decides how the record of a run reads: Markdown, as GitHub shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from keras_reid.evaluation.tables import SCORE_ROWS


def as_markdown(card: Mapping) -> str:
    """Returns the text of `run_card.md`.

    Args:
        card: the content of `run_card.json`.
    """
    sections = [
        f"# Run card: {card['dataset']}, {card['epochs']} epochs",
        _state(card),
        f"```\n{card['command']}\n```",
        _scores(card),
        _data(card),
        _training(card),
        _environment(card),
        _diagnosis(card),
        f"## License\n\n{card['licence_notes']}" if card["licence_notes"] else "",
        _flags(card),
    ]
    return "\n\n".join(filter(None, sections)) + "\n"


def _state(card: Mapping) -> str:
    if card["finished"]:
        early = f", stopped early after epoch {card['epochs']}" if card["stopped_early"] else ""
        how = f"trained {card['started_from']}, seed {card['seed']}"
        return f"A finished run{early}, {how}. The command that repeats it:"
    of = f"{card['epochs']} of {card['flags']['epochs']} epochs"
    return f"**Not finished**: {of}, trained {card['started_from']}, seed {card['seed']}. Its command:"


def _scores(card: Mapping) -> str:
    scores = card["scores"]
    if not scores:
        return ""
    some = next(iter(scores.values()))
    rows = [
        [row, *(_score(score.get(key), card["intervals"].get(name, {}).get(key)) for name, score in scores.items())]
        for row, key in SCORE_ROWS.items()
    ]
    intervals = " In parentheses: 95 % intervals, by bootstrap over the queries." if card["intervals"] else ""
    after = f"After epoch {card['scored_epoch']}, on" if card["scored_epoch"] else "On"
    about = f"{after} {some['queries']:,} queries against {some['gallery']:,} gallery images.{intervals}"
    return f"## Scores\n\n{_table(['', *scores], rows)}\n\n{about}"


def _score(value: float | None, interval: Sequence[float] | None) -> str:
    if value is None:
        return ""
    return f"{100 * value:.2f}" + (f" ({100 * interval[0]:.2f} to {100 * interval[1]:.2f})" if interval else "")


def _data(card: Mapping) -> str:
    newest = card["data"][-1]
    rows = [
        [
            name,
            *(f"{split[count]:,}" for count in ("images", "people", "cameras")),
            "" if split["bytes"] is None else f"{split['bytes'] / 1e6:,.2f}",
            f"`{split['sha256'][:16]}`",
        ]
        for name, split in newest["splits"].items()
    ]
    table = _table(["split", "images", "people", "cameras", "MB", "SHA-256 begins"], rows)
    changes = [entry["from_step"] for entry in card["data"][1:]]
    changed = f"\n\n**The dataset was another one before step {_listed(changes)}.**" if changes else ""
    return f"## Data\n\n{table}\n\nEach hash covers {newest['covers']}.{changed}"


def _training(card: Mapping) -> str:
    speed = card["speed"]
    if not speed:
        return ""
    all_steps = card["epochs"] * card["steps_per_epoch"]
    timed = "" if speed["steps_timed"] == all_steps else f" ({speed['steps_timed']:,} of {all_steps:,} steps timed)"
    rows = [
        ("steps", f"{all_steps:,}, {card['steps_per_epoch']:,} an epoch"),
        ("seconds per step, median", f"{speed['seconds_per_step']:.3f}"),
        ("images per second, median", f"{speed['images_per_second']:.1f}"),
        ("of that time waiting for input", f"{speed['waiting_share']:.1%}"),
        ("time in steps", f"{_duration(speed['seconds_in_steps'])}{timed}"),
        ("time between, for checkpoints and evaluations", _duration(speed["seconds_between"])),
    ]
    return f"## Training\n\n{_points(rows)}"


def _environment(card: Mapping) -> str:
    parts = []
    for place in card["environments"]:
        hardware, git = place["hardware"], place["git"]
        code = f"keras_reid {place['keras_reid']}"
        if git:
            code += f", commit `{git['commit'][:12]}`{', **modified**' if git['modified'] else ''}"
        memory = f", {hardware['memory_gb']:g} GB" if hardware["memory_gb"] else ""
        gpus = ", ".join(hardware["gpus"]) + (f" (CUDA {hardware['cuda']})" if hardware["cuda"] else "")
        rows = [
            ("code", code),
            ("Python", place["python"]),
            ("packages", ", ".join(f"{name} {version}" for name, version in place["packages"].items())),
            ("precision", place["precision"]),
            ("CPU", f"{hardware['cpu']}, {hardware['cores']} cores{memory}"),
            ("GPU", gpus or "none"),
            ("system", place["system"]),
        ]
        heading = f"From step {place['from_step']:,} on:\n\n" if len(card["environments"]) > 1 else ""
        parts.append(heading + _points(rows))
    return "## Environment\n\n" + "\n\n".join(parts)


def _diagnosis(card: Mapping) -> str:
    lines = card["diagnosis"]
    return "## Diagnosis\n\n" + ("\n".join(f"- {line}" for line in lines) if lines else "Nothing was found wrong.")


def _flags(card: Mapping) -> str:
    lines = [f"--{name}={value}" for name, text in sorted(card["flags"].items()) for value in text.split("\n")]
    text = "\n".join(lines)
    return f"<details><summary>All flags</summary>\n\n```\n{text}\n```\n\n</details>"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _points(rows: Sequence[tuple[str, str]]) -> str:
    return "\n".join(f"- **{name}**: {value}" for name, value in rows)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(f"{number:,}" for number in numbers)
