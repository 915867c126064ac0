"""Settings of a training run: one field for each flag of `keras_reid.train`, with its default. Needs no TensorFlow."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from keras_reid import choices
from keras_reid.data.places import absolute
from keras_reid.errors import ReidError
from keras_reid.training.phases import Phase, check_starts, phases_of

# Settings that change where a run looks or how often it is scored, not what it learns.
FREE = {"data_dir", "run_dir", "evaluate_every", "save_every_steps", "epochs", "early_stop", "batch_size"}
FREE |= {"score_baselines", "cache", "profile_steps"}


def _setting(default, text: str, *, of=None, least=None, most=None) -> Any:
    """A field: its default, what it means, and the values that it may have."""
    metadata = {"help": text, "choices": of, "least": least, "most": most}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=dict, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a run trains on, what it learns by, and where it lies; each field is the flag of that name.

    A single dataset or folder may be given as a string; one dataset name stands for each of several folders.

    Raises:
        ReidError: `dataset` and `data_dir` do not fit each other, or a value is of another kind than expected.
    """

    dataset: Sequence[str] = _setting(
        ("market1501",), "Dataset, or several, one for each data_dir.", of=choices.DATASETS
    )
    data_dir: Sequence[str] = _setting((), "Folder of the dataset (of csv the file); given again for several at once.")
    camera_pattern: str | None = _setting(
        None, "Of dataset=folder: a regular expression with the camera in parentheses, such as 'c([0-9]+)_'."
    )
    missing_cameras: str = _setting(
        "distinct",
        "What a missing camera id means in scoring: an error, a camera of its own, or an image that does not count.",
        of=choices.MISSING_CAMERAS,
    )
    train_images: int = _setting(0, "Train on that many images, drawn by seed; 0 is all. The patent: 7000.", least=0)
    train_identities: int = _setting(0, "Train on that many identities, drawn by seed; 0 is all.", least=0)
    validation_identities: int = _setting(
        0,
        "Hold out that many training identities, drawn by seed: each evaluate_every is scored on them, not on query "
        "and gallery; 0 is off.",
        least=0,
    )
    synthetic_identities: int = _setting(
        300, "Identities of a synthetic dataset that is rendered: half train.", least=4
    )
    synthetic_cameras: int = _setting(5, "Cameras of a synthetic dataset that is rendered.", least=2)
    synthetic_images_per_camera: int = _setting(3, "Images of an identity by a camera, when rendered.", least=2)
    run_dir: str | None = _setting(None, "Folder of the run; the same flags go on where it stopped.")
    epochs: int = _setting(150, "Epochs, each of N // (P * K) steps for N training images.", least=1, most=10**6)
    identities_per_batch: int = _setting(18, "P, identities in a batch.")
    images_per_identity: int = _setting(4, "K, images of each identity in a batch.")
    sampler: str = _setting(
        "identity",
        "camera: an anchor meets other cameras where it can; dataset: all datasets in equal parts in each batch.",
        of=choices.SAMPLERS,
    )
    cache: str = _setting(
        "auto",
        "Keep decoded images in memory; auto: where half the free memory holds them. No effect on what is learned.",
        of=choices.CACHES,
    )
    image_height: int = _setting(256, "Pixels.", least=1)
    image_width: int = _setting(128, "Pixels.", least=1)
    image_size_schedule: str | None = _setting(
        None,
        "Smaller images at first, such as 64x32:24,96x48:40,128x64: height x width up to that epoch, then the next. "
        "The last size is image_height x image_width.",
    )
    random_flip: float = _setting(0.5, "Probability of a left-right flip.")
    random_crop_padding: int = _setting(10, "Pixels of border from which a random crop is cut; 0 is off.")
    random_erasing: float = _setting(0.0, "Probability that a random rectangle is erased; 0 is off.")
    erasing_start: int = _setting(0, "First epochs without random erasing.", least=0)
    color_jitter: float = _setting(
        0.0, "Strength of random brightness, contrast, saturation, hue; 0 is off.", least=0, most=1
    )
    rand_augment: float = _setting(
        0.0, "Magnitude of RandAugment, without shifts and shears; 0 is off.", least=0, most=1
    )
    random_grayscale: float = _setting(0.0, "Probability that an image loses its colors; 0 is off.", least=0, most=1)
    random_blur: float = _setting(0.0, "Probability that an image is blurred; 0 is off.", least=0, most=1)
    embedding_size: int = _setting(128, "D, numbers in an embedding.", least=1)
    head: str = _setting("trinet", "What turns features into an embedding.", of=choices.HEADS)
    last_stride: int = _setting(2, "Stride of ResNet-50's last stage; 1 is finer and slower.", of=choices.LAST_STRIDES)
    last_stride_start: int = _setting(0, "First epochs in which that stride is 2 all the same, and faster.", least=0)
    normalize_embedding: bool = _setting(False, "Scale embeddings to length 1.")
    backbone_weights: str = _setting(
        "imagenet",
        "imagenet (keras-cv's, downloaded), none, or a path: run folder, .keras, or .h5, .safetensors or .pth of a "
        "ResNet-50.",
    )
    backbone: str = _setting(
        "auto",
        "resnet50_ibn_a normalizes a part by image, for cameras that it has not seen; auto: what backbone_weights are "
        "of, else resnet50.",
        of=choices.BACKBONES,
    )
    loss: str = _setting(
        "batch_hard", "Loss on the distances in a batch; tfa_ ones are tensorflow-addons'.", of=choices.LOSSES
    )
    margin: float | str = _setting(
        0.3, "Margin of the loss: a number of at least 0, or soft (not contrastive, circle)."
    )
    mining_scope: str = _setting(
        "global",
        "Where pairs are sought when there are several replicas: in the whole batch, or in each replica's part.",
        of=choices.MINING_SCOPES,
    )
    strategy: str = _setting(
        "auto",
        "auto: multi_worker where TF_CONFIG names several workers, mirrored where there are several GPUs, else one.",
        of=choices.STRATEGIES,
    )
    replicas: int = _setting(
        0, "Of strategy=mirrored: GPUs, or without a GPU parts of the CPU; 0 is each GPU.", least=0
    )
    sync_batch_norm: bool = _setting(False, "BatchNormalization over all replicas; what ships is the same.")
    identity_loss_weight: float = _setting(0.0, "Weight of identity cross-entropy on the BNNeck; 0 is off.", least=0)
    label_smoothing: float = _setting(0.1, "Of identity cross-entropy, from 0 to below 1.", least=0, most=1)
    metric_loss_start: int = _setting(
        0, "First epochs in which identity cross-entropy alone is learned, without the loss on distances.", least=0
    )
    metric_loss_ramp: float = _setting(
        0.0, "Epochs after metric_loss_start in which the weight of the loss on distances rises to 1.", least=0
    )
    center_loss_weight: float = _setting(0.0, "Weight of center loss; 0 is off. The BNNeck paper takes 5e-4.", least=0)
    optimizer: str = _setting(
        "adam",
        "sgd has Nesterov momentum 0.9. tfa_ ones are tensorflow-addons': RectifiedAdam, LAMB, and on Adam Lookahead "
        "and SWA, which ships the mean of the last quarter's epochs.",
        of=choices.OPTIMIZERS,
    )
    learning_rate: float = _setting(3e-4, "Learning rate after any warm-up and before any decay.")
    weight_decay: float = _setting(5e-4, "Decoupled, of adamw, tfa_radam and tfa_lamb; other optimizers have none.")
    decayed_weights: str = _setting(
        "all",
        "What weight_decay applies to; kernels: not to biases and BatchNormalization, and by sgd as well; adamw, sgd.",
        of=choices.DECAYED_WEIGHTS,
    )
    clip_norm: float = _setting(0.0, "Largest norm of the gradient of all weights together; 0 is off.", least=0)
    schedule: str = _setting(
        "trinet",
        "trinet: constant for 60 % of the steps, then down to a thousandth, exponentially; cosine: from the warm-up's "
        "end to 0; step: a tenth after each of decay_epochs. All follow epochs: a longer run has other rates.",
        of=choices.SCHEDULES,
    )
    decay_epochs: Sequence[float] = _setting(
        (), "Of schedule=step, such as 40,70; by default a third and 7/12 of epochs."
    )
    warmup_epochs: float = _setting(
        0.0, "Epochs in which the rate rises linearly from a tenth, before any decay.", least=0
    )
    layer_learning_rates: Mapping[str, float] = _setting(
        {}, "Factors on the rate for stem, stage1 to stage4, head, or backbone (all but head): backbone=0.1,stage4=0.5."
    )
    freeze_backbone_epochs: int = _setting(0, "First epochs in which the head alone learns; adam, adamw, sgd.", least=0)
    jit_compile: bool = _setting(False, "Compile the training step by XLA: slower to start; one replica only.")
    mixed_precision: str = _setting(
        "auto", "auto: float16 on a GPU, bfloat16 on a CPU that computes in it, else float32.", of=choices.PRECISIONS
    )
    ema: float = _setting(0.0, "Decay of a moving average of the weights, which then ships, such as 0.999; 0 is off.")
    ema_start: int = _setting(0, "First epochs in which that average is the weights themselves.", least=0)
    renew_batch_norm: int = _setting(
        0,
        "Training batches, not augmented, from which what is scored and ships takes its BatchNormalization statistics; "
        "0: the moving ones.",
        least=0,
    )
    save_every_steps: int = _setting(0, "Steps between checkpoints inside an epoch; 0: at its end only.", least=0)
    profile_steps: int = _setting(0, "Steps to profile for TensorBoard, after the first three; 0 is off.", least=0)
    evaluate_every: int = _setting(10, "Epochs from one evaluation to the next; the last is always scored.", least=1)
    early_stop: int = _setting(0, "Evaluations without a better mAP after which training ends; 0 is off.", least=0)
    score_baselines: bool = _setting(True, "Score the untrained network and the mean color, for comparison.")
    batch_size: int = _setting(64, "Images at once in evaluation; no effect on the scores.", least=1)
    seed: int = _setting(0, "Of initial weights, batches and augmentation.", least=0, most=2**32 - 1)
    deterministic: bool = _setting(False, "Bit-equal runs, slower (TensorFlow's op determinism).")

    def __post_init__(self):
        forms = {"dataset": _listed, "data_dir": _listed, "run_dir": lambda path: path and os.fspath(path)}
        forms |= {"last_stride": int, "margin": _number_or_text, "layer_learning_rates": dict}
        forms |= {"decay_epochs": lambda epochs: tuple(map(float, epochs))}
        for name, form in forms.items():
            object.__setattr__(self, name, form(getattr(self, name)))
        for field in dataclasses.fields(self):
            _check(field, getattr(self, field.name))
        beside_identity_loss = "identity_loss_weight=NUMBER above 0", self.identity_loss_weight
        check_starts(
            epochs=self.epochs,
            erasing_start=(self.erasing_start, "random_erasing=NUMBER above 0", self.random_erasing),
            last_stride_start=(self.last_stride_start, "last_stride=1", self.last_stride == 1),
            ema_start=(self.ema_start, "ema=NUMBER above 0", self.ema),
            metric_loss_start=(self.metric_loss_start, *beside_identity_loss),
            metric_loss_ramp=(self.metric_loss_ramp, *beside_identity_loss),
        )
        _ = self.phases  # raises
        if self.jit_compile and self.deterministic:
            raise ReidError(
                "jit_compile=true does not go with deterministic=true, for XLA has no deterministic gradient of max "
                "pooling: leave out one of them."
            )
        if len(self.dataset) not in (1, max(1, len(self.data_dir))):
            raise ReidError(
                f"{len(self.dataset)} datasets are named for {len(self.data_dir)} data_dir: expected one dataset=NAME, "
                "or one for each data_dir, in the same order."
            )
        for path in map(os.fspath, filter(None, (*self.data_dir, self.run_dir, self.backbone_weights))):
            if path.splitlines() != [path]:
                raise ReidError(f"{path!r} holds a line break, but run.flags keeps one path in a line. Rename it.")
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

    @property
    def phases(self) -> list[Phase]:
        """The phases of the run; ReidError where the schedule of image sizes does not fit."""
        erasing, stride = ("random_erasing", "erasing_start"), ("last_stride", "last_stride_start")
        return phases_of(**self.some("epochs", "image_size", "image_size_schedule", *erasing, *stride))

    def some(self, *names: str) -> dict:
        """Returns some of the settings by name, as keyword arguments."""
        return {name: getattr(self, name) for name in names}

    def as_text(self, *, absolute_paths: bool = True) -> dict[str, str]:
        """Returns the settings as `run.flags` keeps them, name -> text, without those that are None.

        The values of a flag that may be repeated are lines; there is a dataset for each `data_dir`.

        Args:
            absolute_paths: whether paths are made absolute, or stay as they were given.
        """
        values = {**vars(self), "dataset": [name for name, _ in self.datasets] or self.dataset}
        if absolute_paths:
            values["data_dir"] = [absolute(path) for path in self.data_dir]
            values["run_dir"] = None if self.run_dir is None else absolute(self.run_dir)
            if self.backbone_weights not in ("imagenet", "none"):
                values["backbone_weights"] = absolute(self.backbone_weights)
        return {name: _as_text(name, value) for name, value in values.items() if value is not None}

    def as_command(self) -> str:
        """Returns the command line of `keras_reid.train` that gives these settings again, without the defaults."""
        text, usual = self.as_text(absolute_paths=False), Settings().as_text()
        given = [(name, line) for name in text if text[name] != usual.get(name) for line in text[name].split("\n")]
        flags = [f"--{name}={shlex.quote(value)}" for name, value in given]
        return " \\\n  ".join(["python -m keras_reid.train", *flags])


