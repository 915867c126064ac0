"""Person re-identification for TensorFlow and Keras: the public names, imported only when they are used."""

from keras_reid._lazy import lazy_attributes

__version__ = "0.1.0"

_PACKAGES = ("artifacts", "data", "evaluation", "losses", "models", "serving", "training")
__all__ = ["TripletTrainer", "build_embedder", *_PACKAGES]

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "TripletTrainer": ".training",
        "build_embedder": ".models",
        **{package: f".{package}" for package in _PACKAGES},
    },
)
