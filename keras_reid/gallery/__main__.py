"""python -m keras_reid.gallery ACTION --gallery=URI: people enrolled for a search, counted, exported and forgotten.

URI is a folder, s3://BUCKET/FOLDER, http://HOST:19530 of a Milvus server, or a path in .db of Milvus Lite. ACTION is
one of:
add: --artifact and --images (a folder, a quoted pattern, or a .csv with image_path, and identity or person_id, camera
or camera_id, time, until, source, box), or --embeddings (a file that `embed` or `gallery export` wrote), or --tracks (a
folder of `tracks`). What is there already is passed over: the same command goes on where it was interrupted.
forget: --identity, --camera, --before, --source; all that is given must hold.
info: what is in it, its threshold, its log. export: --output, a file of embeddings.
compact: forgets what is older than --keep_days, and tidies the files.
calibrate: takes over the threshold of --artifact.
reembed: embeds the pictures of a gallery with another --artifact, into a new one, --output.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

from keras_reid import command, options
from keras_reid.artifacts.embeddings_file import check_writable_as, read_embeddings
from keras_reid.data.image_list import list_images
from keras_reid.describing_flags import DESCRIBING, check_artifact
from keras_reid.errors import ReidError
from keras_reid.gallery.entries import TEXTS
from keras_reid.gallery.gallery import Gallery
from keras_reid.gallery.results import Added, Forgotten

# What each action reads besides --gallery.
ACTIONS = {
    "add": (
        *("artifact", *DESCRIBING, "images", "embeddings", "tracks", "identity", "identity_from_folder"),
        *("camera", "time", "source", "keep_days", "test_time_augmentation", "batch_size", "on_error"),
    ),
    "forget": ("identity", "camera", "before", "source"),
    "info": (),
    "export": ("output", "named"),
    "compact": ("keep_days",),
    "calibrate": ("artifact", *DESCRIBING),
    "reembed": ("artifact", *DESCRIBING, "output", "test_time_augmentation", "batch_size", "on_error"),
}
_SHOWN = 20


def gallery(flags: command.Flags) -> None:
    if len(flags.arguments) != 1 or flags.arguments[0] not in ACTIONS:
        given = " ".join(flags.arguments) or "none"
        raise ReidError(
            f"expected one action of {', '.join(ACTIONS)}, as in gallery add --gallery=people; got {given}."
        )
    action = flags.arguments[0]
    of_others = {name for names in ACTIONS.values() for name in names} - set(ACTIONS[action])
    for name in sorted(of_others):
        if flags[name].present:
            raise ReidError(f"--{name} says nothing to {action}: expected {_flags_of(action)}.")
    command.required(flags, "gallery")
    {
        "add": _add,
        "forget": _forget,
        "info": _info,
        "export": _export,
        "compact": _compact,
        "calibrate": _calibrate,
        "reembed": _reembed,
    }[action](flags)


def _add(flags: command.Flags) -> None:
    ways = {"images": _add_images, "embeddings": _add_embeddings, "tracks": _add_tracks}
    chosen = [name for name in ways if flags[name].value]
    if len(chosen) != 1:
        raise ReidError("expected --images with --artifact, or --embeddings, or --tracks: one of the three.")
    given = {name: _one(flags, name) for name in ("identity", "camera", "source")} | {"time": flags.time}
    ways[chosen[0]](flags, given)


def _add_images(flags: command.Flags, given: dict[str, Any]) -> None:
    from keras_reid.gallery.enrolling import enroll, known_of_images

    command.required(flags, "artifact")
    frame = list_images(flags.images)
    check_artifact(flags)
    if flags.identity_from_folder:
        if given["identity"] is not None:
            raise ReidError("--identity and --identity_from_folder both say who it is: expected one of them.")
        given["identity"] = [os.path.basename(os.path.dirname(os.path.abspath(path))) for path in frame.image_path]
    known = known_of_images(frame, given)

    from keras_reid.artifacts import open_artifact  # TensorFlow takes seconds: after the checks

    artifact = open_artifact(flags.artifact)
    about = command.given(flags, "keep_days", "test_time_augmentation")
    with Gallery(flags.gallery, artifact=artifact, **about) as people:
        options_ = command.given(flags, "batch_size", "on_error")
        added, skipped = enroll(people, artifact, frame.image_path, known, **options_)
        _say_added(people, added, skipped)


def _add_embeddings(flags: command.Flags, given: dict[str, Any]) -> None:
    from keras_reid.gallery.enrolling import known_of

    for name in ("artifact", "identity_from_folder", *DESCRIBING):
        if flags[name].present:
            raise ReidError(f"--{name} is of --images: saved embeddings say themselves which network made them.")
    saved = read_embeddings(flags.embeddings)
    about = {"metric": saved.metric, "network_fingerprint": saved.network_fingerprint}
    about |= command.given(flags, "keep_days", "test_time_augmentation")
    with Gallery(flags.gallery, **about) as people:
        if saved.network_fingerprint is None:
            print(f"not checked whether one network made them: no network fingerprint in {flags.embeddings}")
        _say_added(people, people.add(saved.embeddings, **known_of(saved.frame, given)), [])


def _add_tracks(flags: command.Flags, given: dict[str, Any]) -> None:
    from keras_reid.tracks.enrolling import enroll_tracks
    from keras_reid.tracks.tracks_file import read_tracks

    for name in ("artifact", "identity_from_folder", *given):
        if flags[name].value:
            raise ReidError(f"--{name} says nothing to --tracks: they say themselves who, where and when.")
    tracks = read_tracks(flags.tracks)
    about = {"metric": tracks.metric, "network_fingerprint": tracks.network_fingerprint}
    with Gallery(flags.gallery, keep_days=flags.keep_days, **about) as people:
        _say_added(people, enroll_tracks(people, flags.tracks, tracks), [])


def _forget(flags: command.Flags) -> None:
    rules = {name: flags[name].value or None for name in ("identity", "camera", "source", "before")}
    with Gallery(flags.gallery) as people:
        forgotten = people.forget(**rules)
        _say_forgotten(forgotten)
        print(f"{people.count()} entries are left")
        _say_shared(people)


def _info(flags: command.Flags) -> None:
    with Gallery(flags.gallery) as people:
        header, size = people.header, people.size()
        frame, _ = people.entries()
        lines = {
            "entries": len(frame),
            "identities": f"{frame.identity[frame.identity != ''].nunique()}, {(frame.identity == '').sum()} unnamed",
            "cameras": ", ".join(sorted(set(frame.camera) - {""})) or "not known",
            "times": f"{frame.time.min()} to {frame.time.max()}" if frame.time.notna().any() else "not known",
            "embeddings": f"{header.embedding_size} wide, compared by {header.metric} distance",
            "network": header.network_fingerprint or "not known",
            "augmented": f"{header.test_time_augmentation} (test-time augmentation)",
            "threshold": "not calibrated" if header.threshold is None else _threshold(header.calibration),
            "kept": "without limit" if header.keep_days is None else f"{header.keep_days:g} days",
            "on disk": "on the server" if size is None else f"{size / 1e6:.1f} MB",
        }
        if header.recall is not None:
            lines["approximate"] = f"finds {header.recall:.1%} of the true nearest 10, on a sample"
        if header.unfinished_forget:
            lines["forgetting"] = "was interrupted: gallery compact ends it"
        for name, text in lines.items():
            print(f"{name:<12} {text}")
        log = people.log()
        print(f"log          {len(log)} events{', the newest:' if len(log) else ''}")
        for event in log.tail(_SHOWN).itertuples():
            by = f" by {event.by}" if event.by else ""
            print(f"  {event.time}  {event.event:<8} {event.entries} entries{by}")


def _export(flags: command.Flags) -> None:
    command.required(flags, "output")
    command.check_writable("output", flags.output)
    check_writable_as(flags.output, [])
    with Gallery(flags.gallery) as people:
        count = people.export(flags.output, named=flags.named)
        augmentation = people.test_time_augmentation
    print(f"{count} entries written to {flags.output}")
    if augmentation != "none":
        print(
            f"they were embedded with --test_time_augmentation={augmentation}, which the file does not say: give it to "
            "gallery add --embeddings; a SavedModel's search embeds its images without"
        )


def _compact(flags: command.Flags) -> None:
    with Gallery(flags.gallery, keep_days=flags.keep_days) as people:
        before = people.size()
        forgotten = people.compact()
        if forgotten.entries or forgotten.proven:
            _say_forgotten(forgotten)
        after = people.size()
        _say_shared(people)
    print("compacted" if after is None else f"compacted from {before / 1e6:.1f} to {after / 1e6:.1f} MB")


def _calibrate(flags: command.Flags) -> None:
    command.required(flags, "artifact")
    check_artifact(flags)

    from keras_reid.artifacts import open_artifact

    artifact = open_artifact(flags.artifact)
    with Gallery(flags.gallery, artifact=artifact) as people:
        people.calibrate(artifact.metadata)
        print(f"threshold {_threshold(people.header.calibration)}")


def _reembed(flags: command.Flags) -> None:
    """The old gallery stays as it is, until its owner deletes it: a half-embedded one would be of no use."""
    from keras_reid.gallery.enrolling import enroll

    command.required(flags, "artifact", "output")
    check_artifact(flags)
    with Gallery(flags.gallery) as old:
        frame, _ = old.entries()
        keep_days, augmentation = old.header.keep_days, old.test_time_augmentation
    pictures = frame.crop.where(frame.crop != "", frame.source)
    if (pictures == "").any():
        raise ReidError(f"{(pictures == '').sum()} of {len(frame)} entries name no picture, neither crop nor source.")

    from keras_reid.artifacts import open_artifact

    artifact = open_artifact(flags.artifact)
    about = {"keep_days": keep_days, "test_time_augmentation": flags.test_time_augmentation or augmentation}
    with Gallery(flags.output, artifact=artifact, **about) as new:
        known = {name: frame[name].tolist() for name in (*TEXTS, "time", "until")}
        added, skipped = enroll(new, artifact, pictures, known, **command.given(flags, "batch_size", "on_error"))
        _say_added(new, added, skipped)
    print(f"{flags.gallery} is as it was: delete it when you no longer need it")


def _say_shared(people: Gallery) -> None:
    if people.is_shared:
        print(
            "no lock keeps other writers out: what two add at once is all kept, each entry once; let nobody add while "
            "one forgets or compacts"
        )


def _say_added(people: Gallery, added: Added, skipped: list[str]) -> None:
    renamed = f", {added.renamed} have another identity now" if added.renamed else ""
    print(f"{added.new} entries added{renamed}, {added.known} were there; {people.count()} in all")
    _say_shared(people)
    if skipped:
        print(f"{len(skipped)} images cannot be read and are left out:")
        print("\n".join(f"  {path}" for path in skipped[:_SHOWN]))
        if len(skipped) > _SHOWN:
            print(f"  and {len(skipped) - _SHOWN} more")


def _say_forgotten(forgotten: Forgotten) -> None:
    print(f"{forgotten.entries} entries forgotten; {forgotten.proof}")


def _threshold(calibration: dict[str, Any]) -> str:
    rest = [f"{name} {value}" for name, value in calibration.items() if name != "threshold" and value is not None]
    return f"{calibration['threshold']:.6g}{' (' + ', '.join(rest) + ')' if rest else ''}"


def _one(flags: command.Flags, name: str) -> str | None:
    values = flags[name].value
    if len(values) > 1:
        raise ReidError(f"--{name} is given {len(values)} times: expected once, for all that is added.")
    return values[0] if values else None


def _flags_of(action: str) -> str:
    names = [name for name in ("gallery", *ACTIONS[action]) if name not in DESCRIBING]
    return ", ".join(f"--{name}" for name in names)


def main(argv: Sequence[str] | None = None) -> int:
    return command.run_command(gallery, options.gallery_flags(), argv)


if __name__ == "__main__":
    sys.exit(main())
