"""keras_reid.train with a network of three layers in place of the ResNet-50: test_replicas_run.py takes seconds so."""

import sys

from keras_reid import models, train
from tests.conftest import tiny_embedder


def tiny(*, embedding_size, image_size, normalize_embedding, sync_batch_norm, **_):
    return tiny_embedder(embedding_size, image_size, normalize_embedding, sync_batch_norm)


if __name__ == "__main__":
    models.build_embedder = tiny
    sys.exit(train.main())
