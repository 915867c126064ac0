"""Choices: the values that each flag and argument of that name accepts. Takes no TensorFlow, so that --help need not.

Flags and library both read them here: a choice that is added here and nowhere else fails its first use.
"""

from __future__ import annotations

DATASETS = (
    "market1501",
    "market1501_500k",
    "msmt17",
    "cuhk03",
    "cuhk03_labeled",
    "cuhk03_classic",
    "mars",
    "viper",
    "csv",
    "folder",
    "synthetic",
)
LOSSES = (
    "batch_hard",
    "class_hard",
    "lifted",
    "batch_all",
    "semi_hard",
    "contrastive",
    "circle",
    "weighted",
    "tfa_triplet_hard",
    "tfa_triplet_semi_hard",
    "tfa_lifted_struct",
)
SAMPLERS = ("identity", "camera", "dataset")
CACHES = ("auto", "memory", "none")
HEADS = ("trinet", "bnneck", "linear")
LAST_STRIDES = (1, 2)
BACKBONES = ("auto", "resnet50", "resnet50_ibn_a")
OPTIMIZERS = ("adam", "adamw", "sgd", "tfa_radam", "tfa_lamb", "tfa_lookahead", "tfa_swa")
DECAYED_WEIGHTS = ("all", "kernels")
SCHEDULES = ("trinet", "cosine", "step", "constant")
MINING_SCOPES = ("global", "replica")
STRATEGIES = ("auto", "one", "mirrored", "multi_worker")
PRECISIONS = ("auto", "float32", "mixed_float16", "mixed_bfloat16")
RESUME = ("auto", "never", "required")
METRICS = ("euclidean", "cosine")
# Which gallery images of the query's person do not count.
IGNORE = ("same_camera", "same_tracklet", "same_file", "nothing")
# What a missing camera id means in scoring: an error, a camera of its own, an image that does not count.
MISSING_CAMERAS = ("refuse", "distinct", "leave_out")
PROTOCOLS = ("all_images", "single_gallery_shot", "open_set", "reassociation")
POOLINGS = ("mean", "max")
TEST_TIME_AUGMENTATIONS = ("none", "flip", "five_crops", "flip_five_crops")
FORMATS = (
    "savedmodel",
    "keras",
    "tflite",
    "tflite_float16",
    "tflite_dynamic_range",
    "tflite_int8",
    "tflite_int16",
    "onnx",
)
ON_ERROR = ("stop", "skip")
RUNNERS = ("DirectRunner", "FlinkRunner", "SparkRunner", "DataflowRunner")
EMBEDDING_MAPS = ("pca", "umap", "tsne")
VISUALS = ("ranked_lists", "attention", "embedding_map")
PICTURE_FORMATS = ("png", "svg", "jpg")
# Files of boxes with track numbers: MOT Challenge's, those of its ground truth, AI City Challenge's, and tables with
# named columns.
BOX_FORMATS = ("auto", "mot", "mot_truth", "ai_city", "named")
# How the embeddings of a track's crops become one.
TRACK_POOLINGS = ("quality", "mean")
# Of somebody else's network: what it takes for a picture.
NORMALIZATIONS = ("imagenet", "half", "zero_one", "raw")
LAYOUTS = ("nchw", "nhwc")
# Of a re-ID checkpoint: the first layers as its project has them, or as torchvision's ResNet-50.
STEMS = ("project", "torchvision")
FEATURES = ("embedding", "pooled_features")
CHANNELS = ("rgb", "bgr")
