"""Methods and species look the same everywhere, and differ from one another."""

import pandas as pd
import pytest

from genomelm_utils.baselines.species_methods import MODELS, SPECIES_BASELINES, label_methods
from genomelm_utils.figures.methods import (
    LOOKS,
    draw_method,
    method_style,
    species_styles,
    stack_methods,
)
from genomelm_utils.figures.style import OKABE_ITO


def test_every_method_has_a_name_a_colour_and_a_marker_of_its_own():
    names = [*MODELS, *SPECIES_BASELINES]
    assert set(names) == set(LOOKS)
    for part in zip(*map(method_style, names), strict=True):
        assert len(set(part)) == len(names)


def test_a_run_named_after_a_method_looks_like_it():
    assert method_style("trained") == ("trained on pairs", *LOOKS["trained"])
    assert method_style("mini-untrained") == ("mini-untrained", *LOOKS["untrained"])
    assert method_style("mine") == ("mine", OKABE_ITO["black"], "x")


def test_an_encoder_beside_tnf_k_has_its_colour_and_another_marker(ax):
    assert method_style("trained+tnf_k") == ("trained on pairs + TNF-K", LOOKS["trained"][0], "+")
    assert method_style("mini-trained+tnf_k")[:2] == ("mini-trained + TNF-K", LOOKS["trained"][0])
    assert method_style("mine+tnf_k") == ("mine + TNF-K", OKABE_ITO["black"], "+")
    assert "+" not in {marker for _, marker in LOOKS.values()}
    table = label_methods(pd.DataFrame({"method": ["trained", "trained+tnf_k"]}))
    for _, rows in table.groupby("method"):
        draw_method(ax, rows, [1, 2], [0.5, 0.6], [0.4, 0.5], [0.6, 0.7])
    alone, fused = (bars.lines[0] for bars in ax.containers)
    assert (fused.get_marker(), alone.get_marker()) == ("+", LOOKS["trained"][1])
    assert fused.get_linestyle() != alone.get_linestyle()


def test_species_look_alike_whatever_their_order_and_differ_up_to_49():
    names = [f"species {i:02d}" for i in range(50)]
    styles = species_styles(names)
    assert species_styles(names[::-1] * 2) == styles
    assert len(set(styles.values())) == 49
    assert len({colour for colour, _ in list(styles.values())[:7]}) == 7


def rows_on(ax) -> dict[float, str]:
    return dict(zip(ax.get_yticks(), [t.get_text() for t in ax.get_yticklabels()], strict=True))


def test_models_stand_above_baselines_the_best_first(ax):
    table = label_methods(
        pd.DataFrame({"method": ["tnf", "mlm", "canonical_tnf", "trained"], "mean": [1, 2, 3, 4]})
    )
    found = [(y, row.method) for y, row in stack_methods(table, ["mean"], ax)]
    assert found == [(-1, "trained"), (-2, "mlm"), (-4, "canonical_tnf"), (-5, "tnf")]
    names = rows_on(ax)
    assert (names[0], names[-3]) == ("Language models", "Baselines")
    assert (names[-1], names[-5]) == ("trained on pairs", "TNF")
    assert [t.get_fontweight() for t in ax.get_yticklabels()] == [
        "bold", "normal", "normal", "bold", "normal", "normal",
    ]  # fmt: skip


@pytest.mark.parametrize("methods", [["tnf", "tnf_vae"], ["trained", "mlm"]])
def test_one_group_needs_no_heading(ax, methods):
    table = label_methods(pd.DataFrame({"method": methods, "mean": [1, 2]}))
    assert [y for y, _ in stack_methods(table, ["mean"], ax)] == [0, -1]
    assert len(rows_on(ax)) == 2
