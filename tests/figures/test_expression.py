"""Figures of expression regression: they draw and say what the tables hold."""

import warnings

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from genomelm_utils.evaluation.published_expression import beside_published
from genomelm_utils.evaluation.regression import evaluate, true_predicted_table
from genomelm_utils.evaluation.regression_slips import explain_pooled_column
from genomelm_utils.figures.expression import (
    describe_losses,
    describe_r2_bars,
    describe_true_predicted,
    method_looks,
    plot_losses,
    plot_r2_bars,
    plot_true_predicted,
    plot_true_predicted_panels,
)
from genomelm_utils.figures.expression_published import (
    describe_table1,
    plot_pooled_column,
    plot_table1,
)
from genomelm_utils.figures.style import new_figure
from genomelm_utils.tasks.label_transform import LabelTransform

TISSUES = ("root", "middle", "ear")
LOG = LabelTransform(TISSUES)


def make_tables() -> dict[str, pd.DataFrame]:
    rng = np.random.default_rng(0)
    y = np.maximum(rng.normal(2, 1, (120, 3)), 0)
    tpm = np.expm1(y).astype(np.float32)
    tpm[:10, 0] = np.nan
    good = 0.5 * y + 1 + rng.normal(0, 0.4, y.shape)
    constant = np.full(y.shape, 2.0)
    scores = evaluate(
        tpm, {"florabert": good, "kmer_ridge": good + rng.normal(0, 0.5, y.shape),
              "tissue_mean": constant},
        transform=LOG, clusters_S=np.arange(120) // 2, n_resamples=50,
    )  # fmt: skip
    history = pd.DataFrame(
        {"step": [0, 5, 10, 15, 20] * 2, "run": ["florabert"] * 5 + ["scratch"] * 5,
         "train_loss": [np.nan, 2.0, 1.5, 1.2, 1.0] * 2,
         "valid_loss": [2.5, np.nan, 1.8, np.nan, 1.9, 2.5, np.nan, 2.4, np.nan, 2.3]}
    )  # fmt: skip
    return {
        "points": true_predicted_table(tpm, good, LOG),
        "scores": scores,
        "history": history,
        "table1": beside_published(scores),
        "pooled": explain_pooled_column(LOG.apply(tpm), good),
    }


TABLES = make_tables()
CASES = {
    "points": lambda t, ax: plot_true_predicted(t["points"].query("tissue == 'ear'"), ax),
    "scores": lambda t, ax: plot_r2_bars(t["scores"], ax),
    "history": lambda t, ax: plot_losses(t["history"], ax, constant=2.2),
    "table1": lambda t, ax: plot_table1(t["table1"], ax),
    "pooled": lambda t, ax: plot_pooled_column(t["pooled"], ax),
}


@pytest.mark.parametrize("name", CASES)
def test_axes_in_axes_out_tables_untouched_no_warning(name, ax):
    before, figures = {k: v.copy() for k, v in TABLES.items()}, plt.get_fignums()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert CASES[name](TABLES, ax) is ax
        ax.figure.canvas.draw()
    assert plt.get_fignums() == figures
    assert ax.get_xlabel() or ax.get_ylabel()
    for key, table in before.items():
        pd.testing.assert_frame_equal(TABLES[key], table)


def test_points_are_those_of_the_table(ax):
    table = TABLES["points"]
    assert len(table) == 350
    assert table.groupby("tissue", sort=False).size().to_dict() == {
        "root": 110, "middle": 120, "ear": 120
    }  # fmt: skip
    part = table[table["tissue"] == "root"]
    plot_true_predicted(part, ax)
    offsets = ax.collections[0].get_offsets()
    assert np.allclose(offsets, part[["true", "predicted"]])
    r2 = TABLES["scores"].query("model == 'florabert' and tissue == 'root' and metric == 'r2'")
    assert f"r² {r2['mean'].item():.3f}" in ax.texts[0].get_text()
    big = TABLES["scores"].query("model == 'florabert' and tissue == 'root' and metric == 'R2'")
    assert f"R² {big['mean'].item():.3f}" in ax.texts[0].get_text()


def test_panels_share_their_scales_and_spare_ones_are_hidden():
    _, axes = new_figure(2, 2)
    plot_true_predicted_panels(TABLES["points"], axes)
    assert [ax.get_visible() for ax in axes.flat] == [True, True, True, False]
    assert len({ax.get_xlim() for ax in axes.flat[:3]}) == 1
    assert [ax.get_title() for ax in axes.flat[:3]] == list(TISSUES)
    with pytest.raises(ValueError, match="1 axes for 3 tissues"):
        plot_true_predicted_panels(TABLES["points"], new_figure()[1])


