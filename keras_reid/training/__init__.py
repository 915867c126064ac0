"""Training an embedder: the trainer and its train_step, augmentation, schedules, precision, run folder, checkpoints."""

from keras_reid._lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
