"""Flags of every command: their names, defaults, bounds and help."""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags

from keras_reid import choices
from keras_reid.artifacts.formats.table import DEFAULT_FORMATS, MAX_MAP_DROP, MIN_COSINE, MIN_COSINE_OF_INT8_WEIGHTS
from keras_reid.command import Flags
from keras_reid.data.readers.sources import WITHDRAWN
from keras_reid.errors import ReidError


def train_flags() -> Flags:
    """Returns the flags of `keras_reid.train`."""
    values = Flags()
    _strings(values, "dataset", ["market1501"], choices.DATASETS, "Dataset, or several, one for each --data_dir.")
    _strings(values, "data_dir", [], None, "Folder of the dataset (of csv the file); given again for several at once.")
    _define_cameras(values)
    _missing_cameras(values, "distinct")
    _integer(values, "train_images", 0, "Train on that many images, drawn by --seed; 0 is all. The patent: 7000.", 0)
    _integer(values, "train_identities", 0, "Train on that many people, drawn by --seed; 0 is all.", 0)
    _integer(values, "synthetic_identities", 300, "People of a synthetic set that is rendered: half train.", 4)
    _integer(values, "synthetic_cameras", 5, "Cameras of a synthetic set that is rendered.", 2)
    _integer(values, "synthetic_images_per_camera", 3, "Images of a person by a camera, when rendered.", 2)
    _string(values, "run_dir", None, "Folder of the run; the same flags go on where it stopped.")
    _integer(values, "epochs", 150, "Epochs, each of N // (P * K) steps for N training images.", 1, 10**6)
    _integer(values, "identities_per_batch", 18, "P, identities in a batch.")
    _integer(values, "images_per_identity", 4, "K, images of each identity in a batch.")
    _enum(
        values,
        "sampler",
        "identity",
        choices.SAMPLERS,
        "camera: an anchor meets other cameras where it can; dataset: all datasets in equal parts in each batch.",
    )
    _enum(
        values,
        "cache",
        "auto",
        choices.CACHES,
        "Keep decoded images in memory; auto: where half the free memory holds them. No effect on what is learned.",
    )
    _integer(values, "image_height", 256, "Pixels.", 1)
    _integer(values, "image_width", 128, "Pixels.", 1)
    _float(values, "random_flip", 0.5, "Probability of a left-right flip.")
    _integer(values, "random_crop_padding", 10, "Pixels of border from which a random crop is cut; 0 is off.")
    _float(values, "random_erasing", 0.0, "Probability that a random rectangle is erased; 0 is off.")
    _float(values, "color_jitter", 0.0, "Strength of random brightness, contrast, saturation, hue; 0 is off.", 0, 1)
    _float(values, "rand_augment", 0.0, "Magnitude of RandAugment, without shifts and shears; 0 is off.", 0, 1)
    _float(values, "random_grayscale", 0.0, "Probability that an image loses its colors; 0 is off.", 0, 1)
    _float(values, "random_blur", 0.0, "Probability that an image is blurred; 0 is off.", 0, 1)
    _integer(values, "embedding_size", 128, "D, numbers in an embedding.", 1)
    _enum(values, "head", "trinet", choices.HEADS, "What turns features into an embedding.")
    _enum(
        values,
        "last_stride",
        "2",
        [str(stride) for stride in choices.LAST_STRIDES],
        "Stride of ResNet-50's last stage; 1 is finer and slower.",
    )
    _boolean(values, "normalize_embedding", False, "Scale embeddings to length 1.")
    _string(
        values,
        "backbone_weights",
        "imagenet",
        "imagenet (keras-cv's, downloaded), none, or a path: run folder, .keras, or .h5 of a ResNet-50.",
    )
    _enum(
        values,
        "loss",
        "batch_hard",
        choices.LOSSES,
        "Loss on the distances in a batch; tfa_ ones are tensorflow-addons'.",
    )
    _string(values, "margin", "0.3", "Margin of the loss: a number of at least 0, or soft (not contrastive, circle).")
    _enum(
        values,
        "mining_scope",
        "global",
        choices.MINING_SCOPES,
        "Where pairs are sought when there are several replicas: in the whole batch, or in each replica's part.",
    )
    _enum(
        values,
        "strategy",
        "auto",
        choices.STRATEGIES,
        "auto: multi_worker where TF_CONFIG names several workers, mirrored where there are several GPUs, else one.",
    )
    _integer(
        values, "replicas", 0, "Of --strategy=mirrored: GPUs, or without a GPU parts of the CPU; 0 is each GPU.", 0
    )
    _boolean(values, "sync_batch_norm", False, "BatchNormalization over all replicas; what ships is the same.")
    _float(values, "identity_loss_weight", 0.0, "Weight of identity cross-entropy on the BNNeck; 0 is off.", 0)
    _float(values, "label_smoothing", 0.1, "Of identity cross-entropy, from 0 to below 1.", 0, 1)
    _float(values, "center_loss_weight", 0.0, "Weight of center loss; 0 is off. The BNNeck paper takes 5e-4.", 0)
    _enum(
        values,
        "optimizer",
        "adam",
        choices.OPTIMIZERS,
        "sgd has Nesterov momentum 0.9. tfa_ ones are tensorflow-addons': RectifiedAdam, LAMB, and on Adam Lookahead "
        "and SWA, which ships the mean of the last quarter's epochs.",
    )
    _float(values, "learning_rate", 3e-4, "Learning rate after any warm-up and before any decay.")
    _float(values, "weight_decay", 5e-4, "Decoupled, of adamw, tfa_radam and tfa_lamb; other optimizers have none.")
    _float(values, "clip_norm", 0.0, "Largest norm of the gradient of all weights together; 0 is off.", 0)
    _enum(
        values,
        "schedule",
        "trinet",
        choices.SCHEDULES,
        "trinet: constant for 60 % of the steps, then down to a thousandth, exponentially; cosine: from the warm-up's "
        "end to 0; step: a tenth after each of --decay_epochs. All over --epochs: with more of them the rate differs.",
    )
    _string(values, "decay_epochs", "", "Of --schedule=step, such as 40,70; by default a third and 7/12 of --epochs.")
    _float(values, "warmup_epochs", 0.0, "Epochs in which the rate rises linearly from a tenth, before any decay.", 0)
    _string(
        values,
        "layer_learning_rates",
        "",
        "Factors on the rate for stem, stage1 to stage4, head, or backbone (all but head): backbone=0.1,stage4=0.5.",
    )
    _integer(values, "freeze_backbone_epochs", 0, "First epochs in which the head alone learns; adam, adamw, sgd.", 0)
    _boolean(values, "jit_compile", False, "Compile the training step by XLA: slower to start; one replica only.")
    _enum(
        values,
        "mixed_precision",
        "auto",
        choices.PRECISIONS,
        "auto: float16 on a GPU, bfloat16 on a CPU that computes in it, else float32.",
    )
    _float(values, "ema", 0.0, "Decay of a moving average of the weights, which then ships, such as 0.999; 0 is off.")
    _integer(values, "save_every_steps", 0, "Steps between checkpoints inside an epoch; 0: at its end only.", 0)
    _integer(values, "profile_steps", 0, "Steps to profile for TensorBoard, after the first three; 0 is off.", 0)
    _integer(values, "evaluate_every", 10, "Epochs from one evaluation to the next; the last is always scored.", 1)
    _integer(values, "early_stop", 0, "Evaluations without a better mAP after which training ends; 0 is off.", 0)
    _boolean(values, "score_baselines", True, "Score the untrained network and the mean color, for comparison.")
    _integer(values, "batch_size", 64, "Images at once in evaluation; no effect on the scores.", 1)
    _integer(values, "seed", 0, "Of initial weights, batches and augmentation.", 0, 2**32 - 1)
    _boolean(values, "deterministic", False, "Bit-equal runs, slower (TensorFlow's op determinism).")
    _enum(values, "resume", "auto", choices.RESUME, "Whether to go on with a run in --run_dir.")
    _boolean(values, "allow_flag_changes", False, "Go on with a run although flags differ from those it began with.")
    return values


