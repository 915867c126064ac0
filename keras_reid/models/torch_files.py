"""Files of PyTorch's weights: the tensors of a `.safetensors` file, or of a `.pth` file where torch is installed."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from keras_reid.errors import ReidError, first_line

# torchreid writes model.pth.tar-60; torch itself reads whatever the name.
_PICKLED = re.compile(r".*\.(pth|pt|pth\.tar(-\d+)?)")
_SAFE = ".safetensors"
_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}


def is_torch_file(path: Path) -> bool:
    """Returns whether a file's name is that of PyTorch's weights."""
    return path.suffix == _SAFE or _PICKLED.fullmatch(path.name) is not None


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """Returns the tensors of real numbers in a file, float32 by name; those in nested dictionaries by `outer.inner`.

    Counters and indices, such as `num_batches_tracked`, are no weights and are left out.

    Raises:
        ReidError: the file is damaged, torch is missing, or the file holds other objects than tensors.
    """
    tensors = _safe_tensors(path) if path.suffix == _SAFE else _pickled_tensors(path)
    if not tensors:
        raise ReidError(f"{str(path)!r}: it holds no tensor of real numbers.")
    return tensors


def _safe_tensors(path: Path) -> dict[str, np.ndarray]:
    import safetensors

    try:
        found = dict(safetensors.deserialize(path.read_bytes()))
    except safetensors.SafetensorError as error:
        raise ReidError(f"{str(path)!r}: no safetensors file, or damaged ({first_line(error)}).") from error
    return {name: _as_float32(**tensor) for name, tensor in found.items() if tensor["dtype"] in _DTYPES}


def _as_float32(dtype: str, shape: list, data: bytes) -> np.ndarray:
    array = np.frombuffer(data, _DTYPES[dtype]).reshape(shape)
    if dtype == "BF16":  # the upper half of a float32, for which NumPy has no name
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(np.float32)


def _pickled_tensors(path: Path) -> dict[str, np.ndarray]:
    recipe = "where torch is and the file is trusted: " + conversion(path)
    try:
        import torch
    except ImportError as error:
        raise ReidError(
            f"{str(path)!r}: torch, which alone reads such a file, is not installed. Convert it {recipe}"
        ) from error
    try:
        with _numpy_numbers(torch):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle's, zipfile's and torch's own
        raise ReidError(
            f"{str(path)!r}: damaged, or it holds more than tensors and numbers, which is not opened because "
            f"it may run code ({type(error).__name__}). Convert it {recipe}"
        ) from error
    return {name: tensor.detach().float().numpy() for name, tensor in _flat(content) if _is_real(tensor, torch)}


def _numpy_numbers(torch) -> contextlib.AbstractContextManager:
    """Lets torch open NumPy's numbers, such as the scores in torchreid's checkpoints, where it can be told (2.5)."""
    if not hasattr(torch.serialization, "safe_globals"):
        return contextlib.nullcontext()
    number = np.float64(0).__reduce__()[0]
    names = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")  # of NumPy 1 and 2
    kinds = [type(np.dtype(kind)) for kind in ("float64", "float32", "int64")]
    return torch.serialization.safe_globals([*((number, name) for name in names), np.dtype, *kinds])


def conversion(path: Path) -> str:
    """Returns the command that writes a `.safetensors` file next to a file of torch's."""
    target = re.sub(r"\.(pth|pt)(\.tar(-\d+)?)?$", _SAFE, str(path))
    return (
        'python -c "import torch, safetensors.torch as s; '
        f"c = torch.load('{path}', 'cpu', weights_only=False); c = c.get('state_dict', c.get('model', c)); "
        f"s.save_file({{n: t.contiguous() for n, t in c.items() if torch.is_tensor(t)}}, '{target}')\""
    )


def _flat(content, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yields everything in nested dictionaries, by `outer.inner`."""
    if not isinstance(content, Mapping):
        yield prefix[:-1], content
        return
    for name, value in content.items():
        yield from _flat(value, f"{prefix}{name}.")


def _is_real(tensor, torch) -> bool:
    return isinstance(tensor, torch.Tensor) and tensor.is_floating_point()
