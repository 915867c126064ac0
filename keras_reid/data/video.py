"""OpenCV, which reads and writes video files: the extra `video`."""

from __future__ import annotations

import os

from keras_reid.errors import ReidError


def import_cv2():
    """Returns the module cv2.

    Raises:
        ReidError: it is not installed.
    """
    # FFmpeg says each damaged frame on stderr, in words of its own; what is damaged is counted by the reader.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    try:
        import cv2
    except ImportError as error:
        raise ReidError(
            f"video files need OpenCV, which cannot be imported ({error}): pip install 'keras_reid[video]'. A folder "
            "of pictures in the place of the video needs no OpenCV."
        ) from error
    return cv2
