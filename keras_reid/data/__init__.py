"""From files to batches: catalogs (which image, who, which camera), identity batches, images, tf.data pipeline."""

from keras_reid._lazy import lazy_attributes

_WHERE = {
    "IdentityBatches": ".sampling",
    "describe": ".catalog",
    "identity_batches": ".batches",
    "read_csv_dataset": ".readers.own_csv",
    "read_cuhk03": ".readers.cuhk03",
    "read_dataset": ".readers.by_name",
    "read_folder": ".readers.own_folders",
    "read_market1501": ".readers.market1501",
    "read_market1501_500k": ".readers.market1501",
    "read_mars": ".readers.mars",
    "read_msmt17": ".readers.msmt17",
    "read_viper": ".readers.viper",
    "steps_per_epoch": ".batches",
    "training_dataset": ".pipeline",
    "write_synthetic": ".synthetic.dataset",
}
__all__ = sorted(_WHERE)

__getattr__, __dir__ = lazy_attributes(__name__, _WHERE)
