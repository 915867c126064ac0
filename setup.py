"""Installation: the package `keras_reid` and, inside it, the flagfiles of `configs/`."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "keras_reid" / "__init__.py").read_text())[1]

setup(
    name="keras_reid",
    version=VERSION,
    description="Person re-identification for TensorFlow and Keras: train, evaluate, export, score what was exported",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.9,<3.14",
    # `configs/` lies beside the package in a checkout and inside it once installed.
    packages=[*find_packages(include=["keras_reid", "keras_reid.*"]), "keras_reid.configs"],
    package_dir={"keras_reid.configs": "configs"},
    entry_points={"console_scripts": ["keras-reid = keras_reid.__main__:main"]},
    package_data={"": ["py.typed", "*.pyi", "*.j2", "*.css", "*.js"], "keras_reid.configs": ["*.flags"]},
    # Two stacks on the Keras 2 API; requirements.txt pins the versions of each that are tested.
    install_requires=[
        "tensorflow>=2.15.1,<2.16; python_version < '3.12'",
        "tensorflow>=2.21,<2.22; python_version >= '3.12'",
        "tf_keras>=2.21,<2.22; python_version >= '3.12'",
        # Messages of the warm-up file that a SavedModel carries.
        "tensorflow-serving-api>=2.15.1,<2.16; python_version < '3.12'",
        "tensorflow-serving-api>=2.21,<2.22; python_version >= '3.12'",
        "numpy>=1.23,<2; python_version < '3.12'",
        "numpy>=1.26; python_version >= '3.12'",
        "keras-cv>=0.9,<0.10",
        # Later ones want a later protobuf than TensorFlow 2.15 allows: importing keras-cv would print a traceback.
        "tensorflow-metadata<1.17; python_version < '3.12'",
        "absl-py>=1.4",
        "pandas>=1.5",
        # The first that decodes AVIF.
        "pillow>=11.3",
        "scipy>=1.9",
        "matplotlib>=3.7",
        # Parquet files. Later ones want a later NumPy than TensorFlow 2.15 allows, though their metadata do not say so.
        "pyarrow>=14,<26; python_version < '3.12'",
        "pyarrow>=14; python_version >= '3.12'",
        "tqdm>=4.60",
        "jinja2>=3",
        # The lock of a run folder, on every system.
        "filelock>=3.12",
        # Files of PyTorch's weights, read without it.
        "safetensors>=0.4",
        # TensorFlow 2.21 no longer brings it, and writes no summaries without it.
        "tensorboard>=2.15",
    ],
    extras_require={
        # Losses and optimizers of tensorflow-addons, as baselines; it ended before Python 3.12.
        "addons": ["tensorflow-addons>=0.23,<0.24; python_version < '3.12'"],
        # Writing and scoring ONNX files; tf2onnx knows TensorFlow up to 2.15.
        "onnx": [
            "tf2onnx>=1.17,<1.18; python_version >= '3.10' and python_version < '3.12'",
            "onnx>=1.17,<1.18; python_version >= '3.10' and python_version < '3.12'",
            "onnxruntime>=1.17; python_version >= '3.10'",
        ],
        # Maps of embeddings by UMAP and t-SNE.
        "maps": ["scikit-learn>=1.3", "umap-learn>=0.5.6"],
        "test": [
            "pytest>=7.3",
            "pytest-xdist>=3",
            "ruff>=0.5",
            "mypy>=1.8",
            "requests>=2.28",
            "pyyaml>=6",
            # Opens pages in the system's Chromium, and checks whether everyone can use them.
            "axe-playwright-python>=0.1.4",
            # Makes the networks of others that the tests describe, also where the extra onnx brings none.
            "onnx>=1.17; python_version >= '3.12'",
        ],
        # Galleries of people in a folder or a bucket; and on a Milvus server, or in Milvus Lite's file.
        "gallery": ["lancedb>=0.27"],
        "milvus": [
            # Later ones want a later protobuf than TensorFlow 2.15 allows; milvus-lite 2.5 imports pkg_resources.
            "pymilvus>=2.5.18,<2.6; python_version < '3.12'",
            "milvus-lite>=2.5.1,<2.6; python_version < '3.12' and sys_platform != 'win32'",
            "setuptools<81; python_version < '3.12'",
            "pymilvus>=3.0.2,<4; python_version >= '3.12'",
            "milvus-lite>=3.2.2,<4; python_version >= '3.12' and sys_platform != 'win32'",
        ],
        # Frames of video files; later ones of the first line want NumPy 2, and 5 has no people detector.
        "video": [
            "opencv-python-headless>=4.5,<4.12; python_version < '3.12'",
            "opencv-python-headless>=4.9,<5; python_version >= '3.12'",
        ],
        # Scores of tracks. HOTA is counted where reid-hota is installed, which needs NumPy 2.2.
        "tracks": ["motmetrics>=1.4", "reid-hota>=0.3.6; python_version >= '3.12'"],
        # A demonstration of people found and tracked where there are no boxes; supervision 0.31 has no tracker.
        "detect": [
            "supervision>=0.30,<0.31; python_version >= '3.10'",
            "opencv-python-headless>=4.5,<4.12; python_version < '3.12'",
            "opencv-python-headless>=4.9,<5; python_version >= '3.12'",
        ],
        # Embedding on Apache Beam; its own extras gcp and aws open gs:// and s3://, and send jobs to Dataflow.
        "beam": ["apache-beam>=2.77,<3; python_version >= '3.10'", "psutil>=5.9"],
        # The site of docs/: make docs.
        "docs": ["mkdocs-material>=9.5", "mkdocstrings[python]>=0.24"],
    },
    classifiers=[
        "License :: OSI Approved :: Apache Software License",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Image Recognition",
    ],
)
