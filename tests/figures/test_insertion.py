"""Figures of motif insertion draw and say what the tables hold."""

import re

import numpy as np
import pandas as pd
import pytest

from genomelm_utils.figures.insertion import (
    describe_agreement,
    describe_logos,
    describe_networks,
    describe_recovery,
    describe_top_effects,
    draw_grid,
    grid_of,
    logo_names,
    plot_effect_occurrence,
    plot_motif_logos,
    plot_planted,
    plot_top_effects,
)
from genomelm_utils.figures.legend import legend_of
from genomelm_utils.figures.style import new_figure
from genomelm_utils.interpretation.activity_insertion import rank_planted, recovery_table
from genomelm_utils.interpretation.motif_insertion import MotifEffects
from genomelm_utils.interpretation.motif_ranking import (
    agreement_table,
    compare_occurrence,
    effect_table,
    join_occurrence,
)

TRUTH = np.array([2.0, 1.0, 0.0, -1.0, -2.0])
NAMES = tuple(f"motif{i}" for i in range(5))


def make_table(control: bool = True) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    effects = TRUTH[:, None, None] + 0.2 * rng.normal(size=(5, 30, 2))
    motifs = NAMES
    if control:
        effects = np.concatenate([effects, 0.2 * rng.normal(size=(5, 30, 2))])
        motifs = (*NAMES, *(f"{name}~shuffled" for name in NAMES))
    baseline = np.zeros((30, 2), np.float32)
    found = MotifEffects(motifs, ("K562", "THP1"), effects.astype(np.float32), baseline, {})
    return effect_table(found)


def make_joined() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    has = rng.random((300, 5)) < 0.4
    values = has @ TRUTH[:, None] + rng.normal(size=(300, 2))
    occurrence = compare_occurrence(values, has, NAMES, ["K562", "THP1"])
    return join_occurrence(make_table(), occurrence, subset="all")


def points(ax) -> list[tuple[float, float]]:
    return [
        tuple(xy) for container in ax.containers for xy in container.lines[0].get_xydata().tolist()
    ]


def test_strongest_motifs_are_at_both_ends(ax) -> None:
    table = make_table()
    plot_top_effects(table, "K562", ax, n_top=2)
    labels = [text.get_text() for text in ax.get_yticklabels()]
    assert labels == ["motif4", "motif3", "motif1", "motif0"]
    means = table[table["output"] == "K562"].set_index("motif")["mean"]
    shown = {int(y): x for x, y in points(ax)}
    assert [shown[y] for y in range(4)] == pytest.approx([means[name] for name in labels])
    assert {text.get_text() for text in ax.get_legend().get_texts()} == {
        *("up, 95 %", "down, 95 %", "shuffled motif")
    }
    assert "K562" in ax.get_xlabel()


def test_without_a_control_none_is_drawn(ax) -> None:
    plot_top_effects(make_table(control=False), "K562", ax)
    assert "shuffled motif" not in [t.get_text() for t in ax.get_legend().get_texts()]


def test_sentences_follow_the_numbers() -> None:
    told = describe_top_effects(make_table())
    assert told.startswith("K562: motif0 raises the prediction most (+1.98 [")
    assert "motif4 is at the other end (-" in told
    assert "4 of 5 motifs differ from their shuffled control (q < 0.05) over 30" in told
    assert "THP1: " in told
    assert "differ from no change" in describe_top_effects(make_table(control=False))
    turned = make_table().assign(mean=lambda t: -t["mean"])
    assert describe_top_effects(turned).startswith("K562: motif4 raises")


def test_effects_stand_against_measured_differences(ax) -> None:
    joined = make_joined()
    plot_effect_occurrence(joined, "THP1", ax)
    part = joined[joined["output"] == "THP1"]
    assert np.allclose(sorted(points(ax)), part[["dfe", "mean"]].sort_values("dfe"))
    assert {text.get_text() for text in ax.texts} == set(NAMES)
    told = describe_agreement(agreement_table(joined, n_resamples=50))
    assert "K562, all motifs: rho of insertion and occurrence" in told
    assert told.count(" over 5.") == 2
    few = agreement_table(joined.assign(q_occurrence=1.0), n_resamples=5)
    assert "K562, significant motifs: 0, too few for a rank correlation." in describe_agreement(few)


def test_logos_are_drawn_for_each_name() -> None:
    matrices = {"a": np.eye(4), "b": np.array([[0.55, 0.2, 0.15, 0.1]] * 3)}
    _, axes = new_figure(2, 2)
    plot_motif_logos(["b", "a"], matrices, axes, [0.5, -0.25])
    assert [ax.get_title() for ax in axes.flat[:2]] == ["b (+0.5)", "a (-0.25)"]
    assert axes.flat[1].get_xlim()[1] == pytest.approx(4.6)
    assert not axes.flat[2].get_visible()
    with pytest.raises(ValueError, match="4 axes for 5 motifs"):
        plot_motif_logos(["a"] * 5, matrices, axes)


def test_wrong_outputs_and_mixed_subsets_are_refused(ax) -> None:
    with pytest.raises(ValueError, match="no row of output 'HeLa', expected one of: K562, THP1"):
        plot_effect_occurrence(make_joined(), "HeLa", ax)
    table = make_table()
    twice = pd.concat([table, table.assign(subset="without")])
    with pytest.raises(ValueError, match=r"10 rows for 5 motifs, .*choose rows of one subset"):
        plot_top_effects(twice, "K562", ax)


def planted_ranks() -> pd.DataFrame:
    effects = make_table().assign(method="Net single")
    truth = pd.DataFrame(
        [(name, cell, TRUTH[i]) for i, name in enumerate(NAMES) for cell in ("K562", "THP1")],
        columns=["motif", "output", "planted"],
    )
    return rank_planted(effects, truth)


def test_planted_against_found(ax) -> None:
    ranks = planted_ranks()
    plot_planted(ranks, "K562", ax)
    found = sorted(xy for xy in points(ax))
    assert [x for x, _ in found] == sorted(TRUTH)
    assert [y for _, y in found] == pytest.approx(sorted(TRUTH), abs=0.3)
    assert {text.get_text() for text in ax.texts} == set(NAMES)


def test_sentences_on_recovery() -> None:
    ranks = planted_ranks()
    told = describe_recovery(recovery_table(ranks), ranks)
    assert re.match(r"Net single: rho of planted and found effects (1\.00|0\.9\d) \[", told)
    assert "with a chance of 1.00 [1.00, 1.00]" in told
    assert "First of 10 motifs and controls: motif" in told
    assert "motif2 does nothing in these cells" in told


def test_a_row_of_axes_per_network_and_a_column_per_output() -> None:
    table = pd.concat([make_table().assign(method=name) for name in ("A single", "B joint (x)")])
    _, axes = grid_of(table)
    assert axes.shape == (2, 2)
    draw_grid(table, axes, plot_top_effects, n_top=2)
    assert axes[1, 0].get_title(loc="left") == "B joint (x)"
    assert axes[0, 1].get_xlabel().endswith("THP1")
    assert all(ax.get_legend() is None for ax in axes.flat)
    assert legend_of(axes)[1]
    told = describe_networks(table, describe_top_effects)
    assert told.startswith("A single: K562: motif0") and " B joint (x): K562: " in told


def test_logos_are_of_the_largest_effects() -> None:
    best = logo_names(make_table(), n=3)
    assert len(best) == 3 and "motif0" in set(best["motif"]) and "motif4" in set(best["motif"])
    assert best["mean"].is_monotonic_decreasing
    told = describe_logos(best)
    assert "3 motifs" in told and "raise predictions on average: motif0 (+2" in told
