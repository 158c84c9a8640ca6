"""The verdict on training on pairs is that of the table's interval, whichever way it falls."""

import pandas as pd
import pytest

from genomelm_utils.baselines.species_methods import label_methods
from genomelm_utils.figures.species_verdict import describe_clustering


def make_tables(difference: float, low: float, high: float, method: str = "trained"):
    """ARI and paired tables of one model beside canonical TNF, over species and over contigs."""
    parts = [
        label_methods(
            pd.DataFrame(
                {"method": [method, "untrained", "canonical_tnf"], "unit": unit,
                 "mean": [0.6 + difference, 0.1, 0.6], "low": 0.0, "high": 1.0, "n": 6}
            )
        )
        for unit in ("species", "contig")
    ]  # fmt: skip
    pairs = [
        label_methods(
            pd.DataFrame(
                {"method": [method, "untrained"], "unit": unit, "difference": [difference, -0.5],
                 "low": [low, -0.6], "high": [high, -0.4], "p": 0.04, "n": 6}
            )
        )
        for unit in ("species", "contig")
    ]  # fmt: skip
    return pd.concat(parts, ignore_index=True), pd.concat(pairs, ignore_index=True)


@pytest.mark.parametrize(
    ("difference", "low", "high", "words"),
    [
        (0.2, 0.1, 0.3, "is above canonical TNF: difference of ARI +0.200 [+0.100, +0.300]"),
        (-0.2, -0.3, -0.1, "is below canonical TNF: difference of ARI -0.200 [-0.300, -0.100]"),
        (0.1, -0.1, 0.3, "is not told apart from canonical TNF"),
    ],
)
def test_verdict_is_given_either_way_once(difference, low, high, words):
    text = describe_clustering(*make_tables(difference, low, high))
    assert f"Trained on pairs {words}" in text
    assert text.count("difference of ARI") == 1  # over species alone, not of the untrained network
    assert "paired over 6 species" in text


def test_no_trained_model_is_said():
    text = describe_clustering(*make_tables(0.1, 0.0, 0.2, method="mlm"))
    assert text.endswith("No model trained on pairs was given to compare with canonical TNF.")
