"""python -m keras_reid.search --artifact=PATH --gallery=URI PHOTO...: who in a gallery looks most like this person.

Several photos are of one person, and are pooled. Where the gallery holds a threshold, the answer names the person
enrolled who is near enough, or nobody.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

import pandas as pd
from tqdm import tqdm

from keras_reid import command, options
from keras_reid.data.photos import refuse_unreadable
from keras_reid.data.video import import_cv2
from keras_reid.describing_flags import check_artifact
from keras_reid.errors import ReidError
from keras_reid.files import write_text
from keras_reid.gallery.gallery import Gallery
from keras_reid.gallery.results import Identification, SearchResult, span


def search(flags: command.Flags) -> None:
    result, who = find(flags)
    print(table(result))
    if len(result.hits) and not pd.isna(result.hits.time.iloc[0]):
        print(f"nearest: {seen(result.hits.iloc[0])}")
    if result.recall is not None:
        print(f"approximate: finds {result.recall:.1%} of the true nearest 10, on a sample of the gallery")
    elif flags.approximate:
        print("exact: the gallery is small, or its engine has no approximate search")
    print(verdict(who))
    if flags.report:
        from keras_reid.reports.search_page import write_search_page

        answer = verdict(who).splitlines()[0] if who else "Nobody is named: the gallery has no threshold"
        write_search_page(flags.report, flags.arguments, result, answer=answer, gallery=flags.gallery)
        print(f"drawn {flags.report}")
    if flags.json:
        write_text(flags.json, json.dumps(as_json(result, who, flags.arguments), indent=2, ensure_ascii=False) + "\n")
        print(f"written to {flags.json}")
    if flags.clip:
        write_clips(flags.clip, result)


def find(flags: command.Flags) -> tuple[SearchResult, Identification | None]:
    """Returns what was found, and who it is; None for the latter where the gallery holds no threshold."""
    command.required(flags, "artifact", "gallery")
    if not flags.arguments:
        raise ReidError("expected one or more photos of one person, as in search --artifact=... --gallery=... A.jpg")
    for name in ("json", "report"):
        command.check_writable(name, flags[name].value)
    if flags.clip:
        command.check_folder("clip", flags.clip)
        import_cv2()
    refuse_unreadable(flags.arguments)
    check_artifact(flags)

    from keras_reid.artifacts import embed_files, open_artifact  # TensorFlow takes seconds: after the cheap checks

    artifact = open_artifact(flags.artifact)
    with Gallery(flags.gallery, artifact=artifact, **command.given(flags, "test_time_augmentation")) as people:
        people.header  # noqa: B018  there must be one before anything is embedded
        photos = embed_files(artifact, flags.arguments, test_time_augmentation=people.test_time_augmentation)
        where = {"cameras": flags.camera, "not_cameras": flags.not_camera, "identities": flags.identity}
        where = {name: values for name, values in where.items() if values} | command.given(flags, "since", "until")
        result = people.search(photos, flags.top, **where, **command.given(flags, "approximate", "rerank"))
        return result, None if people.header.threshold is None else people.identify(photos, **where)


def table(result: SearchResult) -> str:
    """Returns the hits as a table for the screen."""
    if not len(result.hits):
        return f"nobody found among {result.searched} entries"
    names = ("identity", "camera", "time", "until", "source", "box", "crop")
    names = [name for name in names if _says_anything(result.hits[name])]
    shown = result.hits[["rank", "distance", *names]].assign(distance=result.hits.distance.map("{:.4f}".format))
    times = [name for name in ("time", "until") if name in names]
    for name in times:
        shown[name] = result.hits[name].map(lambda one: one.isoformat(timespec="seconds"), na_action="ignore")
    shown = shown.astype(object).where(shown.notna(), "-")
    for name in (name for name in names if name not in times):
        shown[name] = [" ".join(str(value).split()) or "-" for value in shown[name]]
    order = " in the order of re-ranking" if result.reranked else ""
    return f"{len(shown)} nearest of {result.searched} entries by {result.metric} distance{order}\n" + shown.to_string(
        index=False
    )


def seen(hit: Any) -> str:
    """Returns where and when a hit was seen, such as: camera 3, 2026-05-01 14:02:10 to 14:02:31 UTC."""
    return ", ".join(filter(None, (f"camera {hit.camera}" if hit.camera else "", span(hit.time, hit.until))))


def write_clips(folder: str, result: SearchResult) -> None:
    """Writes a video of each hit that is a track, and says which."""
    from keras_reid.tracks.clips import sighting_of, write_clip
    from keras_reid.tracks.crops import safe_name

    written = 0
    for hit in tqdm(result.hits.itertuples(), "clips", len(result.hits), unit="clip", disable=None, leave=False):
        try:
            sighting = sighting_of(hit.crop) if hit.crop else None
            if sighting is None:
                continue
            name = f"{hit.rank:03}_camera_{safe_name(hit.camera)}_track_{safe_name(sighting.track)}.mp4"
            seconds = write_clip(os.path.join(folder, name), sighting, label=f"{seen(hit)}, track {sighting.track}")
            tqdm.write(f"clip {os.path.join(folder, name)}: {seconds:.1f} s")
        except ReidError as error:  # a recording that was moved: the others may be there
            tqdm.write(f"no clip of rank {hit.rank}: {error}")
        written += 1
    if not written:
        print("no clip: no entry found is a track of python -m keras_reid.tracks")


def verdict(who: Identification | None) -> str:
    """Returns who it is in a sentence."""
    if who is None:
        return "no threshold yet for who is nobody: calibrate the artifact, then python -m keras_reid.gallery calibrate"
    if who.nearest is None:
        return "unknown: nobody with a name is enrolled there"
    near = f"{who.distance:.6g}, {'at most' if who.identity else 'above'} the threshold of {who.threshold:.6g}"
    answer = (
        f"{who.identity}: the nearest entry is at" if who.identity else f"unknown: the nearest, {who.nearest}, is at"
    )
    return f"{answer} {near}\nthis is a hint, never a proof of identity"


def as_json(result: SearchResult, who: Identification | None, photos: Sequence[str]) -> dict:
    """Returns all of it for a program."""
    times = {name: [None if one != one else one.isoformat() for one in result.hits[name]] for name in ("time", "until")}
    hits = result.hits.assign(**times)
    about = {name: getattr(result, name) for name in ("metric", "threshold", "searched", "recall", "reranked")}
    identity = None if who is None else {"identity": who.identity, "nearest": who.nearest, "distance": who.distance}
    if identity and who.nearest is None:
        identity["distance"] = None  # infinite, which JSON does not have
    return {"photos": list(photos), **about, "identification": identity, "hits": hits.to_dict("records")}


def _says_anything(values) -> bool:
    return bool((values.notna() & (values != "")).any())


def main(argv: Sequence[str] | None = None) -> int:
    return command.run_command(search, options.search_flags(), argv)


if __name__ == "__main__":
    sys.exit(main())
