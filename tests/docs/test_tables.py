"""Tables of the documentation that are made from the code: all that the code has stands in them."""

import importlib
import importlib.util
import re
import subprocess
import sys

import pytest

from keras_reid import choices, options
from tests.docs.pages import ROOT


@pytest.fixture(scope="module")
def hooks():
    specification = importlib.util.spec_from_file_location("docs_hooks", ROOT / "docs" / "hooks.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_every_flag_of_every_command_stands_in_its_table(hooks):
    commands = {name[: -len("_flags")] for name in dir(options) if re.fullmatch(r"[a-z]+_flags", name)}
    assert set(hooks.COMMANDS) == commands
    page = hooks.all_flags()
    for command in commands:
        table = hooks.flags_table(command)
        assert table in page and f"\n## {command}\n" in f"\n{page}"
        for name in getattr(options, f"{command}_flags")():
            if name not in ("flagfile", "undefok", "help", "h"):
                assert table.count(f"| `--{name}`{{ .name }} |") == 1


def test_a_row_tells_values_default_and_meaning(hooks):
    rows = {row.split("{ .name }")[0]: row.replace("{ .name }", "") for row in hooks.flags_table("train").splitlines()}
    assert rows["| `--epochs`"].startswith(
        "| `--epochs` | whole number, 1 to 1000000 | `150` | Epochs, each of N // (P"
    )
    assert "`refuse`, `distinct`, `leave_out` | `distinct` | What a missing camera" in rows["| `--missing_cameras`"]
    assert " | on or off (`--nodeterministic`) | off | " in rows["| `--deterministic`"]
    assert "may be repeated" in rows["| `--data_dir`"] and rows["| `--data_dir`"].count(" | ") == 3


def test_every_loss_stands_in_the_table_with_what_it_computes(hooks):
    rows = hooks.losses_table().splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == list(choices.LOSSES)
    assert "`BatchHardTripletLoss`{ .name }, `batch_hard_triplet_loss`{ .name }" in rows[0] and "D(a,p)" in rows[0]
    assert all(len(row.split(" | ")[2]) > 20 for row in rows)


def test_every_flagfile_that_ships_is_shown_and_says_what_to_expect(hooks):
    page = hooks.recipes()
    for path in (ROOT / "configs").glob("*.flags"):
        text = path.read_text()
        assert text.strip() in page
        header = text.split("\n--")[0]
        assert all(word in header.lower() for word in ("source:", "command:", "cost:", "result")), path.name


def test_the_reference_shows_every_public_function_and_class(hooks):
    for package in ("", *hooks.PACKAGES):
        module = importlib.import_module(f"keras_reid.{package}" if package else "keras_reid")
        callables = {name for name in module.__all__ if callable(getattr(module, name))}
        assert callables <= set(hooks.public_names(package))
        for name in callables:
            place, _, last = hooks.defined_in(package, name).rpartition(".")
            assert getattr(importlib.import_module(place), last) is getattr(module, name)


def test_links_between_files_lead_to_pages_of_the_site(hooks):
    for folder, text, expected in (
        ("docs", "[a](../export/README.md#rest) [b](data.md)", "[a](kit.md#rest) [b](data.md)"),
        ("docs", "[c](../configs/own.flags) [g](../LICENSE)", "[c](recipes.md#own) g"),
        ("docs", "[d](https://x.org) [e](#f)", "[d](https://x.org) [e](#f)"),
        (".", "![p](docs/images/x.jpg) [q](docs/faq.md)", "![p](images/x.jpg) [q](faq.md)"),
    ):
        assert hooks.site_links(text, hooks.Path(folder)) == expected


def test_the_tables_need_no_tensorflow():
    code = "import sys, hooks; hooks.all_flags(), hooks.losses_table(), [hooks.reference(p) for p in hooks.PACKAGES]\n"
    code += "sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT / "docs").returncode == 0
