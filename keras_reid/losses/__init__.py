"""Pairwise distances, hard mining and the losses on them: TensorFlow functions, under Keras 2 and Keras 3 alike."""

from keras_reid.losses.distances import euclidean_distances
from keras_reid.losses.mining import HardestPairs, mine_hardest_pairs
from keras_reid.losses.triplet import BatchHardTripletLoss, batch_hard_triplet_loss

# The names of `--loss`.
LOSSES = {"batch_hard": BatchHardTripletLoss}

__all__ = [
    "LOSSES",
    "BatchHardTripletLoss",
    "HardestPairs",
    "batch_hard_triplet_loss",
    "euclidean_distances",
    "mine_hardest_pairs",
]