def evaluate_flags() -> Flags:
    """Returns the flags of `keras_reid.evaluate`."""
    values = Flags()
    _string(values, "artifact", None, "Run folder, .keras, SavedModel folder, .tflite or .onnx.")
    _strings(values, "dataset", ["market1501"], choices.DATASETS, "Dataset, or several, one for each --data_dir.")
    _strings(values, "data_dir", [], None, "Folder of the dataset (of csv the file); again for a cross-domain table.")
    _define_cameras(values)
    _string(values, "query_embeddings", None, "Saved embeddings in place of an artifact: .npz, .parquet or .csv.")
    _string(values, "gallery_embeddings", None, "The same of the gallery.")
    _enum(values, "metric", None, choices.METRICS, "How to compare, in place of what artifact or files say.")
    _enum(
        values,
        "ignore",
        "same_camera",
        choices.IGNORE,
        "Gallery images of the query's person that do not count.",
    )
    _missing_cameras(values, "refuse")
    _enum(
        values,
        "protocol",
        "all_images",
        choices.PROTOCOLS,
        "all_images: the whole gallery. single_gallery_shot: also one random image of each person (CUHK03), --draws.",
    )
    _integer(values, "draws", 100, "Galleries that single_gallery_shot draws.", 1)
    _enum(values, "multi_query", None, choices.POOLINGS, "Pool all images of a query's person by its camera.")
    _enum(values, "tracklets", None, choices.POOLINGS, "Pool the frames of each track: video, by tracklet_id.")
    _define_augmentation(values, "views")
    _integer(values, "expand_queries", 0, "Average each query with that many nearest gallery embeddings; 0 is off.", 0)
    _integer(values, "ranks", 50, "Length of the CMC curve.", 1)
    _boolean(values, "rerank", False, "Score after k-reciprocal re-ranking, too.")
    _integer(values, "k1", 20, "Neighbors, in re-ranking.", 1)
    _integer(values, "k2", 6, "Neighbors that are averaged, in re-ranking.", 1)
    _float(values, "lambda_value", 0.3, "Share of the original distance, in re-ranking.", 0, 1)
    _integer(values, "bootstrap", 2000, "Draws behind the 95 % intervals and the p-values; 0 is off.", 0)
    _integer(values, "seed", 0, "Of all draws.", 0, 2**32 - 1)
    _string(values, "against", None, "What --json wrote of another run on the same queries: compare with it.")
    _float(values, "calibrate_fpr", None, "Write the threshold with this false positive rate into the artifact.", 0, 1)
    _boolean(values, "verification", True, "Count pairs of one person and of two: ROC, equal error rate.")
    _boolean(values, "breakdown", False, "Show the scores of each pair of cameras, and the people found worst.")
    _string(values, "pictures", None, "Folder for pictures: CMC, ROC, distances.")
    _string(values, "save_embeddings", None, "Folder for query.npz and gallery.npz.")
    _integer(values, "batch_size", 64, "Images at once; no effect on the scores.", 1)
    _string(values, "json", None, "File to write everything to.")
    return values


