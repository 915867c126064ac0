"""Metric losses: pairwise distances, hard mining, and the losses on them, for Keras 2 and Keras 3."""

from keras_reid.losses.batch_hard import (
    BatchHardTripletLoss,
    ClassHardTripletLoss,
    batch_hard_triplet_loss,
    class_hard_triplet_loss,
)
from keras_reid.losses.by_name import LOSSES, build_loss
from keras_reid.losses.circle import CircleLoss, circle_loss
from keras_reid.losses.contrastive import ContrastiveLoss, contrastive_loss
from keras_reid.losses.distances import paired_distances, pairwise_distances
from keras_reid.losses.lifted import (
    LiftedTripletLoss,
    WeightedTripletLoss,
    lifted_triplet_loss,
    weighted_triplet_loss,
)
from keras_reid.losses.mining import HardestPairs, mine_hardest_pairs
from keras_reid.losses.triplets import (
    BatchAllTripletLoss,
    SemiHardTripletLoss,
    batch_all_triplet_loss,
    semi_hard_triplet_loss,
)

__all__ = [
    "LOSSES",
    "BatchAllTripletLoss",
    "BatchHardTripletLoss",
    "CircleLoss",
    "ClassHardTripletLoss",
    "ContrastiveLoss",
    "HardestPairs",
    "LiftedTripletLoss",
    "SemiHardTripletLoss",
    "WeightedTripletLoss",
    "batch_all_triplet_loss",
    "batch_hard_triplet_loss",
    "build_loss",
    "circle_loss",
    "class_hard_triplet_loss",
    "contrastive_loss",
    "lifted_triplet_loss",
    "mine_hardest_pairs",
    "paired_distances",
    "pairwise_distances",
    "semi_hard_triplet_loss",
    "weighted_triplet_loss",
]
