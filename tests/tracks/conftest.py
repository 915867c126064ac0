"""A filmed scene that no test of tracks changes."""

import pytest

from keras_reid.data import write_synthetic_video


@pytest.fixture(scope="package")
def scene(tmp_path_factory):
    """A folder with three people before two cameras."""
    folder = tmp_path_factory.mktemp("scene") / "video"
    write_synthetic_video(folder, cameras=2, people=3, seconds=30, fps=2, video=False)
    return folder