def export_flags() -> Flags:
    """Returns the flags of `keras_reid.export`."""
    values = Flags()
    _string(values, "run_dir", None, "Folder of a trained run; its last.keras ships.")
    _string(values, "export_dir", None, "Where to; RUN_DIR/export by default.")
    _string(values, "formats", ",".join(DEFAULT_FORMATS), f"What to write, by commas, of {', '.join(choices.FORMATS)}.")
    _enum(values, "dataset", None, choices.DATASETS, "Dataset to score on; the run's own by default.")
    _string(values, "data_dir", None, "Folder of the dataset (of csv the file); the run's own by default.")
    _define_cameras(values)
    _missing_cameras(values, None)
    _float(
        values,
        "min_cosine",
        None,
        "Least cosine to the live model, of the worst image (of tflite_int8 the 1st percentile); by default "
        f"{MIN_COSINE}, and {MIN_COSINE_OF_INT8_WEIGHTS} where weights are int8.",
        -1,
        1,
    )
    _float(values, "max_map_drop", MAX_MAP_DROP, "Most points of mAP that a format may lose to the live model.", 0)
    _integer(values, "parity_images", 0, "Score on people with about that many images, at least 1000; 0: on all.", 0)
    _integer(values, "calibration_images", 200, "Training images that show int8 and int16 their ranges.", 1)
    _float(values, "calibrate_fpr", None, "Calibrate the threshold with this false positive rate before writing.", 0, 1)
    _string(values, "gallery", None, "Saved embeddings (.npz, .parquet, .csv) that the SavedModel's search searches.")
    _integer(values, "neighbors", 10, "How many search finds.", 1)
    _integer(values, "batch_size", 64, "Images at once in scoring; no effect on the scores.", 1)
    return values


