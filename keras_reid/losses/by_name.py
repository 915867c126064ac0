"""Losses by name: ours, and as baselines those of tensorflow-addons."""

from __future__ import annotations

from keras_reid import choices
from keras_reid.errors import ReidError
from keras_reid.keras2 import tf
from keras_reid.losses.batch_hard import BatchHardTripletLoss, ClassHardTripletLoss
from keras_reid.losses.batch_loss import Margin, check_margin
from keras_reid.losses.circle import CircleLoss
from keras_reid.losses.contrastive import ContrastiveLoss
from keras_reid.losses.lifted import LiftedTripletLoss, WeightedTripletLoss
from keras_reid.losses.triplets import BatchAllTripletLoss, SemiHardTripletLoss

LOSSES = {
    "batch_hard": BatchHardTripletLoss,
    "class_hard": ClassHardTripletLoss,
    "lifted": LiftedTripletLoss,
    "batch_all": BatchAllTripletLoss,
    "semi_hard": SemiHardTripletLoss,
    "contrastive": ContrastiveLoss,
    "circle": CircleLoss,
    "weighted": WeightedTripletLoss,
}


def build_loss(name: str, *, margin: Margin, mining_scope: str = "global") -> tf.keras.losses.Loss:
    """Returns the loss of that name.

    Args:
        name: one of `choices.LOSSES`; those of tensorflow-addons (tfa_...) mine within each replica.
        margin: a number or "soft", where the loss has a soft one.
        mining_scope: "global" or "replica"; see `BatchLoss`.

    Raises:
        ReidError: an unknown name, a margin that the loss does not have, or tensorflow-addons is not installed.
    """
    if name in LOSSES:
        return LOSSES[name](margin, mining_scope=mining_scope)
    if name not in choices.LOSSES:
        raise ReidError(f"loss={name}, expected one of {', '.join(choices.LOSSES)}.")
    from keras_reid import addons  # for baselines alone: it needs Keras 2, which the losses above do not

    return addons.build_loss(name, margin=check_margin(margin, soft=name in addons.WITH_SOFT_MARGIN))
