"""Person re-identification for TensorFlow and Keras: the public names, imported only when they are used."""

import sys

from keras_reid._lazy import lazy_names

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_names(__name__)

# python -m keras_reid.NAME, which imports for a second before it can answer Ctrl-C; a host program is left alone.
if sys.argv[:1] == ["-m"] and "-m keras_reid" in " ".join(getattr(sys, "orig_argv", ())):
    from keras_reid.interrupts import end_at_once

    end_at_once()
