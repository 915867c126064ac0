"""Flags of every command: their names, defaults, bounds and help."""

from __future__ import annotations

import dataclasses

from absl import flags

from keras_reid import choices
from keras_reid.artifacts.formats.table import DEFAULT_FORMATS, MAX_MAP_DROP, MIN_COSINE, MIN_COSINE_OF_INT8_WEIGHTS
from keras_reid.data.readers.sources import WITHDRAWN
from keras_reid.flag_values import Flags, names, numbers_of
from keras_reid.training.settings import Settings, factors, numbers


class _Datasets(flags.EnumParser):
    """Takes the names of datasets, and says so of one that was withdrawn."""

    def parse(self, argument):
        if argument.lower() in WITHDRAWN:
            raise ValueError(WITHDRAWN[argument.lower()])
        return super().parse(argument)


def _ignore(values: Flags) -> None:
    text = "Gallery images of the query's person that do not count in scoring."
    values.choice("ignore", "same_camera", choices.IGNORE, text)


def _artifact(values: Flags) -> None:
    text = "Run folder, .keras, SavedModel folder, .tflite or .onnx; or what describe wrote. Somebody else's .onnx,"
    text += " .tflite or SavedModel is described by its first use, with normalize, metric and the like."
    values.string("artifact", None, text)
    if "metric" not in values:
        text = "Somebody else's network: how its embeddings are compared."
        values.choice("metric", None, choices.METRICS, text)
    _network(values, "Somebody else's network: ")


def _network(values: Flags, of: str = "") -> None:
    """Defines what a network's file does not say of it; `of` begins each text."""
    text = "what it takes for a picture: imagenet, 0..1 less ImageNet's mean and divided by its deviation; half, -1..1;"
    text += " zero_one, 0..1; raw, 0..255. Or mean and std."
    values.choice("normalize", None, choices.NORMALIZATIONS, _sentence(of, text))
    text = "subtracted from red, green and blue, 0 to 255, by commas; with std in place of normalize."
    values.by_commas("mean", None, _sentence(of, text), numbers_of)
    text = "what the rest is divided by, of red, green and blue."
    values.by_commas("std", None, _sentence(of, text), numbers_of)
    text = "height x width of its pictures, such as 256x128; the file's own by default."
    values.string("input_size", None, _sentence(of, text))
    text = "where the channels stand; what the file says by default."
    values.choice("layout", None, choices.LAYOUTS, _sentence(of, text))
    text = "the order of the colors: bgr where it was trained on pictures of OpenCV."
    values.choice("channels", "rgb", choices.CHANNELS, _sentence(of, text))
    values.string("input_name", None, _sentence(of, "the name of the picture, where the file has several inputs."))
    text = "the name of the embedding, where the file has several outputs."
    values.string("output_name", None, _sentence(of, text))
    values.boolean("normalize_embedding", False, _sentence(of, "scale embeddings to length 1."))


def _sentence(of: str, text: str) -> str:
    return f"{of}{text}" if of else text[0].upper() + text[1:]


def _gallery(values: Flags) -> None:
    text = "A gallery: a folder, s3://BUCKET/FOLDER, http://HOST:19530#NAME of a Milvus server, or a path in .db."
    values.string("gallery", None, text)


def _test_time_augmentation(values: Flags, default: str | None = "none") -> None:
    text = "Variants of each image whose embeddings are averaged: better, and slower."
    text += "" if default else " By default the gallery's own; none for a new one."
    values.choice("test_time_augmentation", default, choices.TEST_TIME_AUGMENTATIONS, text)


def train_flags() -> Flags:
    """Returns the flags of `keras_reid.train`: the settings of a run, and how a call treats the run that is there."""
    values = Flags()
    for field in dataclasses.fields(Settings):
        _setting(values, field.name)
    values.choice("resume", "auto", choices.RESUME, "Whether to go on with a run in --run_dir.")
    values.boolean("allow_flag_changes", False, "Go on with a run although flags differ from those it began with.")
    return values


