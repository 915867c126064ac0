"""Lazy public names of a package: `import keras_reid` stays cheap, and a type checker sees every name all the same.

The names stand once, in the package's `__init__.pyi`, as `from .module import name as name`. A type checker reads that
file in place of `__init__.py`; at run time a name is imported when it is first used.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
from collections.abc import Callable


def lazy_names(package: str) -> tuple[Callable, Callable, list[str]]:
    """Returns `__getattr__`, `__dir__` and `__all__` of a package with an `__init__.pyi`.

    Args:
        package: the package's `__name__`.
    """
    stub = ast.parse(pkgutil.get_data(package, "__init__.pyi") or "")
    # name -> its module, relative to the package; None for `from . import data as data`: the name is the module.
    modules = {
        alias.name: node.module and "." * node.level + node.module
        for node in stub.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }

    def __getattr__(name: str):
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = importlib.import_module(modules[name] or f".{name}", package)
        return getattr(module, name) if modules[name] else module

    def __dir__() -> list[str]:
        return sorted(modules)

    return __getattr__, __dir__, sorted(modules)
