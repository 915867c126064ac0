"""Pairwise distances, hard mining and the losses on them: TensorFlow functions, under Keras 2 and Keras 3 alike."""

from keras_reid.losses.circle import CircleLoss, circle_loss
from keras_reid.losses.distances import euclidean_distances
from keras_reid.losses.mining import HardestPairs, mine_hardest_pairs
from keras_reid.losses.triplet import BatchHardTripletLoss, batch_hard_triplet_loss

# The names of `--loss`.
LOSSES = {"batch_hard": BatchHardTripletLoss, "circle": CircleLoss}

__all__ = [
    "LOSSES",
    "BatchHardTripletLoss",
    "CircleLoss",
    "HardestPairs",
    "batch_hard_triplet_loss",
    "circle_loss",
    "euclidean_distances",
    "mine_hardest_pairs",
]