def evaluate_flags() -> Flags:
    """Returns the flags of `keras_reid.evaluate`."""
    values = Flags(renamed={"views": "test_time_augmentation"})
    values.choice("metric", None, choices.METRICS, "How to compare, in place of what artifact or files say.")
    _artifact(values)
    _setting(values, "dataset")
    values.repeated("data_dir", [], "Folder of the dataset (of csv the file); again for a cross-domain table.")
    _setting(values, "camera_pattern")
    values.string("query_embeddings", None, "Saved embeddings in place of an artifact: .npz, .parquet or .csv.")
    values.string("gallery_embeddings", None, "The same of the gallery.")
    _ignore(values)
    _setting(values, "missing_cameras", default="refuse")
    text = "all_images: the whole gallery. single_gallery_shot: also one random image of each person (CUHK03), --draws."
    text += " open_set: also galleries in which only some people are enrolled: who is this, or unknown? --draws."
    text += " reassociation: also whether a camera finds people again, --gap seconds later; needs times."
    values.choice("protocol", "all_images", choices.PROTOCOLS, text)
    values.number("gap", 60.0, "Seconds that lie between a query and its candidates in reassociation, at least.", 0)
    values.integer("draws", 100, "Galleries that single_gallery_shot and open_set draw.", 1, 10**4)
    text = "People enrolled in each gallery of open_set, half of all by default. With --calibrate_fpr the threshold is"
    text += " for galleries of so many: a stranger is taken for any of them at that rate."
    values.integer("gallery_identities", None, text, 1)
    values.choice("multi_query", None, choices.POOLINGS, "Pool all images of a query's person by its camera.")
    values.choice("tracklets", None, choices.POOLINGS, "Pool the frames of each track: video, by tracklet_id.")
    _test_time_augmentation(values)
    values.integer("expand_queries", 0, "Average each query with that many nearest gallery embeddings; 0 is off.", 0)
    values.integer("ranks", 50, "Length of the CMC curve.", 1, 10**5)
    values.boolean("rerank", False, "Score after k-reciprocal re-ranking, too.")
    values.integer("k1", 20, "Neighbors, in re-ranking.", 1)
    values.integer("k2", 6, "Neighbors that are averaged, in re-ranking.", 1)
    values.number("lambda_value", 0.3, "Share of the original distance, in re-ranking.", 0, 1)
    values.integer("bootstrap", 2000, "Draws behind the 95 % intervals and the p-values; 0 is off.", 0, 10**6)
    values.integer("seed", 0, "Of all draws.", 0, 2**32 - 1)
    values.string("against", None, "What --json wrote of another run on the same queries: compare with it.")
    values.number(
        "calibrate_fpr",
        None,
        "Write the threshold with this false positive rate into the artifact, or all of a run.",
        0,
        1,
    )
    values.boolean("verification", True, "Score genuine and impostor pairs: ROC, equal error rate.")
    values.boolean("breakdown", False, "Show the scores of each pair of cameras, and the identities found worst.")
    values.string(
        "pictures", None, "Folder for pictures: CMC, ROC, distances, the worst queries; --breakdown: pairs of cameras."
    )
    values.string("report", None, "HTML file for a page that shows it all: ranked lists, curves, corrections.")
    values.string("save_embeddings", None, "Folder for query.npz and gallery.npz.")
    _setting(values, "batch_size")
    values.string("json", None, "File to write everything to.")
    return values


def export_flags() -> Flags:
    """Returns the flags of `keras_reid.export`."""
    values = Flags(renamed={"neighbours": "neighbors"})
    values.string("run_dir", None, "Folder of a trained run; its last.keras ships.")
    values.string("export_dir", None, "Where to; RUN_DIR/export by default.")
    text = f"What to write, by commas, of {', '.join(choices.FORMATS)}."
    values.by_commas("formats", list(DEFAULT_FORMATS), text, names)
    values.choice("dataset", None, choices.DATASETS, "Dataset to score on; the run's own by default.")
    values.string("data_dir", None, "Folder of the dataset (of csv the file); the run's own by default.")
    _setting(values, "camera_pattern")
    _setting(values, "missing_cameras", default=None)
    text = "Least cosine similarity to the reference model, of the worst image (of tflite_int8 the 1st percentile); by "
    text += f"default {MIN_COSINE}, and {MIN_COSINE_OF_INT8_WEIGHTS} where weights are int8."
    values.number("min_cosine", None, text, -1, 1)
    values.number("max_map_drop", MAX_MAP_DROP, "Most points of mAP that a format may lose to the reference model.", 0)
    values.integer("parity_images", 0, "Score on people with about that many images, at least 1000; 0: on all.", 0)
    values.integer("calibration_images", 200, "Training images that show int8 and int16 their ranges.", 1)
    values.number("calibrate_fpr", None, "Calibrate the threshold with this false positive rate before writing.", 0, 1)
    values.string("gallery", None, "Saved embeddings (.npz, .parquet, .csv) that the SavedModel's search searches.")
    values.integer("neighbors", 10, "How many search finds.", 1)
    _setting(values, "batch_size")
    return values


