"""Sources of the datasets: where their authors publish them, under which terms, and what they hold."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Source:
    """Where a dataset comes from.

    Attributes:
        where: the authors' page, and what to get there.
        terms: of use.
        license: what the terms mean for a model that is trained on the dataset.
        counts: official (images, identities) of a split; None where nobody states it.
    """

    where: str
    terms: str
    license: str
    counts: dict[str, tuple[int, int | None]]


_MARKET = Source(
    where="https://zheng-lab.cecs.anu.edu.au/Project/project_reid.html (Market-1501-v15.09.15.zip)",
    terms='its readme.txt: "research only. Please DO NOT distribute or use it for commercial purpose."',
    license="Trained on Market-1501, which is for research only: ask its authors before any other use.",
    counts={"train": (12936, 751), "query": (3368, 750), "gallery": (19732, 750), "multi_query": (25259, 1501)},
)
_CUHK03 = Source(
    where="http://www.ee.cuhk.edu.hk/~xgwang/CUHK_identification.html (by a request form); the pictures in the folders "
    "of the new split, CUHK03-NP, by way of https://github.com/zhunzhong07/person-re-ranking. cuhk03_release.zip "
    "itself is one MATLAB file: its pictures must be written to images_detected and images_labeled first",
    terms="for academic research, by the form of its page.",
    license="Trained on CUHK03, which is for research only: ask its authors before any other use.",
    counts={"train": (7365, 767), "query": (1400, 700), "gallery": (5332, 700)},
)

SOURCES = {
    "market1501": _MARKET,
    "market1501_500k": dataclasses.replace(
        _MARKET,
        where=f"{_MARKET.where[:-1]} and distractors_500k.zip: give both archives)",
        counts={"train": (12936, 751), "query": (3368, 750)},
    ),
    "msmt17": Source(
        where="https://www.pkuvmc.com/dataset.html (MSMT17_V1 or MSMT17_V2, whose faces are masked; by a signed "
        "release agreement sent to the authors)",
        terms="its release agreement: research without commercial use, not to be passed on.",
        license="Trained on MSMT17, whose release agreement allows research without commercial use only.",
        counts={"train": (32621, 1041), "query": (11659, 3060), "gallery": (82161, 3060)},
    ),
    "cuhk03": _CUHK03,
    "cuhk03_labeled": dataclasses.replace(
        _CUHK03, counts={"train": (7368, 767), "query": (1400, 700), "gallery": (5328, 700)}
    ),
    "cuhk03_classic": dataclasses.replace(_CUHK03, counts={}),
    "mars": Source(
        where="https://zheng-lab.cecs.anu.edu.au/Project/project_mars.html (bbox_train.zip and bbox_test.zip) and, for "
        "the folder info, https://github.com/liangzheng06/MARS-evaluation: give all three archives",
        terms="given out for research, with no license on its page: ask its authors before any other use. It extends "
        "Market-1501 and was filmed by the same cameras: do not train on one and test on the other.",
        license="Trained on MARS, which is given out for research: ask its authors before any other use.",
        counts={"train": (509914, 625), "gallery": (681089, None)},
    ),
    "viper": Source(
        where="https://vision.soe.ucsc.edu/node/178 (VIPeR.v1.0.zip)",
        terms="published for research, with no license on its page: ask its authors before any other use.",
        license="Trained on VIPeR, which was published for research: ask its authors before any other use.",
        counts={"train": (632, 316), "query": (316, 316), "gallery": (316, 316)},
    ),
}
_OWN = "Trained on images of your own: the rights of those who took them and of the people on them apply."
LICENSE_NOTES = {
    **{name: source.license for name, source in SOURCES.items()},
    "csv": _OWN,
    "folder": _OWN,
    "synthetic": "Trained on images that keras_reid rendered: nobody else's terms apply.",
}
_DUKE = (
    "DukeMTMC was withdrawn by its authors in 2019, after its filming had been found to break the university's own "
    "rules on research with people: it is not offered here. Use another dataset"
)
WITHDRAWN = {"duke": _DUKE, "dukemtmc": _DUKE, "dukemtmcreid": _DUKE, "dukemtmc_reid": _DUKE, "dukemtmc-reid": _DUKE}


def license_notes(dataset: str) -> str:
    """Returns the notes of a dataset, or of several whose names are joined by +; empty for one that is unknown."""
    notes = [LICENSE_NOTES.get(name, "") for name in dataset.split("+")]
    return " ".join(dict.fromkeys(filter(None, notes)))
