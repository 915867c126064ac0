"""keras_reid.train with the small network of the tests, without page and curves: many runs take seconds so."""

import sys

from keras_reid import train
from keras_reid.training import run_network
from tests.conftest import drawn_by_runs, small_embedder

COMMAND = [sys.executable, "-m", "tests.training.tiny_train"]  # from the root of the checkout

if __name__ == "__main__":
    run_network.build_embedder = small_embedder
    for module, name in drawn_by_runs():
        setattr(module, name, lambda *_: None)
    sys.exit(train.main())