def embed_flags() -> Flags:
    """Returns the flags of `keras_reid.embed`, which takes those of a runner behind `--`."""
    values = Flags(takes_arguments=True, renamed={"views": "test_time_augmentation"})
    _artifact(values)
    values.string("images", None, "A folder, a quoted pattern such as 'photos/**/*.jpg', or a .csv with image_path.")
    values.string("output", None, "File to write: .parquet, .npz or .csv. With --runner a folder of .parquet files.")
    _test_time_augmentation(values)
    values.integer("batch_size", 64, "Images at once; no effect on the embeddings.", 1)
    values.choice("on_error", "stop", choices.ON_ERROR, "At an image that cannot be read: stop, or skip and list it.")
    text = "Embed by many workers, on this runner of Apache Beam (extra beam), whose options follow after --."
    values.choice("runner", None, choices.RUNNERS, text)
    values.integer("images_per_file", 10_000, "With --runner: images of each .parquet file.", 1)
    return values


def compare_flags() -> Flags:
    """Returns the flags of `keras_reid.compare`, which also takes two images."""
    values = Flags(takes_arguments=True, renamed={"views": "test_time_augmentation"})
    _artifact(values)
    _test_time_augmentation(values)
    return values


def visualize_flags() -> Flags:
    """Returns the flags of `keras_reid.visualize`."""
    values = Flags()
    _artifact(values)
    values.choice("dataset", "market1501", choices.DATASETS, "Dataset.")
    values.string("data_dir", None, "Folder of the dataset (of csv the file).")
    _setting(values, "camera_pattern")
    values.string("output", None, "Folder for the pictures.")
    text = f"What to draw, by commas, of {', '.join(choices.VISUALS)}."
    values.by_commas("what", ["ranked_lists"], text, names)
    values.choice("format", "png", choices.PICTURE_FORMATS, "Of the pictures.")
    text = "Which queries: worst or best by average precision, random, or their file names, by commas."
    values.by_commas("queries", ["worst"], text, names)
    values.integer("count", 8, "Queries, unless they are named.", 1, 100)
    values.integer("top", 8, "Gallery images beside each query; attention shows half as many, in pairs.", 1, 100)
    values.choice(
        "map", "pca", choices.EMBEDDING_MAPS, "How the map of embeddings is made; the extra maps brings umap and tsne."
    )
    values.integer("seed", 0, "Of random queries, and of the map's sample.", 0, 2**32 - 1)
    _ignore(values)
    _setting(values, "missing_cameras", default="refuse")
    _setting(values, "batch_size")
    return values


def describe_flags() -> Flags:
    """Returns the flags of `keras_reid.describe`."""
    values = Flags()
    text = "Somebody else's .onnx or .tflite file, SavedModel folder, or re-ID checkpoint (.safetensors, .pth)."
    values.string("artifact", None, text)
    text = "Folder for the network, and reid.json; by default beside the file, of a checkpoint there is no default."
    values.string("output", None, text)
    text = "How its embeddings are compared; of a checkpoint as its project does by default."
    values.choice("metric", None, choices.METRICS, text)
    _network(values)
    text = "Of a checkpoint: stride of the last stage; that of its project's recipe by default."
    values.choice("last_stride", None, list(map(str, choices.LAST_STRIDES)), text)
    text = "Of a checkpoint: the first layers as its project has them, or torchvision's, which forks may have."
    values.choice("stem", "project", choices.STEMS, text)
    text = "Of a checkpoint: what is compared, the embedding after its neck or the pooled features before it."
    values.choice("feature", "embedding", choices.FEATURES, text)
    return values