def _check(field: dataclasses.Field, value) -> None:
    """Raises ReidError for a value that a setting may not have."""
    allowed, least, most = (field.metadata[name] for name in ("choices", "least", "most"))
    for one in value if isinstance(value, tuple) else (value,):
        if allowed and one not in allowed:
            raise ReidError(f"{field.name}={one}, expected one of {', '.join(map(str, allowed))}.")
    if least is not None and not least <= value <= (value if most is None else most):
        bounds = f"at least {least}" if most is None else f"{least} to {most}"
        raise ReidError(f"{field.name}={value}, expected {bounds}.")


def numbers(text: str) -> list[float]:
    """Returns [40.0, 70.0] from "40,70"; ValueError where a part is no number."""
    try:
        return [float(part) for part in filter(None, text.split(","))]
    except ValueError:
        raise ValueError("expected numbers by commas, such as 40,70") from None


def factors(text: str) -> dict[str, float]:
    """Returns {"stem": 0.1, "head": 1.0} from "stem=0.1,head=1"; ValueError where a part has another form."""
    try:
        pairs = (part.split("=") for part in filter(None, text.split(",")))
        return {name.strip(): float(factor) for name, factor in pairs}
    except ValueError:
        raise ValueError("expected part=factor by commas, such as stem=0.1,head=1") from None


def as_written_now(text: Mapping[str, str]) -> dict[str, str]:
    """Returns settings that an earlier version may have written to `run.flags`, in the words of `Settings.as_text`.

    Settings that this version does not know, and values that it would refuse, stay as they are.
    """
    readers = {"margin": _number_or_text, "decay_epochs": numbers, "layer_learning_rates": factors}
    rewritten = dict(text)
    for name, default in vars(Settings()).items():
        if name in text:
            read = readers.get(name, float if isinstance(default, float) else str)
            with contextlib.suppress(ValueError):
                rewritten[name] = _as_text(name, read(text[name]))
    return rewritten


def _as_text(name: str, value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return ",".join(f"{part}={factor:g}" for part, factor in value.items())
    if name == "decay_epochs":
        return ",".join(f"{epoch:g}" for epoch in value)
    return str(value) if isinstance(value, (str, int, float)) else "\n".join(value)


def _listed(value: str | os.PathLike | Sequence) -> tuple[str, ...]:
    return tuple(map(os.fspath, [value] if isinstance(value, (str, os.PathLike)) else value))


def _number_or_text(margin: float | str) -> float | str:
    try:
        return float(margin)
    except (TypeError, ValueError):
        return margin
