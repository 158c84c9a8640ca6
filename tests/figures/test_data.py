"""Figures about the data: windows and classes as the tables have them, also when there are none."""

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from genomelm_utils.figures.data import (
    CLASS_STYLE,
    MAX_RECORDS,
    describe_class_gc,
    describe_species,
    describe_windows,
    plot_class_gc,
    plot_gc_along,
    plot_gc_distribution,
    plot_species_gc,
)
from genomelm_utils.figures.style import new_figure


def make_windows(sizes: dict[str, int]) -> pd.DataFrame:
    parts = [
        pd.DataFrame({"record": name, "start": np.arange(n) * 1000}) for name, n in sizes.items()
    ]
    table = pd.concat(parts, ignore_index=True)
    share = np.linspace(0.3, 0.5, len(table))
    return table.assign(gc=share, soft_share=np.where(share > 0.45, 0.9, 0.1))


WINDOWS = make_windows({"chr1": 60, "chr2": 40})
SETS = pd.DataFrame(
    {
        "file": ["Prom/10", "Splice/10"],
        "gc_class_0": [0.4, 0.45],
        "gc_class_1": [0.6, 0.47],
        "gc_class_2": [np.nan, 0.49],
    }
)
GENOMES = pd.DataFrame(
    {
        "genome": ["a1", "b1", "b2", "c1"],
        "species": ["Aus bus", "Bus cus", "Bus cus", "Bus dus"],
        "part": ["train", "test", "test", "train"],
        "relatives": ["", "Bus dus", "Bus dus", "Bus cus"],
        "n_bases": [1_000_000, 2_000_000, 500_000, 3_000_000],
        "gc": [0.5, 0.3, 0.32, 0.4],
        "gc_low": [0.45, 0.25, 0.27, np.nan],
        "gc_high": [0.55, 0.35, 0.37, np.nan],
    }
)
CASES = {
    "species": lambda ax: plot_species_gc(GENOMES, ax),
    "along": lambda ax: plot_gc_along(WINDOWS, ax),
    "distribution": lambda ax: plot_gc_distribution(WINDOWS, ax),
    "classes": lambda ax: plot_class_gc(SETS, ax),
}


def texts(ax) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


@pytest.mark.parametrize("name", CASES)
def test_axes_in_axes_out_same_bytes_twice(name, tmp_path):
    found = []
    for i in range(2):
        fig, axes = new_figure()
        before = plt.get_fignums()
        assert CASES[name](axes[0, 0]) is axes[0, 0]
        assert plt.get_fignums() == before
        assert axes[0, 0].has_data()
        fig.savefig(tmp_path / f"{i}.svg", metadata={"Date": None})
        found.append((tmp_path / f"{i}.svg").read_bytes())
    assert found[0] == found[1]


def test_only_the_longest_records_are_drawn(ax):
    sizes = {f"c{i}": 5 + i for i in range(MAX_RECORDS + 3)}
    plot_gc_along(make_windows(sizes), ax)
    assert texts(ax) == [f"c{i}" for i in range(MAX_RECORDS + 2, 2, -1)]
    assert [len(line.get_xdata()) for line in ax.lines] == [13, 12, 11, 10, 9, 8]
    assert len({line.get_color() for line in ax.lines}) == MAX_RECORDS


def test_lines_are_running_means_in_percent_over_mbp(ax):
    plot_gc_along(WINDOWS, ax)
    x, y = ax.lines[0].get_data()
    assert x[[0, -1]] == pytest.approx([0, 0.059])
    gc = 100 * WINDOWS["gc"].to_numpy()[:60]
    assert y[30] == pytest.approx(gc[20:40].mean())
    assert y[0] == pytest.approx(gc[:10].mean())  # at the ends over the windows there are


def test_histogram_holds_every_window_once(ax):
    plot_gc_distribution(WINDOWS, ax)
    counts = [sum(bar.get_height() for bar in bars) for bars in ax.containers]
    assert counts == [75, 25]
    assert texts(ax) == ["other windows", "mostly soft-masked"]


def test_histogram_without_soft_mask_has_one_part(ax):
    plot_gc_distribution(WINDOWS.assign(soft_share=0.0), ax)
    assert len(ax.containers) == 1


def test_sentence_about_windows():
    text = describe_windows(WINDOWS)
    assert text == (
        "100 windows of 1 kb in 2 records: GC 40.0 % on average, 31.0 to 49.0 % in nine windows of "
        "ten; 30.0 % of the bases are soft-masked."
    )


@pytest.mark.filterwarnings("error")
def test_a_genome_without_a_window_is_drawn_empty(ax):
    """Short records, as of a virus or of contigs: nothing to show, but no error."""
    nothing = WINDOWS[:0]
    plot_gc_along(nothing, ax)
    plot_gc_distribution(nothing, ax)
    assert describe_windows(nothing) == "No stretch of 1 kb without N: no windows to show."


@pytest.mark.filterwarnings("error")
def test_one_window_is_enough(ax):
    plot_gc_distribution(WINDOWS[:1], ax)
    assert sum(bar.get_height() for bar in ax.containers[0]) == 1


def test_classes_stand_beside_their_file_from_above(ax):
    plot_class_gc(SETS, ax)
    points = {line.get_label(): line.get_xydata() for line in ax.lines}
    assert points["class 0"] == pytest.approx(np.array([[40, 1], [45, 0]]))
    assert points["class 2"][1] == pytest.approx([49, 0])
    assert np.isnan(points["class 2"][0, 0])
    spans = ax.collections[0].get_segments()
    assert [span[:, 0].tolist() for span in spans] == [
        pytest.approx([40, 60]),
        pytest.approx([45, 49]),
    ]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["Prom/10", "Splice/10"]
    assert texts(ax) == ["class 0", "class 1", "class 2"]


def test_many_classes_are_all_drawn(ax):
    n = len(CLASS_STYLE) + 2
    table = pd.DataFrame({"file": ["x"]} | {f"gc_class_{i}": [0.3 + i / 50] for i in range(n)})
    plot_class_gc(table, ax)
    assert texts(ax) == [f"class {i}" for i in range(n)]


def test_sentence_names_the_file_with_the_largest_difference():
    assert describe_class_gc(SETS) == (
        "The classes of Prom/10 differ most, by 20.0 points of GC; the median difference over 2 "
        "files is 12.0 points."
    )


def test_genomes_stand_at_their_species_from_the_lowest_gc(ax):
    plot_species_gc(GENOMES, ax)
    labels = [tick.get_text() for tick in ax.get_yticklabels()]
    assert labels == ["Bus cus *", "Bus dus *", "Aus bus"]
    points = {line.get_label(): line.get_xydata() for line in ax.lines}
    assert points["to train on"] == pytest.approx(np.array([[50, 2], [40, 1]]))
    assert points["to test on"] == pytest.approx(np.array([[30, 0], [32, 0]]))
    assert ax.collections[1].get_segments()[0][:, 0] == pytest.approx([25, 35])


def test_sentence_about_species_names_the_relatives():
    assert describe_species(GENOMES) == (
        "2 genomes of 2 species (4.0 Mbp) to train on and 2 genomes of 1 species (2.5 Mbp) to test "
        "on; no species is in both. Test species with a relative (of their genus) in training: "
        "Bus cus."
    )
    alone = describe_species(GENOMES.assign(relatives=""))
    assert alone.endswith("in training: none.")
