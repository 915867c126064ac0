"""python -m keras_reid.prepare NAME --archive=FILE.zip --data_dir=DIR: unpacks and checks a downloaded dataset.

NAME alone says where the authors publish it and under which terms; without a NAME all datasets are listed. --archive
may be given several times. The dataset is unpacked as a whole or not at all, read as train reads it, and its counts are
compared with the official ones.

python -m keras_reid.prepare corrections --file=corrections.csv --data_dir=people.csv shows what the corrections that a
report exports make of a CSV dataset, and with --output=NEW.csv writes it. Nothing that is there is overwritten.

python -m keras_reid.prepare --from_tracks=FOLDER --data_dir=NEW makes a CSV dataset of the people that
python -m keras_reid.tracks --link found, after somebody looked at FOLDER/tracks.html.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from keras_reid import command, options
from keras_reid.data.catalog import describe
from keras_reid.data.corrections import VERDICTS, changes, correct, newly_shared, read_corrections
from keras_reid.data.places import absolute, is_remote
from keras_reid.data.readers.by_name import check_name, read_dataset
from keras_reid.data.readers.own_csv import csv_table
from keras_reid.data.readers.sources import SOURCES
from keras_reid.data.unpack import unpack
from keras_reid.errors import ReidError
from keras_reid.files import whole_or_not_at_all, write_text

CORRECTIONS = "corrections"


def prepare(flags: command.Flags) -> None:
    if len(flags.arguments) > 1:
        raise ReidError(f"expected one name, got {' '.join(flags.arguments)}.")
    name = flags.arguments[0] if flags.arguments else None
    if flags.from_tracks:
        return dataset_of_tracks(flags)
    if name == CORRECTIONS:
        return correct_dataset(flags)
    if flags.file or flags.output:
        raise ReidError(f"--{'file' if flags.file else 'output'} is for corrections: prepare {CORRECTIONS} --file=...")
    if name is not None:
        check_name(name)
    if not flags.archive and not flags.data_dir:
        return tell(name)
    if name not in SOURCES:
        raise ReidError(
            f"{name or 'no name'}: expected one of {', '.join(SOURCES)}. Images of your own need no preparation: "
            "--dataset=csv or folder reads them where they are."
        )
    command.required(flags, "archive", "data_dir")
    data_dir = check_places(flags.archive, flags.data_dir)
    with whole_or_not_at_all(data_dir) as temporary:
        temporary.mkdir()
        for archive in flags.archive:
            print(f"unpacking {archive}", flush=True)
            print(f"{unpack(archive, temporary):,} files", flush=True)
        root, catalog = read_unpacked(name, temporary, data_dir)
        print(f"reading it\n{describe(catalog)}\n{compared(catalog, SOURCES[name].counts)}", flush=True)
    print(f"terms: {SOURCES[name].terms}")
    print(f"ready: --dataset={name} --data_dir={data_dir / root.relative_to(temporary)}")


def tell(name: str | None) -> None:
    """Prints where to get a dataset and under which terms; without a name, of all datasets."""
    if name is not None and name not in SOURCES:
        print(f"{name}: nothing to download. See the README, 'Your own data'.")
        return
    for each in [name] if name else SOURCES:
        source = SOURCES[each]
        print(f"{each}\n  from:  {source.where}\n  terms: {source.terms}")
    print(f"then: python -m keras_reid.prepare {name or 'NAME'} --archive=FILE.zip --data_dir=FOLDER")


def check_places(archives: Sequence[str], data_dir: str) -> Path:
    """Returns the folder to fill; ReidError where an archive does not exist or the folder is not empty."""
    for archive in archives:
        if is_remote(archive) or not os.path.isfile(archive):
            raise ReidError(f"--archive={archive} is no file on this machine: download it first.")
    if is_remote(data_dir):
        raise ReidError(f"--data_dir={data_dir}: unpack into a folder of this machine, and copy it there afterwards.")
    path = Path(os.path.abspath(data_dir))
    if path.exists() and not path.is_dir():
        raise ReidError(f"--data_dir={data_dir} is a file, expected a new or empty folder.")
    if path.is_dir() and any(path.iterdir()):
        raise ReidError(f"--data_dir={data_dir} is not empty, and nothing there is overwritten. Set a new folder.")
    command.check_folder("data_dir", str(path))
    return path


def read_unpacked(name: str, folder: Path, data_dir: Path) -> tuple[Path, pd.DataFrame]:
    """Returns the folder that holds the dataset, the unpacked one or one below it, and the catalog."""
    inside = sorted(path for path in folder.iterdir() if path.is_dir())
    refusals = {}
    for place in (folder, *inside):
        try:
            return place, read_dataset(name, place)
        except ReidError as error:
            refusals[place] = str(error)
    refusal = refusals[inside[0] if len(inside) == 1 else folder].replace(str(folder), str(data_dir))
    raise ReidError(f"what was unpacked is not {name}, and was removed: {refusal}")


def compared(catalog: pd.DataFrame, official: dict[str, tuple[int, int | None]]) -> str:
    """Returns a line that compares the numbers of images and identities with the official ones."""
    differences = []
    for split, (images, identities) in official.items():
        people = catalog.person_id[catalog.split == split]
        found = people[people > 0].nunique()
        if split == "multi_query" and not len(people):
            continue  # not every copy of Market-1501 has it
        if len(people) != images or identities not in (None, found):
            there = f"{images:,} images" + ("" if identities is None else f" of {identities:,} identities")
            differences.append(f"{split} has {len(people):,} images of {found:,} identities, officially {there}")
    if differences:
        return f"NOT the official counts: {'; '.join(differences)}"
    return "these are the official counts" if official else "no official counts are known"


def correct_dataset(flags: command.Flags) -> None:
    """Shows what corrections change in a dataset, and writes a corrected CSV where one is asked for."""
    if flags.archive:
        raise ReidError(f"--archive is for a downloaded dataset: leave it out of prepare {CORRECTIONS}.")
    command.required(flags, "file", "data_dir")
    if flags.output and os.path.exists(flags.output):
        raise ReidError(f"--output={flags.output} is there already, and nothing is overwritten. Set a new name.")
    command.check_writable("output", flags.output)
    is_csv, corrections = flags.dataset == "csv", read_corrections(flags.file)
    catalog = read_dataset(flags.dataset, flags.data_dir, camera_pattern=flags.camera_pattern, must_exist=False)
    table, folder = csv_table(catalog, flags.data_dir if is_csv else None), os.path.dirname(flags.data_dir)
    columns = {"image_path": catalog.image_path, "person": table.person_id, "split": catalog.split}
    images = pd.DataFrame(columns).loc[table.index]
    names = correct(images, corrections, folder if is_csv else flags.data_dir)
    show(images, names, corrections)
    if not flags.output:
        print("nothing is written yet: add --output=NEW.csv")
        return
    table["person_id"] = names
    if absolute(folder) != absolute(os.path.dirname(flags.output)):
        table["image_path"] = images.image_path.map(absolute)
    write_text(flags.output, table[names.notna()].to_csv(index=False))
    print(f"ready: --dataset=csv --data_dir={flags.output}")


def dataset_of_tracks(flags: command.Flags) -> None:
    """Makes a CSV dataset of linked tracks."""
    given = [f"--{name}" for name in ("archive", "file", "output") if flags[name].value] + flags.arguments
    if given:
        raise ReidError(f"--from_tracks takes --data_dir alone, the new folder: leave {given[0]} out.")
    command.required(flags, "data_dir")
    from keras_reid.tracks.training_data import dataset_from_tracks

    made = dataset_from_tracks(flags.from_tracks, check_places([], flags.data_dir))
    for words, count in made.left_out.items():
        print(f"left out {count:,} {words}")
    print(describe(read_dataset("csv", made.path)))
    print("wrong links teach wrong people: did somebody look at tracks.html, and apply the corrections?")
    print(f"ready: --dataset=csv --data_dir={made.path}")


def show(images: pd.DataFrame, names: pd.Series, corrections: pd.DataFrame) -> None:
    """Prints what corrections change, and warns where a person is now both in training and in the test."""
    counts = ", ".join(f"{(corrections.verdict == verdict).sum()} {verdict!r}" for verdict in VERDICTS)
    print(f"{len(corrections)} corrections: {counts}")
    plan = changes(images, names)
    print(plan.to_string(index=False) if len(plan) else "nothing changes: the dataset says so already")
    for when, persons in (("before", images.person), ("after", names)):
        print(f"{when}: {persons.notna().sum():,} images of {persons.nunique():,} identities")
    shared = newly_shared(images, names)
    if shared:
        some = ", ".join(shared[:5]) + (", ..." if len(shared) > 5 else "")
        print(
            f"warning: {len(shared)} people are now in training and test, where they had two names before "
            f"({some}): scores are too good. Take them out of one of both.",
            file=sys.stderr,
        )


def main(argv: Sequence[str] | None = None) -> int:
    return command.run_command(prepare, options.prepare_flags(), argv)


if __name__ == "__main__":
    sys.exit(main())
