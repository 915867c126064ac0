"""From files to batches: catalogs (which image, who, which camera), identity batches, images, tf.data pipeline."""

from keras_reid._lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