def embed_flags() -> Flags:
    """Returns the flags of `keras_reid.embed`."""
    values = Flags()
    _string(values, "artifact", None, "Run folder, .keras, SavedModel folder, .tflite or .onnx.")
    _string(values, "images", None, "A folder, a quoted pattern such as 'photos/**/*.jpg', or a .csv with image_path.")
    _string(values, "output", None, "File to write: .parquet, .npz or .csv.")
    _define_augmentation(values)
    _integer(values, "batch_size", 64, "Images at once; no effect on the embeddings.", 1)
    _enum(values, "on_error", "stop", choices.ON_ERROR, "At an image that cannot be read: stop, or skip and list it.")
    return values


def compare_flags() -> Flags:
    """Returns the flags of `keras_reid.compare`, which takes two images beside them."""
    values = Flags(takes_arguments=True)
    _string(values, "artifact", None, "Run folder, .keras, SavedModel folder, .tflite or .onnx.")
    _define_augmentation(values)
    return values


def doctor_flags() -> Flags:
    """Returns the flags of `keras_reid.doctor`."""
    values = Flags()
    _enum(values, "dataset", "market1501", choices.DATASETS, "Dataset.")
    _string(values, "data_dir", None, "Folder of the dataset, unpacked.")
    _integer(values, "images_per_identity", 4, "K, images of each identity in a training batch.", 2)
    _enum(
        values,
        "ignore",
        "same_camera",
        choices.IGNORE,
        "Gallery images of the query's person that the evaluation will not count.",
    )
    _enum(
        values,
        "missing_cameras",
        "refuse",
        choices.MISSING_CAMERAS,
        "What a missing camera id will mean there: an error, a camera of its own, or an image that does not count.",
    )
    _string(values, "json", None, "File to write everything to: every count, every finding with all its names.")
    _string(values, "pictures", None, "Folder for pictures: an augmented training batch, people across cameras.")
    _integer(values, "identities_per_batch", 18, "P, identities in the batch that is drawn.", 2)
    _integer(values, "image_height", 256, "Pixels of training; for the pictures, as all below.", 1)
    _integer(values, "image_width", 128, "Pixels.", 1)
    _float(values, "random_flip", 0.5, "Probability of a left-right flip.")
    _integer(values, "random_crop_padding", 10, "Pixels of border from which a random crop is cut; 0 is off.")
    _float(values, "random_erasing", 0.0, "Probability that a random rectangle is erased; 0 is off.")
    _integer(values, "seed", 0, "Of batch and augmentation.", 0, 2**32 - 1)
    return values


def prepare_flags() -> Flags:
    """Returns the flags of `keras_reid.prepare`, which takes a name beside them."""
    values = Flags(takes_arguments=True)
    _strings(values, "archive", [], None, "The downloaded .zip, .tar or .tar.gz; given again where there are several.")
    _string(values, "data_dir", None, "Folder to unpack into: a new or an empty one.")
    return values


