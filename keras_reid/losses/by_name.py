"""Decides which loss a name of `--loss` is: ours, and tensorflow-addons' as baselines where that is installed."""

from __future__ import annotations

import importlib.util

from keras_reid.errors import ReidError
from keras_reid.keras2 import tf
from keras_reid.losses.batch_hard import BatchHardTripletLoss, ClassHardTripletLoss
from keras_reid.losses.circle import CircleLoss
from keras_reid.losses.contrastive import ContrastiveLoss
from keras_reid.losses.lifted import LiftedTripletLoss, WeightedTripletLoss
from keras_reid.losses.margin import Margin, check_margin, check_number_margin
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
ADDONS_LOSSES = {
    "tfa_triplet_hard": "TripletHardLoss",
    "tfa_triplet_semi_hard": "TripletSemiHardLoss",
    "tfa_lifted_struct": "LiftedStructLoss",
}


def build_loss(name: str, *, margin: Margin, mining_scope: str = "global") -> tf.keras.losses.Loss:
    """Returns the loss of that name.

    Args:
        name: a key of `LOSSES`, or of `ADDONS_LOSSES`: tensorflow-addons' own, which mine within each replica.
        margin: a number or "soft", where the loss has a soft one.
        mining_scope: "global" or "replica"; see `BatchLoss`.

    Raises:
        ReidError: an unknown name, a margin that the loss does not have, or tensorflow-addons is not installed.
    """
    if name in LOSSES:
        return LOSSES[name](margin, mining_scope=mining_scope)
    if name not in ADDONS_LOSSES:
        raise ReidError(f"--loss={name}, expected one of {', '.join([*LOSSES, *ADDONS_LOSSES])}.")
    if importlib.util.find_spec("tensorflow_addons") is None:
        ours = {"tfa_triplet_hard": "batch_hard", "tfa_triplet_semi_hard": "semi_hard", "tfa_lifted_struct": "lifted"}
        raise ReidError(
            f"--loss={name} needs tensorflow-addons, which is not installed (it exists for Python 3.9 to 3.11 and "
            f"TensorFlow 2.15 at most). Use --loss={ours[name]}, which needs nothing else."
        )
    import tensorflow_addons

    if name == "tfa_triplet_hard":
        soft = check_margin(margin) == "soft"
        return tensorflow_addons.losses.TripletHardLoss(margin=1.0 if soft else check_margin(margin), soft=soft)
    return getattr(tensorflow_addons.losses, ADDONS_LOSSES[name])(margin=check_number_margin(margin))