def test_sentence_on_the_scatter():
    scores = TABLES["scores"].query("model == 'florabert' and metric == 'r2'")
    by_tissue = scores[scores["tissue"].isin(TISSUES)].set_index("tissue")["mean"]
    text = describe_true_predicted(TABLES["points"])
    assert f"to {by_tissue.max():.3f} ({by_tissue.idxmax()})" in text
    assert f"from {by_tissue.min():.3f} ({by_tissue.idxmin()})" in text
    flat = TABLES["points"].assign(predicted=1.0)
    assert "not defined" in describe_true_predicted(flat)


def test_intervals_of_all_methods_and_an_undefined_one(ax):
    plot_r2_bars(TABLES["scores"], ax)
    labels = [text.get_text() for text in ax.get_xticklabels()]
    assert labels == [*TISSUES, "pooled", "mean\nof tissues"]
    r2 = TABLES["scores"].query("metric == 'r2'").set_index(["model", "tissue"])
    handles, names = ax.get_legend_handles_labels()
    assert names == ["florabert", "kmer_ridge", "tissue_mean"]
    heights = handles[0].lines[0].get_ydata()
    assert heights[0] == pytest.approx(r2.loc[("florabert", "root"), "mean"])
    segment = handles[0].lines[2][0].get_segments()[0]
    assert segment[0][1] == pytest.approx(r2.loc[("florabert", "root"), "low"])
    assert segment[1][1] == pytest.approx(r2.loc[("florabert", "root"), "high"])
    text = describe_r2_bars(TABLES["scores"])
    assert text.index("florabert") < text.index("kmer_ridge")
    assert text.endswith("Not defined for a constant prediction: tissue_mean.")
    assert f"{r2.loc[('florabert', 'mean'), 'mean']:.3f} [" in text
    with pytest.raises(ValueError, match="no metric 'r3' in the table, expected one of: r2, R2"):
        plot_r2_bars(TABLES["scores"], ax, metric="r3")


def test_methods_look_the_same_everywhere_and_differ():
    looks = method_looks(["florabert", "kmer_ridge", "binned_kmer_ridge", "bow5", "something"])
    assert looks["kmer_ridge"] != looks["binned_kmer_ridge"]
    assert len(set(looks.values())) == 5
    assert method_looks(["bow5"])["bow5"] == looks["bow5"]
    assert method_looks(["FloraBERT"])["FloraBERT"] == looks["florabert"]


def test_losses_and_the_kept_step(ax):
    plot_losses(TABLES["history"], ax, constant=2.2)
    rings = [line for line in ax.lines if line.get_markersize() == 8]
    assert [(r.get_xdata()[0], r.get_ydata()[0]) for r in rings] == [(10, 1.8), (20, 2.3)]
    text = describe_losses(TABLES["history"], constant=2.2)
    assert "florabert: validation loss from 2.500 to 1.800 at step 10 of 20." in text
    assert text.endswith("Tissue means alone have 2.200.")
    one = TABLES["history"].query("run == 'scratch'").drop(columns="run")
    assert describe_losses(one).startswith("The run: validation loss from 2.500")
    none = one.assign(valid_loss=np.nan)
    assert describe_losses(none) == "The run has no validation loss."


def test_table1_crosses_out_what_cannot_be(ax):
    plot_table1(TABLES["table1"], ax)
    crosses = [line for line in ax.lines if line.get_markersize() == 6 and len(line.get_xdata())]
    assert len(crosses) == 4
    assert all(line.get_ydata()[0] == 0 for line in crosses)
    _, names = ax.get_legend_handles_labels()
    assert "FloraBERT (paper)" in names
    assert "florabert (here)" in names
    labels = [text.get_text() for text in ax.get_xticklabels()]
    assert "leaf" in labels
    assert "middle" not in labels
    text = describe_table1(TABLES["table1"])
    assert "in the paper FloraBERT 0.134, BOW 5-mer 0.084" in text
    assert "0.000 under 'All' for 4 bag-of-words models" in text
    ours = TABLES["scores"].query("model == 'florabert' and metric == 'r2' and tissue == 'mean'")
    assert f"here florabert {ours['mean'].item():.3f} [" in text


def test_pooled_column_says_what_is_undefined(ax):
    plot_pooled_column(TABLES["pooled"], ax)
    notes = dict(zip(TABLES["pooled"]["case"], (t.get_text() for t in ax.texts), strict=True))
    assert notes["one constant"] == "not defined"
    expected = TABLES["pooled"]["r2"].iloc[0]
    assert notes["pooled"] == f"{expected:.3f}"
    assert ax.patches[0].get_width() == pytest.approx(expected)
