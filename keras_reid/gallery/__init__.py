"""Gallery: people enrolled, searched, identified and forgotten; in a folder, in a bucket, or on a Milvus server."""

from keras_reid._lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__)