def doctor_flags() -> Flags:
    """Returns the flags of `keras_reid.doctor`."""
    values = Flags()
    values.choice("dataset", "market1501", choices.DATASETS, "Dataset.")
    values.string("data_dir", None, "Folder of the dataset, unpacked (of csv the file).")
    _setting(values, "camera_pattern")
    values.integer("images_per_identity", 4, "K, images of each identity in a training batch.", 2)
    _ignore(values)
    _setting(values, "missing_cameras", default="refuse")
    values.string("json", None, "File to write everything to: every count, every finding with all its names.")
    text = "Folder for pictures: people across cameras; an augmented training batch, image_height by image_width."
    values.string("pictures", None, text)
    values.integer("identities_per_batch", 18, "P, identities in the batch that is drawn.", 2)
    for name in ("image_height", "image_width", "random_flip", "random_crop_padding", "random_erasing"):
        _setting(values, name)
    values.integer("seed", 0, "Of batch and augmentation.", 0, 2**32 - 1)
    return values


def prepare_flags() -> Flags:
    """Returns the flags of `keras_reid.prepare`, which also takes a name."""
    values = Flags(takes_arguments=True)
    values.repeated("archive", [], "The downloaded .zip, .tar or .tar.gz; given again where there are several.")
    values.string("data_dir", None, "Folder to unpack into: a new or an empty one. For corrections: the dataset.")
    values.string("file", None, "For corrections: the CSV that a report exports.")
    values.choice("dataset", "csv", choices.DATASETS, "For corrections: the dataset; any but csv becomes one.")
    _setting(values, "camera_pattern")
    values.string("output", None, "For corrections: the new CSV to write. Without it they are shown alone.")
    values.string("from_tracks", None, "Folder of linked tracks, to make a CSV dataset of in the new folder data_dir.")
    return values


def reproduce_flags() -> Flags:
    """Returns the flags of `keras_reid.reproduce`, which also takes a run folder."""
    values = Flags(takes_arguments=True)
    values.repeated("data_dir", [], "Where the run's dataset lies now; again for each of several.")
    text = "Most points that a score may differ by: other processors round otherwise, and 0.1 is 3 queries of "
    text += "Market-1501's; in a small set one query may be more."
    values.number("tolerance", 0.1, text, 0)
    _setting(values, "batch_size")
    values.string("json", None, "File to write the comparison to.")
    return values


def launch_flags() -> Flags:
    """Returns the flags of `keras_reid.launch`, which takes those of `keras_reid.train` behind `--`."""
    values = Flags(takes_arguments=True)
    values.integer("workers", 2, "Processes on this machine, each with its share of the GPUs where there are any.", 1)
    return values


def gallery_flags() -> Flags:
    """Returns the flags of `keras_reid.gallery`, which also takes an action."""
    values = Flags(takes_arguments=True)
    _gallery(values)
    _artifact(values)
    values.string("images", None, "A folder, a quoted pattern, or a .csv with image_path: pictures to enroll.")
    values.string("embeddings", None, "Saved embeddings to enroll in place of images: .npz, .parquet or .csv.")
    values.string("tracks", None, "Folder of tracks to enroll in place of images: what `tracks` wrote.")
    values.repeated("identity", [], "Who all of the images show; whom to forget, again for several.")
    values.boolean("identity_from_folder", False, "Each image shows whom its folder is named after.")
    values.repeated("camera", [], "Which camera took all of them; whose entries to forget, again for several.")
    values.string("time", None, "When all of them were taken: ISO 8601, UTC where no zone is written.")
    values.repeated("source", [], "The recording that all of them are from; what to forget: a recording or image path.")
    values.string("before", None, "Forget what was seen (else: added) before this time.")
    values.number("keep_days", None, "Entries are forgotten after that many days, by add and compact.", 0, 1e6)
    values.string("output", None, "File to export to: .parquet, .npz or .csv. Of reembed: the new gallery.")
    values.boolean("named", False, "Export only entries with an identity.")
    _test_time_augmentation(values, None)
    values.integer("batch_size", 64, "Images at once; no effect on the embeddings.", 1)
    values.choice("on_error", "stop", choices.ON_ERROR, "At an image that cannot be read: stop, or skip and list it.")
    return values


