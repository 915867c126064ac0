"""Lets a package name its public parts without importing them: `import keras_reid` stays cheap and changes nothing."""

import importlib
from collections.abc import Callable, Mapping


def lazy_attributes(package: str, where: Mapping[str, str]) -> tuple[Callable, Callable]:
    """Returns the module-level `__getattr__` and `__dir__` of a package whose names live in submodules.

    Args:
        package: the package's `__name__`.
        where: public name -> submodule that defines it, such as ".catalog"; a name equal to the submodule's own is
            the submodule itself.
    """

    def __getattr__(name: str):
        if name not in where:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = importlib.import_module(where[name], package)
        return module if where[name] == f".{name}" else getattr(module, name)

    def __dir__() -> list:
        return sorted(where)

    return __getattr__, __dir__
