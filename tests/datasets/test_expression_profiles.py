"""Tables about promoters and expression, by hand."""

import numpy as np
import pandas as pd
import pytest

from genomelm_utils.datasets.expression_profiles import (
    base_composition,
    expression_quantiles,
    expression_values,
    tissue_correlations,
)
from genomelm_utils.sequences.alphabet import encode

NAN = np.nan


def shares_at(table, distance):
    return table[table["distance_bp"] == distance].set_index("base")["share"].to_dict()


def test_composition_is_counted_from_the_tss():
    codes = [encode("ACGT"), encode("GT"), encode("NT")]
    table = base_composition(codes)
    assert sorted(table["distance_bp"].unique()) == [-4, -3, -2, -1]
    assert shares_at(table, -1) == {"A": 0, "C": 0, "G": 0, "T": 1}
    assert shares_at(table, -2) == {"A": 0, "C": 0, "G": 1, "T": 0}  # N is left out
    assert table.groupby("distance_bp")["n"].first().to_dict() == {-4: 1, -3: 1, -2: 2, -1: 3}


def test_gaps_and_spans_move_and_cut():
    codes = [encode("ACGT"), encode("CC")]
    table = base_composition(codes, pd.Series([2, pd.NA], dtype="Int64"), span_bp=5)
    assert sorted(table["distance_bp"].unique()) == [-5, -4, -3, -2, -1]
    assert shares_at(table, -3)["T"] == 1
    assert shares_at(table, -5)["C"] == 1
    past = base_composition([encode("ACGT")], [-2])
    assert sorted(past["distance_bp"].unique()) == [-2, -1, 0, 1]


def test_bins_are_counted_from_the_tss():
    table = base_composition([encode("AACCC")], bin_bp=3)
    assert table.groupby("distance_bp")["n"].first().to_dict() == {-4: 2, -1: 3}
    assert shares_at(table, -1)["C"] == 1


def test_intervals_are_wilson_ones():
    table = base_composition([encode("A")] * 8 + [encode("T")] * 2)
    row = table[table["base"] == "A"].iloc[0]
    # p = 0.8, n = 10, from the published formula
    assert (row["low"], row["high"]) == pytest.approx((0.4902, 0.9433), abs=1e-4)


def test_values_and_quantiles_leave_out_what_was_not_measured():
    tpm = np.array([[0, 1], [0, NAN], [4, NAN], [8, NAN]], dtype=np.float32)
    values = expression_values(tpm, ["leaf", "root"])
    assert values["tissue"].value_counts().to_dict() == {"leaf": 4, "root": 1}
    table = expression_quantiles(tpm, ["leaf", "root"]).set_index("tissue")
    assert table.loc["leaf", ["n", "n_missing", "zeros", "q50"]].tolist() == [4, 0, 0.5, 2]
    assert table.loc["root", ["n", "n_missing", "zeros", "q95"]].tolist() == [1, 3, 0, 1]


def test_correlations_put_neighbours_beside_each_other(rng):
    shared = rng.normal(size=(2, 60))
    noise = 0.2 * rng.normal(size=(4, 60))
    labels = np.stack([shared[0], shared[1], shared[0], shared[1]], axis=1) + noise.T
    table = tissue_correlations(labels, ["leaf", "root", "shoot", "tip"])
    order = table["tissue_a"].unique().tolist()
    assert abs(order.index("leaf") - order.index("shoot")) == 1
    assert abs(order.index("root") - order.index("tip")) == 1
    wide = table.pivot(index="tissue_a", columns="tissue_b", values="r")
    assert wide.loc["leaf", "shoot"] == pytest.approx(np.corrcoef(labels[:, [0, 2]].T)[0, 1])
    assert np.diag(wide) == pytest.approx(1)


def test_correlations_are_over_promoters_measured_in_both(rng):
    labels = rng.normal(size=(30, 3))
    labels[:10, 1] = NAN
    labels[2:, 2] = NAN
    table = tissue_correlations(labels, ["a", "b", "c"]).set_index(["tissue_a", "tissue_b"])
    assert table.loc[("a", "b"), "n"] == 20
    assert table.loc[("a", "b"), "r"] == pytest.approx(np.corrcoef(labels[10:, :2].T)[0, 1])
    assert np.isnan(table.loc[("a", "c"), "r"])


def test_what_does_not_fit_is_told():
    with pytest.raises(ValueError, match=r"values of shape \(2, 3\) for 2 tissues"):
        tissue_correlations(np.ones((2, 3)), ["a", "b"])
    with pytest.raises(ValueError, match="span_bp 0, bin_bp 1, 1 promoters"):
        base_composition([encode("A")], span_bp=0)