def search_flags() -> Flags:
    """Returns the flags of `keras_reid.search`, which also takes photos."""
    values = Flags(takes_arguments=True)
    _artifact(values)
    _gallery(values)
    values.integer("top", 10, "How many to find.", 1, 10**6)
    _test_time_augmentation(values, None)
    values.repeated("identity", [], "Only these people; again for several.")
    values.repeated("camera", [], "Only of this camera; again for several.")
    values.repeated("not_camera", [], "Not of this camera; again for several.")
    values.string("since", None, "Only seen at this time or later: ISO 8601, UTC where no zone is written.")
    values.string("until", None, "Only seen before this time.")
    values.boolean("approximate", False, "Search a large gallery by an index: faster, and it misses some.")
    values.boolean("rerank", False, "Reorder the nearest hundreds by k-reciprocal re-ranking.")
    values.string("report", None, "HTML file to write: the photos and the entries found, with their pictures.")
    values.string("clip", None, "Folder for a short video of each entry found that is a track.")
    values.string("json", None, "File to write everything to.")
    return values


def tracks_flags() -> Flags:
    """Returns the flags of `keras_reid.tracks`."""
    values = Flags()
    _artifact(values)
    text = "CSV with a row for each recording: camera, boxes, frames, and perhaps start and fps."
    values.string("recordings", None, text)
    values.string("boxes", None, "Without --recordings: a tracker's file of boxes.")
    text = "Without --recordings: a folder of pictures or a video; {camera} in it is each camera that the boxes name."
    values.string("frames", None, text)
    values.string("camera", None, "Without --recordings: the camera's name; 1 by default.")
    values.string("start", None, "Without --recordings: when frame 0 was taken, ISO 8601 with a zone, or unix seconds.")
    values.number("fps", None, "Without --recordings: frames a second; else of seqinfo.ini, or of the video.", 0, 1000)
    values.choice("format", "auto", choices.BOX_FORMATS, "Of the boxes; auto recognizes it.")
    text = "Find people where there are no boxes, by an old detector and ByteTrack: a demonstration. Bring better ones."
    values.boolean("detect", False, text)
    values.string("output", None, "Folder for tracks.parquet, notes.txt and the crops.")
    values.integer("crops_per_track", 8, "Most crops of a track that are embedded.", 1, 1000)
    text = "How a track's crops become one embedding: their mean, weighted by the quality of each, or not."
    values.choice("pool", "quality", choices.TRACK_POOLINGS, text)
    text = "Seconds without a box after which a tracker's number is taken for another track."
    values.number("split_gap", 30.0, text, 0)
    values.integer("batch_size", 64, "Crops at once; no effect on the embeddings.", 1)
    values.boolean("link", False, "Give the tracks of one person one global id, across cameras and gaps.")
    values.boolean("online", False, "Link each track when it ends, with only the past.")
    values.number("threshold", None, "Largest mean distance of what is linked; the artifact's calibrated one.", 0)
    text = "CSV of seconds between cameras: camera_a, camera_b, minimum_seconds, maximum_seconds; or learn."
    values.string("travel_times", None, text)
    text = "Two cameras that see one place, A,B, again for more; or none. Nobody is in two others at one time."
    values.repeated("overlapping", [], text)
    values.string("corrections", None, "CSV of wrong and missing links that the page exports.")
    values.string("truth", None, "Score the links: name of the true boxes beside each file of boxes, such as gt.txt.")
    return values


def data_sets(values: Flags) -> list[tuple[str, str]]:
    """Returns name and folder of each dataset, from --dataset and --data_dir; ReidError where they do not fit."""
    return Settings(dataset=values["dataset"].value, data_dir=values["data_dir"].value).datasets


def _setting(values: Flags, name: str, **changed: str | None) -> None:
    """Defines the flag of a setting of a training run; `default` may be another one."""
    field = Settings.__dataclass_fields__[name]
    text, allowed, least, most = (field.metadata[key] for key in ("help", "choices", "least", "most"))
    default = changed.get("default", getattr(Settings(), name))
    as_text = default if default is None else str(default)
    if name == "dataset":
        values.repeated(name, default, text, _Datasets(list(allowed)))
    elif name == "data_dir":
        values.repeated(name, default, text)
    elif name in ("decay_epochs", "layer_learning_rates"):
        read = numbers if name == "decay_epochs" else factors
        values.by_commas(name, read(""), text, read)
    elif allowed:
        values.choice(name, as_text, [str(choice) for choice in allowed], text)
    elif isinstance(default, bool):
        values.boolean(name, default, text)
    elif isinstance(default, int):
        values.integer(name, default, text, least, most)
    elif isinstance(default, float) and name != "margin":
        values.number(name, default, text, least, most)
    else:
        values.string(name, as_text, text)
