"""What figures of all papers share: axes, sentences of several runs, files that are published."""

import json
import shutil

import pandas as pd
import pytest
from matplotlib import pyplot as plt

from genomelm_utils import paths
from genomelm_utils.figures.legend import legend_of
from genomelm_utils.figures.manuscript import (
    describe_runs,
    draw_each,
    finite_numbers,
    grid_for,
    numbers_by_run,
    publish,
    stack_tables,
    to_markdown,
)

NUMBERS = {"bits": {"contiguous": 1.9, "genemask": None}}


@pytest.mark.parametrize(("n", "shape", "off"), [(1, (1, 1), 0), (2, (1, 2), 0), (3, (2, 2), 1)])
def test_grid_has_room_and_switches_off_what_is_left(n, shape, off):
    _, axes = grid_for(n)
    assert axes.shape == shape
    assert sum(not ax.axison for ax in axes.flat) == off
    assert all(ax.axison for ax in axes.flat[:n])


def test_each_group_is_drawn_on_its_own_axes_with_its_name():
    _, axes = grid_for(2)
    before = plt.get_fignums()

    def plot(part, ax, *, factor):
        ax.plot(part["x"], factor * part["x"], label="line")
        return ax.plot([0], [0], label=part["name"].iloc[0])

    table = pd.DataFrame({"name": ["b", "a", "b"], "x": [1, 2, 3]})
    draw_each(table, "name", axes, plot, factor=2)
    assert plt.get_fignums() == before
    assert [ax.get_title() for ax in axes.flat] == ["b", "a"]
    assert [ax.lines[0].get_ydata().tolist() for ax in axes.flat] == [[2, 6], [4]]
    handles, labels = legend_of(axes)
    assert labels == ["line", "b", "a"]
    assert handles[0] is axes.flat[0].lines[0]


def test_markdown_has_one_line_per_row():
    text = to_markdown(pd.DataFrame({"a": [1, 2], "b": ["x", ""]}))
    assert text == "| a | b |\n|---|---|\n| 1 | x |\n| 2 |  |\n"


def test_tables_without_rows_and_no_tables_at_all(make_parent):
    full, empty = pd.DataFrame({"value": [1]}), pd.DataFrame({"value": []})
    parents = [make_parent("10", "a", t=empty), make_parent("10", "b", t=full)]
    assert stack_tables(parents, "t").to_dict("records") == [{"value": 1, "run": "b"}]
    assert list(stack_tables(parents[:1], "t").columns) == ["value", "run"]
    assert stack_tables([], "t").empty


def test_several_runs_are_told_by_name():
    table = pd.DataFrame({"run": ["a", "b"], "value": [1, 2]})

    def tell(part):
        return f"It is {part['value'].iloc[0]}."

    assert describe_runs(table, tell) == "a: It is 1. b: It is 2."
    assert describe_runs(table[:1], tell) == "It is 1."


def test_numbers_are_by_run_and_none_where_there_is_none():
    table = pd.DataFrame({"run": ["a", "a"], "method": ["x", "y"], "mean": [1.0, float("nan")]})
    assert numbers_by_run(table, "mean") == {"a": {"x": 1.0, "y": None}}
    assert finite_numbers(pd.Series({"z": float("inf")})) == {"z": None}


# --- publishing -----------------------------------------------------------------------------------


class FakeRun:
    """As much of a run as publishing needs."""

    def __init__(self, folder, profile="demo"):
        self.dir, self.profile, self.stage = folder, profile, "13_figures_species"

    def path(self, name):
        (self.dir / name).mkdir(parents=True, exist_ok=True)
        return self.dir / name


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "ROOT", tmp_path / "root")
    found = FakeRun(tmp_path / "run")
    (found.path("tables") / "main.csv").write_text("a\n1\n")
    (found.path("figures") / "figure1.svg").write_text("<svg/>")
    return found


def test_published_files_are_the_runs_own(run):
    folder = publish(run, NUMBERS)
    assert folder == paths.ROOT / "figures" / "demo" / "species"
    names = ["figure1.svg", "main.csv", "numbers.json"]
    assert sorted(file.name for file in folder.iterdir()) == names
    for file in folder.iterdir():
        own = run.dir / ("figures" if file.suffix == ".svg" else "tables") / file.name
        assert file.read_bytes() == own.read_bytes()
    assert json.loads((folder / "numbers.json").read_text()) == NUMBERS


def test_what_was_published_before_and_is_no_more_goes(run):
    publish(run, NUMBERS)
    first = (paths.ROOT / "figures/demo/species/numbers.json").read_bytes()
    (paths.ROOT / "figures/demo/species/figure9.svg").write_text("old")
    publish(run, NUMBERS)
    assert not (paths.ROOT / "figures/demo/species/figure9.svg").exists()
    assert (paths.ROOT / "figures/demo/species/numbers.json").read_bytes() == first


def test_a_copy_that_fails_leaves_what_was_published_before(run, monkeypatch):
    folder = publish(run, NUMBERS)
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    copy = shutil.copyfile

    def full(source, target):
        if source.name == "main.csv":
            raise OSError(28, "No space left on device")
        copy(source, target)

    (run.path("figures") / "figure1.svg").write_text("<svg>new</svg>")
    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(OSError, match="No space left"):
        publish(run, NUMBERS)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    assert [file.name for file in folder.parent.iterdir()] == ["species"]


def test_numbers_that_json_does_not_know_are_refused(run):
    with pytest.raises(ValueError, match="JSON"):
        publish(run, {"bits": float("nan")})


def test_a_run_outside_a_batch_publishes_nothing_outside_its_folder(run):
    run.profile = "interactive"
    assert publish(run, NUMBERS) == run.dir / "tables"
    assert (run.dir / "tables" / "numbers.json").is_file()
    assert not paths.figures_dir().exists()
