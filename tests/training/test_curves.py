"""The curves of a run: what is drawn, and that a host's matplotlib is left alone."""

import subprocess
import sys

import pandas as pd
import pytest
from matplotlib.figure import Figure

from keras_reid.training.curves import draw_curves
from keras_reid.training.run_folder import RunFolder


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """Draws a run of n epochs, scored every second; returns title -> (axes, label -> (epochs, values))."""

    def draw(epochs: int):
        run, figures = RunFolder(tmp_path / "run"), []
        run.path.mkdir()
        numbers = range(1, epochs + 1)
        metrics = pd.DataFrame({"epoch": numbers, "step": [6 * number for number in numbers], "loss": 1.0})
        metrics["learning_rate"] = [10.0 ** -min(number, 5) for number in numbers]
        metrics["active_triplets"] = 0.5
        metrics["val_top1"] = [0.25 if number % 2 == 0 else None for number in numbers]
        metrics.to_csv(run.metrics, index=False)
        times = pd.DataFrame({"epoch": numbers, "step": 6, "images_per_second": 58.0, "waiting_share": 0.03})
        times.to_csv(run.times, index=False)
        save = Figure.savefig
        monkeypatch.setattr(Figure, "savefig", lambda figure, *a, **k: (figures.append(figure), save(figure, *a, **k)))
        draw_curves(run)
        assert run.curves.read_bytes().startswith(b"\x89PNG")
        return {
            axes.get_title(loc="left"): (axes, {line.get_label(): line.get_xydata().tolist() for line in axes.lines})
            for axes in figures[0].axes
        }

    return draw


def test_a_run_of_many_epochs(drawn):
    panels = drawn(150)
    assert len(panels) == 8
    _, scores = panels["scores on query and gallery, %"]
    assert scores["top-1"] == [[epoch, 25.0] for epoch in range(2, 151, 2)]
    axes, _ = panels["learning rate"]
    assert axes.get_yscale() == "log"
    axes, waiting = panels["time waiting for input, %"]
    assert axes.get_ylim() == (0, 102) and list(waiting.values())[0][0] == [1.0, 3.0]


def test_one_epoch_shows_as_points(drawn):
    panels = drawn(1)
    axes, lines = panels["shares in training, %"]
    assert lines == {"triplets that are active": [[1.0, 50.0]]}
    assert axes.lines[0].get_marker() == "o"
    axes, lines = panels["scores on query and gallery, %"]
    assert not lines and axes.texts[0].get_text() == "nothing yet"


def test_nothing_is_drawn_before_the_first_epoch(tmp_path):
    draw_curves(RunFolder(tmp_path))
    assert not list(tmp_path.iterdir())


def test_the_hosts_pictures_are_left_alone():
    code = "import sys, keras_reid.training.curves; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
