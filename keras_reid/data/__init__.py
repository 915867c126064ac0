"""From files to batches: catalogs (which image, who, which camera), identity batches, images, tf.data pipeline."""

from keras_reid._lazy import lazy_attributes

_WHERE = {
    "describe": ".catalog",
    "identity_batches": ".batches",
    "read_csv_dataset": ".own_csv",
    "read_cuhk03": ".cuhk03",
    "read_dataset": ".datasets",
    "read_folder": ".own_folders",
    "read_market1501": ".catalog",
    "read_market1501_500k": ".catalog",
    "read_mars": ".mars",
    "read_msmt17": ".msmt17",
    "read_viper": ".viper",
    "sampler_labels": ".sampling",
    "steps_per_epoch": ".batches",
    "training_dataset": ".pipeline",
    "write_synthetic": ".synthetic",
}
__all__ = sorted(_WHERE)

__getattr__, __dir__ = lazy_attributes(__name__, _WHERE)
