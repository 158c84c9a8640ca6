"""Simulated expression: motifs stand where the truth says, and explain what they should."""

import numpy as np
import pytest

from genomelm_utils.sequences.alphabet import IUPAC_SETS, decode, reverse_complement
from genomelm_utils.sequences.planting import Motif
from genomelm_utils.sequences.simulate_expression import (
    MOTIFS,
    TISSUES,
    ExpressionMotif,
    simulate_expression,
)


@pytest.fixture(scope="module")
def simulated():
    return simulate_expression(np.random.default_rng(7), n_missing=1, signal_share=0.7)


def matches(text, consensus):
    pairs = zip(text, consensus, strict=True)
    return all(base in IUPAC_SETS[letter] for base, letter in pairs)


def test_the_truth_is_in_the_sequences(simulated):
    words = {one.motif.name: one.motif for one in MOTIFS}
    n_whole = 0
    for row in simulated.truth.sample(300, random_state=1).itertuples():
        motif = words[row.motif]
        start = simulated.codes_SL.shape[1] + row.distance_bp
        piece = simulated.codes_SL[row.row, start : start + len(motif.consensus)]
        piece = reverse_complement(piece) if row.strand == "-" else piece
        assert matches(decode(piece), motif.consensus) == row.whole
        assert motif.first <= row.distance_bp <= motif.last
        assert simulated.gene_ids[row.row] == row.gene_id
        n_whole += row.whole
    assert n_whole > 280  # few are broken by the divergence of lines
    assert (~simulated.truth["whole"]).any()
    assert set(simulated.truth.query("motif == 'TATA-box'")["strand"]) == {"+"}
    assert set(simulated.truth.query("motif == 'G-box'")["strand"]) == {"+", "-"}


def test_motifs_explain_the_share_asked_for(simulated):
    """Least squares on the true presence of every motif, tissue by tissue."""
    present = np.zeros((len(simulated.lines), len(MOTIFS)))
    for row in simulated.truth[simulated.truth["whole"]].itertuples():
        present[row.row, simulated.motif_names.index(row.motif)] = 1
    design = np.hstack([np.ones((len(present), 1)), present])
    for t in range(len(TISSUES)):
        known = ~np.isnan(simulated.tpm_ST[:, t])
        label = np.log1p(simulated.tpm_ST[known, t].astype(float))
        weights, *_ = np.linalg.lstsq(design[known], label, rcond=None)
        explained = 1 - np.var(label - design[known] @ weights) / np.var(label)
        assert explained == pytest.approx(0.7, abs=0.06)  # values below 0 are cut at 0
        np.testing.assert_allclose(weights[1:], simulated.effects_MT[:, t], atol=0.25)


def test_tissues_families_lines_and_gaps(simulated):
    labels = np.log1p(simulated.tpm_ST[~np.isnan(simulated.tpm_ST).any(axis=1)])
    correlation = np.corrcoef(labels.T)[np.triu_indices(len(TISSUES), 1)]
    assert 0.3 < correlation.min() <= correlation.max() < 0.95
    assert np.isnan(simulated.tpm_ST).any(axis=0).tolist() == [True, False, False, False]
    missing = {
        line
        for line, value in zip(simulated.lines, simulated.tpm_ST[:, 0], strict=True)
        if np.isnan(value)
    }
    assert missing == {"line3"}
    n_genes = len(simulated.lines) // 3
    first, second = simulated.codes_SL[:n_genes], simulated.codes_SL[n_genes : 2 * n_genes]
    same = (first == second).all(axis=1)
    assert 0.02 < same.mean() < 0.3  # both copies exact
    assert (simulated.family_S[:n_genes] == simulated.family_S[n_genes : 2 * n_genes]).all()
    for family in range(20):
        members = first[simulated.family_S[:n_genes] == family]
        if len(members) > 1:
            assert np.mean(members[0] == members[1]) > 0.7  # motifs differ too


def test_the_same_seed_gives_the_same_and_no_signal_gives_none():
    one, two = (
        simulate_expression(np.random.default_rng(1), n_families=10, signal_share=0.0)
        for _ in range(2)
    )
    assert one.sequences == two.sequences
    np.testing.assert_array_equal(one.tpm_ST, two.tpm_ST)
    assert (one.effects_MT == 0).all()
    other = simulate_expression(np.random.default_rng(2), n_families=10)
    assert one.sequences[0] != other.sequences[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"signal_share": 1.5}, "signal_share is 1.5, expected a share from 0 to 1"),
        ({"n_families": 0}, "n_families 0, max_paralogs 3"),
        ({"n_missing": 4}, "n_missing 4: expected 1 or more, and n_missing from 0 to n_lines"),
        ({"length_bp": 100}, "motif W-boxes stands from -135 to -103 of the TSS"),
        (
            {"motifs": [ExpressionMotif(Motif("x", "ACGT", -9, -3), 1.0)]},
            "motif x stands from -9 to 1",
        ),
        ({"tissues": ("leaf", "ear")}, "motif W-boxes acts in 'root'; tissues are leaf, ear"),
    ],
)
def test_bad_arguments_are_explained(options, message):
    with pytest.raises(ValueError, match=message):
        simulate_expression(np.random.default_rng(1), **options)
