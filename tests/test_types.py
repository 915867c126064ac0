"""Type hints as a client sees them: mypy knows the lazy public names, and finds what is wrong."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import keras_reid

ROOT = Path(__file__).parent.parent
PACKAGES = (
    *("artifacts", "data", "evaluation", "gallery", "losses", "models", "reports", "serving"),
    *("tracks", "training"),
)

CLIENT = """\
import keras_reid
from keras_reid.artifacts import open_artifact
from keras_reid.evaluation import evaluate_retrieval
from keras_reid.losses import BatchHardTripletLoss

artifact = open_artifact("runs/first")
reveal_type(artifact.image_size)
reveal_type(keras_reid.build_embedder)
reveal_type(keras_reid.data.steps_per_epoch)
reveal_type(BatchHardTripletLoss(margin=0.3).hinge)
reveal_type(evaluate_retrieval)
"""
WRONG = """
keras_reid.build_embeder()
keras_reid.build_embedder(image_sizes=(256, 128))
keras_reid.build_embedder(embedding_size="128")
keras_reid.data.read_market1502
open_artifact("runs/first").embd
"""


def mypy(folder: Path, code: str) -> subprocess.CompletedProcess:
    (folder / "client.py").write_text(code)
    # TensorFlow has no type hints. Errors inside the package are not the client's, as in site-packages.
    command = [sys.executable, "-m", "mypy", "--ignore-missing-imports", "--follow-imports=silent", "client.py"]
    environment = {**os.environ, "MYPYPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_a_client_is_checked(tmp_path):
    run = mypy(tmp_path, CLIENT)
    assert run.returncode == 0, run.stdout + run.stderr
    revealed = [line.split("Revealed type is ")[1] for line in run.stdout.splitlines() if "Revealed" in line]
    assert len(revealed) == 5 and '"Any"' not in revealed
    assert "tuple[" in revealed[0] and "int" in revealed[0]
    assert "embedding_size: " in revealed[1] and "normalize_embedding: " in revealed[1]
    assert "images_per_identity: " in revealed[2]
    assert "float" in revealed[3]
    assert "RetrievalResult" in revealed[4]


def test_what_is_wrong_in_a_client_is_found(tmp_path):
    run = mypy(tmp_path, CLIENT + WRONG)
    assert run.returncode == 1
    first = len(CLIENT.splitlines()) + 2
    errors = {line.split(":")[1]: line for line in run.stdout.splitlines() if ": error: " in line}
    assert list(errors) == [str(first + number) for number in range(5)], run.stdout + run.stderr
    assert '"build_embeder"' in errors[str(first)] and '"image_sizes"' in errors[str(first + 1)]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_there_and_no_other(package):
    module = importlib.import_module(f"keras_reid.{package}")
    for name in module.__all__:
        assert getattr(module, name) is not None
    assert set(module.__all__) <= set(dir(module))
    with pytest.raises(AttributeError, match="has no attribute 'no_such_name'"):
        module.no_such_name  # noqa: B018
    assert getattr(keras_reid, package) is module


def test_importing_the_package_is_cheap():
    code = "import sys, keras_reid, keras_reid.data; print({'tensorflow', 'pandas', 'numpy'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (run.stdout, run.stderr) == ("set()\n", "")
