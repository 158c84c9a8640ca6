"""Names and roles of methods: what is judged, what it stands beside, what a small figure shows."""

import pandas as pd
import pytest

from genomelm_utils.baselines.species_methods import (
    MAIN_BASELINES,
    REFERENCE,
    SPECIES_BASELINES,
    is_main,
    label_methods,
    method_label,
    select_main,
)


def test_labels_are_added_to_a_copy():
    table = pd.DataFrame({"method": ["tnf", "trained", "mine"]})
    assert label_methods(table)["label"].tolist() == ["TNF", "trained on pairs", "mine"]
    assert table.columns.tolist() == ["method"]
    assert method_label("mini-untrained") == "mini-untrained"
    assert method_label("trained+tnf_k") == "trained on pairs + TNF-K"


@pytest.mark.parametrize(
    ("method", "judged"),
    [
        ("trained", True), ("mini-trained", True), ("published", True), ("DNABERT-2-117M", True),
        ("trained+tnf_k", True), ("mini-trained+tnf_k", True), ("untrained", False),
        ("mini-untrained", False), ("mini-mlm", False),
        ("canonical_tnf", False), ("kmer_contrastive", False),
    ],
)  # fmt: skip
def test_what_is_judged(method, judged):
    assert is_main(method) is judged


def test_main_methods_are_all_language_models_and_the_baselines_that_matter():
    methods = ["mini-trained", "mlm", "untrained", "published", *SPECIES_BASELINES]
    table = pd.DataFrame({"method": methods * 2, "threshold": 0.5})
    shown = select_main(table)
    assert set(shown["method"]) == {*methods[:4], *MAIN_BASELINES}
    assert len(shown) == 14
    assert shown.columns.equals(table.columns)
    assert REFERENCE in MAIN_BASELINES
    assert set(MAIN_BASELINES) < set(SPECIES_BASELINES)
