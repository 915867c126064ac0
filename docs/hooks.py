"""Hooks of the documentation site: pages and tables that are made from the code when the site is built.

MkDocs calls `on_files` and `on_page_markdown` (mkdocs.yml, `hooks`). TensorFlow is not needed: flags are read from
`keras_reid.options`, losses and public names from the source text.
"""

from __future__ import annotations

import ast
import functools
import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from keras_reid import choices, options  # noqa: E402

COMMANDS = (
    *("train", "evaluate", "export", "embed", "compare", "describe", "visualize", "doctor", "prepare"),
    *("gallery", "search", "tracks", "reproduce", "launch"),
)
PACKAGES = (
    *("data", "models", "losses", "artifacts", "evaluation", "gallery", "tracks", "reports"),
    *("training", "serving"),
)
_NAME = "{ .name }"  # the class of docs/site.css that keeps a name in one piece
# Pages of the site that stand elsewhere in the repository.
_ELSEWHERE = {"README.md": "index.md", "export/README.md": "kit.md", "CHANGELOG.md": "changelog.md"}


def on_files(files, config):
    """Adds the pages that stand outside docs/, and the reference of each package."""
    from mkdocs.structure.files import File

    for source, page in _ELSEWHERE.items():
        text = site_links((ROOT / source).read_text(encoding="utf-8"), Path(source).parent)
        files.append(File.generated(config, page, content=text))
    for package in ("", *PACKAGES):
        files.append(File.generated(config, f"api/{package or 'keras_reid'}.md", content=reference(package)))
    return files


def on_page_markdown(markdown, page, config, files):
    """Fills in the tables, and sends links that leave docs/ to the site's own pages."""
    if page.file.generated_by:
        return markdown
    for mark, table in (("flags", all_flags), ("losses", losses_table), ("recipes", recipes)):
        if f"<!-- table: {mark} -->" in markdown:
            markdown = markdown.replace(f"<!-- table: {mark} -->", table())
    return site_links(markdown, Path("docs"))


def site_links(text: str, folder: Path) -> str:
    """Returns Markdown whose links between files of the repository lead to pages of the site.

    Args:
        text: Markdown; what stands between backquotes stays.
        folder: where it lies in the repository.
    """

    def replaced(match: re.Match) -> str:
        words, target, anchor = match[1], match[2], match[3] or ""
        path = Path("/", folder, target).resolve().relative_to("/").as_posix()
        if path in _ELSEWHERE:
            return f"[{words}]({_ELSEWHERE[path]}{anchor})"
        if path.startswith("docs/"):
            return f"[{words}]({path[5:]}{anchor})"
        if path.startswith("configs/") and path.endswith(".flags"):
            return f"[{words}](recipes.md#{Path(path).stem})"
        return words  # a file that the site does not show

    return re.sub(r"(?<!!)\[([^\]]+)\]\((?!https?:|#)([^)#\s]+)(#[^)\s]*)?\)", replaced, text).replace(
        "](docs/images/", "](images/"
    )


def all_flags() -> str:
    """Returns a heading and a table of flags for each command."""
    parts = []
    for command in COMMANDS:
        places = (ROOT / "keras_reid" / f"{command}.py", ROOT / "keras_reid" / command / "__main__.py")
        module = _parsed(next(place for place in places if place.exists()))
        usage, _, what = ast.get_docstring(module).partition(": ")
        parts.append(f"## {command}\n\n`{usage}`: {_cell(_meaning(_sentences(what)))}\n\n{flags_table(command)}")
    return "\n\n".join(parts)


def flags_table(command: str) -> str:
    """Returns the table of a command's flags in the order in which they are defined."""
    values = getattr(options, f"{command}_flags")()
    rows = ["| flag | values | default | meaning |", "|---|---|---|---|"]
    for name in values:
        if name not in ("help", "h", "flagfile", "undefok"):
            cells = map(_cell, (_values(values[name]), _default(values[name]), _meaning(values[name].help)))
            rows.append(f"| `--{name}`{_NAME} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _meaning(text: str) -> str:
    """Returns a flag's help without what absl adds to it, and with the names of flags as code."""
    text = re.sub(r"^<[^>]*>: |;\s*repeat this option to specify a list of values$", "", text)
    return re.sub(r"(?<![\w`-])(--\w+(?:=[\w.,|=-]*\w)?)", r"`\1`", text)


def _values(flag) -> str:
    parser, text = flag.parser, flag.flag_type()
    choice = getattr(parser, "enum_values", None)
    if choice:
        text = ", ".join(f"`{value}`" for value in choice)
    elif flag.boolean:
        text = f"on or off (`--no{flag.name}`)"
    else:
        kind = {"int": "whole number", "float": "number"}.get(text.replace("multi ", "").strip(), "text")
        lower, upper = getattr(parser, "lower_bound", None), getattr(parser, "upper_bound", None)
        bounds = [f"at least {lower}"] if lower is not None and upper is None else []
        bounds += [f"{lower} to {upper}"] if lower is not None and upper is not None else []
        text = ", ".join([kind, *bounds])
    return f"{text}; may be repeated" if text and flag.flag_type().startswith("multi") else text


def _default(flag) -> str:
    value = flag.default
    if value is None or value in ("", [], {}):
        return "not set"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, dict):
        value = [f"{key}={item}" for key, item in value.items()]
    return f"`{','.join(map(str, value)) if isinstance(value, (list, tuple)) else value}`"


