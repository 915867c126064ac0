"""Settings of a training run: one field for each flag of `keras_reid.train`, with its default. Needs no TensorFlow."""

from __future__ import annotations

import dataclasses
import os
import shlex
from collections.abc import Mapping, Sequence

from keras_reid.data.places import absolute
from keras_reid.errors import ReidError

# Settings that change where a run looks or how often it is scored, not what it learns.
FREE = frozenset(
    {
        "data_dir",
        "run_dir",
        "evaluate_every",
        "save_every_steps",
        "epochs",
        "early_stop",
        "batch_size",
        "score_baselines",
        "cache",
        "profile_steps",
    }
)


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a run trains on, what it learns by, and where it lies; `python -m keras_reid.train --help` tells of each.

    A single dataset or folder may be given as a string; one dataset name stands for each of several folders.

    Raises:
        ReidError: `dataset` and `data_dir` do not fit each other, or a value is of another kind than expected.
    """

    dataset: Sequence[str] = ("market1501",)
    data_dir: Sequence[str] = ()
    camera_pattern: str | None = None
    missing_cameras: str = "distinct"
    train_images: int = 0
    train_identities: int = 0
    synthetic_identities: int = 300
    synthetic_cameras: int = 5
    synthetic_images_per_camera: int = 3
    run_dir: str | None = None
    epochs: int = 150
    identities_per_batch: int = 18
    images_per_identity: int = 4
    sampler: str = "identity"
    cache: str = "auto"
    image_height: int = 256
    image_width: int = 128
    random_flip: float = 0.5
    random_crop_padding: int = 10
    random_erasing: float = 0.0
    color_jitter: float = 0.0
    rand_augment: float = 0.0
    random_grayscale: float = 0.0
    random_blur: float = 0.0
    embedding_size: int = 128
    head: str = "trinet"
    last_stride: int = 2
    normalize_embedding: bool = False
    backbone_weights: str = "imagenet"
    loss: str = "batch_hard"
    margin: float | str = 0.3
    mining_scope: str = "global"
    strategy: str = "auto"
    replicas: int = 0
    sync_batch_norm: bool = False
    identity_loss_weight: float = 0.0
    label_smoothing: float = 0.1
    center_loss_weight: float = 0.0
    optimizer: str = "adam"
    learning_rate: float = 3e-4
    weight_decay: float = 5e-4
    clip_norm: float = 0.0
    schedule: str = "trinet"
    decay_epochs: Sequence[float] = ()
    warmup_epochs: float = 0.0
    layer_learning_rates: Mapping[str, float] = dataclasses.field(default_factory=dict)
    freeze_backbone_epochs: int = 0
    jit_compile: bool = False
    mixed_precision: str = "auto"
    ema: float = 0.0
    save_every_steps: int = 0
    profile_steps: int = 0
    evaluate_every: int = 10
    early_stop: int = 0
    score_baselines: bool = True
    batch_size: int = 64
    seed: int = 0
    deterministic: bool = False

    def __post_init__(self):
        for name in ("dataset", "data_dir"):
            value = getattr(self, name)
            names = [value] if isinstance(value, (str, os.PathLike)) else value
            object.__setattr__(self, name, tuple(map(os.fspath, names)))
        if self.run_dir is not None:
            object.__setattr__(self, "run_dir", os.fspath(self.run_dir))
        object.__setattr__(self, "last_stride", int(self.last_stride))
        object.__setattr__(self, "margin", _number_or_text(self.margin))
        object.__setattr__(self, "decay_epochs", tuple(map(float, self.decay_epochs)))
        object.__setattr__(self, "layer_learning_rates", dict(self.layer_learning_rates))
        if len(self.dataset) not in (1, max(1, len(self.data_dir))):
            raise ReidError(
                f"dataset names {len(self.dataset)} datasets and data_dir {len(self.data_dir)} folders: expected one "
                "dataset, or one for each data_dir, in the same order."
            )
        twice = next((one for place, one in enumerate(self.datasets) if one in self.datasets[:place]), None)
        if twice:
            raise ReidError(f"data_dir={twice[1]} is given twice: expected different datasets.")

    @property
    def datasets(self) -> list[tuple[str, str]]:
        """Name and folder of each dataset."""
        names = self.dataset * len(self.data_dir) if len(self.dataset) == 1 else self.dataset
        return list(zip(names, self.data_dir))

    @property
    def dataset_name(self) -> str:
        """One name for all datasets, joined by +."""
        return "+".join(dict.fromkeys(self.dataset))

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width), in pixels."""
        return self.image_height, self.image_width

    def some(self, *names: str) -> dict:
        """Returns some of the settings by name, as keyword arguments."""
        return {name: getattr(self, name) for name in names}

    def as_text(self, *, absolute_paths: bool = True) -> dict[str, str]:
        """Returns the settings as `run.flags` keeps them, name -> value; those that are None are left out.

        The values of a flag that is given several times are lines; one dataset stands for each `data_dir`.

        Args:
            absolute_paths: whether paths are made absolute, to be read from any folder, or stay as they were given.
        """
        values = {**vars(self), "dataset": [name for name, _ in self.datasets] or self.dataset}
        if absolute_paths:
            values["data_dir"] = [absolute(path) for path in self.data_dir]
            values["run_dir"] = None if self.run_dir is None else absolute(self.run_dir)
            if os.path.exists(self.backbone_weights):
                values["backbone_weights"] = absolute(self.backbone_weights)
        return {name: _as_text(name, value) for name, value in values.items() if value is not None}

    def as_command(self) -> str:
        """Returns the command line of `keras_reid.train` that gives these settings again, without the defaults."""
        text, usual = self.as_text(absolute_paths=False), Settings().as_text()
        given = [(name, line) for name in text if text[name] != usual.get(name) for line in text[name].split("\n")]
        return " \\\n  ".join(
            ["python -m keras_reid.train", *(f"--{name}={shlex.quote(value)}" for name, value in given)]
        )


def as_written_now(text: Mapping[str, str]) -> dict[str, str]:
    """Returns settings of `run.flags`, which an earlier version may have written, in the words of `Settings.as_text`.

    Settings that this version does not know, and values that it would refuse, stay as they are.
    """
    usual = vars(Settings())
    return {name: _rewritten(name, value, usual[name]) if name in usual else value for name, value in text.items()}


def _rewritten(name: str, text: str, usual) -> str:
    try:
        if name == "margin":
            return _as_text(name, _number_or_text(text))
        if name == "decay_epochs":
            return _as_text(name, [float(part) for part in text.split(",") if part])
        if name == "layer_learning_rates":
            pairs = (part.split("=") for part in text.split(",") if part)
            return _as_text(name, {part.strip(): float(factor) for part, factor in pairs})
        return _as_text(name, float(text)) if isinstance(usual, float) else text
    except ValueError:
        return text


def _as_text(name: str, value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return ",".join(f"{part}={factor:g}" for part, factor in value.items())
    if name == "decay_epochs":
        return ",".join(f"{epoch:g}" for epoch in value)
    return str(value) if isinstance(value, (str, int, float)) else "\n".join(value)


def _number_or_text(margin: float | str) -> float | str:
    try:
        return float(margin)
    except (TypeError, ValueError):
        return margin
