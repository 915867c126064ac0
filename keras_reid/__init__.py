"""Person re-identification for TensorFlow and Keras: the public names, imported only when they are used."""

from keras_reid._lazy import lazy_names

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_names(__name__)
