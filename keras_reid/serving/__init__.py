"""Shipping: an embedder is written in several formats, and each is compared with the reference model."""

from keras_reid._lazy import lazy_attributes

__all__ = [
    "DEFAULT_FORMATS",
    "FORMATS",
    "Gallery",
    "Search",
    "ShippingOptions",
    "check_formats",
    "read_gallery",
    "scored_images",
    "ship",
    "some_people",
]

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "DEFAULT_FORMATS": "..artifacts.formats.table",
        "FORMATS": "..artifacts.formats.table",
        "Gallery": "..artifacts.formats.search",
        "Search": ".shipping",
        "ShippingOptions": ".shipping",
        "check_formats": "..artifacts.formats.table",
        "read_gallery": "..artifacts.formats.search",
        "scored_images": ".parity",
        "ship": ".shipping",
        "some_people": ".parity",
    },
)
