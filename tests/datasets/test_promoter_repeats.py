"""Leaks between parts, equal to brute force, and the noise ceiling of repeated promoters."""

import numpy as np
import pytest

from genomelm_utils.datasets.expression_set import ExpressionSet, make_genes
from genomelm_utils.datasets.promoter_repeats import count_repeats, find_leaks, noise_ceiling
from genomelm_utils.sequences.alphabet import decode, reverse_complement
from genomelm_utils.sequences.background import mutate


def make_set(sequences, tpm_ST):
    tpm_ST = np.array(tpm_ST, dtype=np.float32)
    genes = make_genes([f"g{i}" for i in range(len(sequences))], "B73", sequences)
    tissues = tuple(f"t{i}" for i in range(tpm_ST.shape[1]))
    return ExpressionSet(genes, tissues, tpm_ST, "TPM")


def row(table, kind, part="train", other="test"):
    found = table.set_index(["kind", "part", "other"])
    return found.loc[(kind, part, other)]


def test_all_three_kinds_of_leaks(rng):
    a, b, c, d = rng.integers(0, 4, (4, 200), dtype=np.uint8)
    near = mutate(c, 0.1, rng)
    codes = [a, b, c, d, a, a, reverse_complement(b), near, reverse_complement(near), d]
    parts = ["train"] * 5 + ["test"] * 4 + ["valid"]
    table = find_leaks([decode(one) for one in codes], parts)
    exact = row(table, "exact")
    assert (exact["n_pairs"], exact["n_promoters"], exact["n_other"]) == (2, 2, 1)
    assert (exact["share"], exact["share_other"]) == (0.4, 0.25)
    assert (exact["example"], exact["example_other"]) == (0, 5)
    turned = row(table, "reverse complement")
    assert (turned["n_pairs"], turned["example"], turned["example_other"]) == (1, 1, 6)
    similar = row(table, "similar")
    assert (similar["n_pairs"], similar["n_promoters"], similar["n_other"]) == (2, 1, 2)
    assert (similar["example"], similar["example_other"]) == (2, 7)
    assert row(table, "exact", "train", "valid")["n_pairs"] == 1
    assert row(table, "similar", "valid", "test")["n_pairs"] == 0
    assert row(table, "similar", "valid", "test")["example"] == -1


def test_leaks_equal_brute_force(rng):
    """Fifty families of diverged copies, dealt by row: counted pair by pair on ungapped copies."""
    ancestors = rng.integers(0, 4, (15, 150), dtype=np.uint8)
    codes = mutate(ancestors[rng.integers(0, 15, 60)], 0.03, rng)
    parts = rng.choice(["train", "valid", "test"], 60)
    expected = {}
    for i in range(60):
        for j in range(60):
            if np.mean(codes[i] == codes[j]) >= 0.8 and not (codes[i] == codes[j]).all():
                key = (parts[i], parts[j])
                expected[key] = expected.get(key, 0) + 1
    table = find_leaks([decode(one) for one in codes], parts)
    for found in table[table["kind"] == "similar"].itertuples():
        assert found.n_pairs == expected.get((found.part, found.other), 0)


def test_parts_must_fit():
    with pytest.raises(ValueError, match="1 parts for 2 sequences"):
        find_leaks(["ACGT", "AAAA"], ["train"])
    with pytest.raises(ValueError, match="'eval'; expected train, valid, test"):
        find_leaks(["ACGT"], ["eval"])


def test_repeats_are_counted():
    found = count_repeats(make_set(["AC", "AC", "GT", "AC", "GG", "GT"], np.ones((6, 1))))
    assert found == {
        "n_promoters": 6,
        "n_distinct": 3,
        "n_repeated": 5,
        "n_groups": 2,
        "largest": 3,
    }


def test_the_ceiling_by_hand(rng):
    """Labels 1, 3 and 5, 7: within-variance 2, total variance 20 / 3, ceiling 0.7."""
    whole = make_set(["AC", "AC", "GT", "GT"], [[1], [3], [5], [7]])
    table = noise_ceiling(whole, rng, transform=lambda tpm: tpm).set_index("tissue")
    assert table.loc["t0", "within"] == pytest.approx(2)
    assert table.loc["t0", "ceiling"] == pytest.approx(1 - 2 / (20 / 3))
    assert table.loc["mean", "ceiling"] == table.loc["t0", "ceiling"]
    assert (table.loc["t0", "n_groups"], table.loc["t0", "n_repeated"]) == (2, 4)


def test_the_ceiling_of_known_noise(rng):
    """Signal and noise of equal variance: half of the variance can be explained, at most."""
    value = np.repeat(rng.standard_normal(2000), 2)[:, None]
    labels_ST = value + rng.standard_normal((4000, 2))
    sequences = [decode(np.array([i >> 2 * b & 3 for b in range(6)])) for i in range(2000)]
    whole = make_set(np.repeat(sequences, 2), np.exp(labels_ST))
    table = noise_ceiling(whole, rng, transform=np.log).set_index("tissue")
    assert table["ceiling"].tolist() == pytest.approx([0.5] * 3, abs=0.05)
    assert (table["low"] < 0.5).all()
    assert (table["high"] > 0.5).all()
    assert (table["high"] - table["low"] < 0.15).all()


def test_tissues_without_repeats_are_not_a_number(rng):
    whole = make_set(["AC", "AC", "GT"], [[1, np.nan], [2, 3], [4, 5]])
    table = noise_ceiling(whole, rng).set_index("tissue")
    assert np.isnan(table.loc["t1", "ceiling"])
    assert table.loc["t1", "n_groups"] == 0
    assert table.loc["mean", "ceiling"] == table.loc["t0", "ceiling"]
    assert np.isnan(table.loc["t1", "low"])
    assert table.loc["mean", "low"] == table.loc["t0", "low"]