def reproduce_flags() -> Flags:
    """Returns the flags of `keras_reid.reproduce`, which takes a run folder beside them."""
    values = Flags(takes_arguments=True)
    _strings(values, "data_dir", [], None, "Where the run's dataset lies now; again for each of several.")
    _float(
        values,
        "tolerance",
        0.1,
        "Most points that a score may differ by: other processors round otherwise, and 0.1 is 3 queries of "
        "Market-1501's; in a small set one query may be more.",
        0,
    )
    _integer(values, "batch_size", 64, "Images at once; no effect on the scores.", 1)
    _string(values, "json", None, "File to write the comparison to.")
    return values


def _define_augmentation(values: Flags, name: str = "test_time_augmentation") -> None:
    _enum(
        values,
        name,
        "none",
        choices.TEST_TIME_AUGMENTATIONS,
        "Variants of each image whose embeddings are averaged: better, and slower.",
    )


def _define_cameras(values: Flags) -> None:
    text = "Of --dataset=folder: a regular expression with the camera in parentheses, such as 'c([0-9]+)_'."
    _string(values, "camera_pattern", None, text)


def _missing_cameras(values: Flags, default: str | None) -> None:
    text = "What a missing camera id means in scoring: an error, a camera of its own, or an image that does not count."
    _enum(values, "missing_cameras", default, choices.MISSING_CAMERAS, text)


def launch_flags() -> Flags:
    """Returns the flags of `keras_reid.launch`, which takes those of `keras_reid.train` behind them."""
    values = Flags(takes_arguments=True)
    _integer(values, "workers", 2, "Processes on this machine, each with its share of the GPUs where there are any.", 1)
    return values


def data_sets(values: Flags) -> list[tuple[str, str]]:
    """Returns name and folder of each dataset, from --dataset (once, or as often as --data_dir) and --data_dir.

    Raises:
        ReidError: they are given another number of times, or one is given twice.
    """
    names, folders = values["dataset"].value, values["data_dir"].value
    if len(names) not in (1, max(1, len(folders))):
        raise ReidError(
            f"--dataset is given {len(names)} times and --data_dir {len(folders)} times: expected one "
            "--dataset, or one for each --data_dir, in the same order."
        )
    sets = list(zip(names * len(folders) if len(names) == 1 else names, folders))
    twice = next((one for place, one in enumerate(sets) if one in sets[:place]), None)
    if twice:
        raise ReidError(f"--data_dir={twice[1]} is given twice: expected different datasets.")
    return sets


def _string(values: Flags, name: str, default, text: str) -> None:
    flags.DEFINE_string(name, default, text, flag_values=values)


class _Names(flags.EnumParser):
    """Takes the names of datasets, and says so of one that was withdrawn."""

    def parse(self, argument):
        if argument.lower() in WITHDRAWN:
            raise ValueError(WITHDRAWN[argument.lower()])
        return super().parse(argument)


def _strings(values: Flags, name: str, default: list, choices: Sequence[str] | None, text: str) -> None:
    if choices:
        flags.DEFINE_multi(_Names(list(choices)), flags.ArgumentSerializer(), name, default, text, flag_values=values)
    else:
        flags.DEFINE_multi_string(name, default, text, flag_values=values)


def _integer(
    values: Flags, name: str, default: int, text: str, lower: int | None = None, upper: int | None = None
) -> None:
    flags.DEFINE_integer(name, default, text, lower_bound=lower, upper_bound=upper, flag_values=values)


def _float(
    values: Flags, name: str, default: float | None, text: str, lower: float | None = None, upper: float | None = None
) -> None:
    flags.DEFINE_float(name, default, text, lower_bound=lower, upper_bound=upper, flag_values=values)


def _boolean(values: Flags, name: str, default: bool, text: str) -> None:
    flags.DEFINE_boolean(name, default, text, flag_values=values)


def _enum(values: Flags, name: str, default, choices: Sequence[str], text: str) -> None:
    flags.DEFINE_enum(name, default, list(choices), text, flag_values=values)
