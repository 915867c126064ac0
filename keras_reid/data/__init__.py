"""From files to batches: catalogs (which image, who, which camera), identity batches, images, tf.data pipeline."""

from keras_reid._lazy import lazy_attributes

__all__ = ["describe", "identity_batches", "read_market1501", "steps_per_epoch", "training_dataset", "write_synthetic"]

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "describe": ".catalog",
        "identity_batches": ".batches",
        "read_market1501": ".catalog",
        "steps_per_epoch": ".batches",
        "training_dataset": ".pipeline",
        "write_synthetic": ".synthetic",
    },
)