def losses_table() -> str:
    """Returns the table of the values of `--loss`: the class, and what the docstring of its function says."""
    rows = ["| `--loss` | in Python | what it computes |", "|---|---|---|"]
    classes, functions = _dictionary("losses/by_name.py", "LOSSES"), dict(_functions(_folder("losses")))
    addons = _dictionary("addons.py", "LOSSES")
    for name in choices.LOSSES:
        if name in classes:
            function = re.sub(r"(?<!^)(?=[A-Z])", "_", classes[name]).lower()
            what = f"`{classes[name]}`{_NAME}, `{function}`{_NAME}"
            meaning = _cell(_sentences(functions[function]))
        else:
            theirs, ours = ast.literal_eval(addons[name])
            what, meaning = "", f"`{theirs}` of tensorflow-addons, as a baseline for `{ours}`"
        rows.append(f"| `{name}`{_NAME} | {what} | {meaning} |")
    return "\n".join(rows)


def _dictionary(path: str, name: str) -> dict[str, str]:
    """Returns a dictionary that stands in a module of the package, its values as source text."""
    for node in _parsed(ROOT / "keras_reid" / path).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return {ast.literal_eval(key): ast.unparse(value) for key, value in zip(node.value.keys, node.value.values)}
    raise LookupError(f"{path} has no dictionary {name}.")


def _functions(folder: Path) -> Iterator[tuple[str, str]]:
    for path in folder.glob("*.py"):
        for node in _parsed(path).body:
            if isinstance(node, ast.FunctionDef):
                yield node.name, ast.get_docstring(node) or ""


def recipes() -> str:
    """Returns each flagfile that ships under its name, as it stands."""
    paths = sorted((ROOT / "configs").glob("*.flags"))
    return "\n\n".join(
        f"## {path.name} {{ #{path.stem} }}\n\n```text\n{path.read_text(encoding='utf-8').rstrip()}\n```"
        for path in paths
    )


def reference(package: str) -> str:
    """Returns the page of a package's public names, for mkdocstrings; "" is keras_reid itself."""
    name = f"keras_reid.{package}" if package else "keras_reid"
    summary = ast.get_docstring(_parsed(_folder(package) / "__init__.py"))
    parts = [f"# {name}", _sentences(summary)]
    for public in public_names(package):
        parts.append(f"::: {defined_in(package, public)}\n    options:\n      heading_level: 2")
        if public == "Settings":  # its signature would repeat the table of the flags of train
            parts[-1] += "\n      show_signature: false"
            parts.append("Fields and defaults: the flags of [train](../commands.md#train).")
    return "\n\n".join(parts) + "\n"


def public_names(package: str) -> list[str]:
    """Returns the functions and classes that a package names in `__all__`; of keras_reid those that are no package."""
    for node in _parsed(_folder(package) / "__init__.py").body:
        # keras_reid.losses lists its names, which can be read without importing TensorFlow.
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.List) and node.targets[0].id == "__all__":
            names = ast.literal_eval(node.value)
            break
    else:
        names = importlib.import_module(f"keras_reid.{package}" if package else "keras_reid").__all__
    return sorted(name for name in names if name not in PACKAGES and defined_in(package, name))


def defined_in(package: str, name: str) -> str | None:
    """Returns the dotted place of the function or class of that name; None where it is a constant."""
    # A package may also name what another one defines: its own modules come first.
    for path in (*_modules(package), *_modules("")):
        for node in _parsed(path).body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name == name:
                return ".".join([*path.relative_to(ROOT).with_suffix("").parts, name])
    return None


def _folder(package: str) -> Path:
    return ROOT / "keras_reid" / package


@functools.cache
def _modules(package: str) -> list[Path]:
    return sorted(_folder(package).rglob("*.py"))


@functools.cache
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _sentences(docstring: str) -> str:
    """Returns a docstring up to its first section, in one line."""
    return " ".join(re.split(r"\n\s*(?:Args|Returns|Raises|Attributes|Source|Yields):", docstring)[0].split())


def _cell(text: str) -> str:
    """Returns text for a cell of a table: what Markdown would take for markup is escaped outside backquotes."""
    parts = re.split(r"(`[^`]*`)", text.replace("\n", " "))
    escaped = [part if part.startswith("`") else re.sub(r"([*_<>\[\]])", r"\\\1", part) for part in parts]
    return "".join(escaped).replace("|", "\\|")
