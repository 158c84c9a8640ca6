"""Simulated sets with known truth, and the permuted control."""

import numpy as np
import pytest

from genomelm_utils.datasets.expression_controls import make_simulated_set, permute_labels
from genomelm_utils.sequences.kmers import kmer_codes
from genomelm_utils.sequences.simulate_expression import simulate_expression


@pytest.fixture(scope="module")
def simulated():
    return simulate_expression(np.random.default_rng(11))


def count_words(sequences_SL, k):
    codes = kmer_codes(sequences_SL, k)
    counts = np.zeros((len(codes), 4**k))
    np.add.at(counts, (np.arange(len(codes))[:, None], codes), 1)
    return counts


def ridge_r2(whole, codes_SL):
    """Squared correlation on the test part, mean of tissues, of ridge on counts of 5- and 6-mers;
    its penalty is chosen on the validation part. Solved in the space of promoters."""
    labels_ST = np.log1p(whole.tpm_ST.astype(float))
    features = np.hstack([count_words(codes_SL, 5), count_words(codes_SL, 6)]).astype(np.float32)
    train, valid, test = ((whole.genes["part"] == p).to_numpy() for p in ("train", "valid", "test"))
    features -= features[train].mean(axis=0)
    mean_T = labels_ST[train].mean(axis=0)
    kernel = features @ features[train].T
    best = None
    for penalty in np.logspace(1, 4, 7):
        square = kernel[train] + penalty * np.eye(train.sum())
        predicted = kernel @ np.linalg.solve(square, labels_ST[train] - mean_T) + mean_T
        error = np.mean((predicted - labels_ST)[valid] ** 2)
        best = (error, predicted) if best is None or error < best[0] else best
    pairs = zip(best[1][test].T, labels_ST[test].T, strict=True)
    return np.mean([np.corrcoef(a, b)[0, 1] ** 2 for a, b in pairs])


def test_families_stay_on_one_side(simulated):
    whole = make_simulated_set(simulated, seed=3)
    assert whole.unit == "simulated"
    assert (whole.genes["gap_bp"] == 0).all()
    assert whole.genes["cluster"].tolist() == simulated.family_S.tolist()
    assert whole.genes.groupby("cluster")["part"].nunique().max() == 1
    assert whole.genes["part"].value_counts(normalize=True)["test"] == pytest.approx(0.3, abs=0.01)


def test_a_ridge_on_words_learns_it_and_not_the_permuted_labels(simulated):
    """Acceptance: r2 above 0.5 on unseen families; nothing to learn from permuted labels."""
    whole = make_simulated_set(simulated, seed=3)
    assert ridge_r2(whole, simulated.codes_SL) > 0.5
    control = permute_labels(whole, np.random.default_rng(5))
    assert ridge_r2(control, simulated.codes_SL) < 0.02


def test_permuted_rows_stay_whole_and_in_their_part(simulated):
    whole = make_simulated_set(simulated, seed=3)
    control = permute_labels(whole, np.random.default_rng(5))
    for part in ("train", "valid", "test"):
        a, b = (one.select(part).tpm_ST for one in (whole, control))
        assert not np.array_equal(a, b)
        np.testing.assert_array_equal(a[np.lexsort(a.T)], b[np.lexsort(b.T)])
    assert control.genes is whole.genes
