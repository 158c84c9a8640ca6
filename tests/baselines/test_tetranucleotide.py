"""Golden facts 10 to 12 of the DNABERT-S specification; strands, N, and the published kernel."""

import numpy as np
import pytest
from species_examples import EXAMPLE, cluster_ari, make_contigs, naive_tnf

from genomelm_utils.baselines import word_counts
from genomelm_utils.baselines.tetranucleotide import (
    canonical_codes,
    canonical_tnf,
    find_countable,
    published_rows,
    tnf,
    tnf_k,
    tnf_kernel,
)
from genomelm_utils.sequences.alphabet import encode, reverse_complement
from genomelm_utils.sequences.kmers import kmer_index, kmer_strings, revcomp_codes

ENTRIES = [  # golden fact 11: entries of the projector
    ("AAAA", "AAAA", 127 / 256),
    ("AAAA", "TTTT", 127 / 256),
    ("AAAA", "AAAC", -1 / 256),
    ("AAAC", "AAAC", 92 / 256),
    ("AAAC", "GTTT", 92 / 256),
    ("ACGT", "ACGT", 191 / 256),
    ("GATC", "GATC", 191 / 256),
    ("AATT", "AATT", 0.740885),
    ("CGCG", "CGCG", 0.782552),
]


def test_frequencies_of_the_golden_example():
    (row,) = tnf([encode("ACGTACGT")])
    found = {word: round(float(x), 6) for word, x in zip(kmer_strings(4), row, strict=True) if x}
    assert found == {"ACGT": 0.4, "CGTA": 0.2, "GTAC": 0.2, "TACG": 0.2}
    assert tnf(EXAMPLE).shape == (3, 256)
    assert canonical_tnf(EXAMPLE).shape == (3, 136)
    assert tnf_k(EXAMPLE).shape == (3, 103)
    assert {tnf(EXAMPLE).dtype, canonical_tnf(EXAMPLE).dtype, tnf_k(EXAMPLE).dtype} == {
        np.dtype(np.float32)
    }


@pytest.mark.parametrize("k", [1, 2, 4, 5, 6])
def test_frequencies_equal_counting_one_by_one(rng, k, monkeypatch):
    monkeypatch.setattr(word_counts, "BLOCK_BASES", 300)  # blocks end between sequences
    codes = [
        np.where(rng.random(n) < 0.03, 14, rng.integers(0, 4, n)).astype(np.uint8)
        for n in (50, 400, 9, 120, 301, 64)
    ]
    naive = np.array([naive_tnf(one, k) for one in codes])
    assert np.abs(tnf(codes, k) - naive).max() < 1e-7
    equal = np.stack([one[:50] for one in codes if len(one) >= 50])
    assert np.array_equal(tnf(equal, k), tnf(list(equal), k))


def test_no_word_crosses_from_one_sequence_to_the_next():
    rows = tnf([encode("AAAA"), encode("CCCC")])
    assert rows[0, kmer_index("AAAA")] == rows[1, kmer_index("CCCC")] == 1


@pytest.mark.parametrize(("k", "n"), [(4, 136), (5, 512), (6, 2080)])
def test_canonical_does_not_depend_on_strand(rng, k, n):
    codes, _ = make_contigs(rng, n_species=2, n_contigs=2, length_bp=500)
    codes[0][100:110] = 14
    other = [reverse_complement(one) for one in codes]
    assert len(canonical_codes(k)) == n
    assert np.allclose(canonical_tnf(codes, k), canonical_tnf(other, k), atol=1e-7)
    assert np.allclose(canonical_tnf(codes, k).sum(1), 1, atol=1e-5)
    assert np.abs(tnf(codes, k) - tnf(other, k)).max() > 1e-3


def test_sequences_without_words_are_named_not_nan():
    codes = [encode("ACGTA"), encode("ACG"), encode("NNNNNNNN"), encode(""), encode("ACGNTGC")]
    with pytest.raises(ValueError, match=r"sequence 1 \(0-based; 4 of 5"):
        tnf(codes)
    kept, skipped = find_countable(codes, ["a", "b", "c", "d", "e"])
    assert kept.tolist() == [True, False, False, False, False]
    assert skipped["name"].tolist() == ["b", "c", "d", "e"]
    assert "among 8 bp" in skipped["reason"][1]
    assert find_countable(codes, k=3)[1]["name"].tolist() == ["2", "3"]
    assert len(find_countable(codes[:1])[1]) == 0


def test_bad_input_is_told():
    with pytest.raises(ValueError, match="at least one"):
        tnf([])
    with pytest.raises(ValueError, match=r"sequence 1 .*encode"):
        tnf([encode("ACGT"), "ACGT"])
    with pytest.raises(ValueError, match=r"sequence 0 .*int64"):
        tnf([np.arange(4)])
    with pytest.raises(ValueError, match="k is 9"):
        tnf(EXAMPLE, 9)
    with pytest.raises(ValueError, match="order is 'atcg'"):
        tnf_kernel("atcg")
    with pytest.raises(ValueError, match="2 names for 3"):
        find_countable(EXAMPLE, ["a", "b"])


def test_kernel_spans_the_golden_space():
    kernel = tnf_kernel()
    projector = kernel @ kernel.T
    assert kernel.shape == (256, 103)
    assert np.trace(projector) == pytest.approx(103)
    assert np.allclose(projector @ projector, projector, atol=1e-12)
    assert np.allclose(kernel.T @ kernel, np.eye(103), atol=1e-12)
    for first, second, value in ENTRIES:
        assert projector[kmer_index(first), kmer_index(second)] == pytest.approx(value, abs=1e-6)


def test_kernel_rows_of_both_strands_are_equal_only_in_the_right_order():
    partner = revcomp_codes(4)
    right, wrong = tnf_kernel(), tnf_kernel("reference")
    assert np.abs(right - right[partner]).max() < 1e-12
    assert np.linalg.norm(wrong - wrong[partner], axis=1).max() > 0.5
    assert sorted(map(tuple, right)) == sorted(map(tuple, wrong))
    assert kmer_strings(4)[int(np.flatnonzero(published_rows(4) == 1)[0])] == "AAAT"


def test_wrong_order_is_what_the_reference_computes(rng):
    """Frequencies in A, T, C, G order times the kernel as it lies in the file."""
    codes, _ = make_contigs(rng, n_species=2, n_contigs=3, length_bp=800)
    words = [a + b + c + d for a in "ATCG" for b in "ATCG" for c in "ATCG" for d in "ATCG"]
    theirs = (tnf(codes)[:, [kmer_index(word) for word in words]] - 1 / 256) @ tnf_kernel()
    assert np.allclose(tnf_k(codes, "reference"), theirs, atol=1e-6)


def test_projection_loses_nothing_but_the_ends(rng):
    """Distances of strand-folded frequencies survive: the constraints hold for real sequences."""
    codes, _ = make_contigs(rng, n_species=3, n_contigs=2, length_bp=3000)
    folded = (tnf(codes) + tnf(codes)[:, revcomp_codes(4)]) / 2
    rebuilt = tnf_k(codes) @ tnf_kernel().T + 1 / 256
    assert np.abs(folded - rebuilt).max() < 1e-3
    other = [reverse_complement(one) for one in codes]
    assert np.allclose(tnf_k(codes), tnf_k(other), atol=1e-6)


def test_strand_folding_finds_species_from_both_strands(rng):
    """B2: the wrong order throws away what the right one finds."""
    codes, labels = make_contigs(rng, n_species=8, n_contigs=20, length_bp=2000)
    ari = {
        "tnf": cluster_ari(tnf(codes), labels),
        "canonical": cluster_ari(canonical_tnf(codes), labels),
        "right": cluster_ari(tnf_k(codes), labels),
        "wrong": cluster_ari(tnf_k(codes, "reference"), labels),
    }
    assert min(ari["canonical"], ari["right"]) > 0.9
    assert max(ari["tnf"], ari["wrong"]) < 0.7


def test_published_kernel_spans_the_same_space(data_dir):
    folder = data_dir / "species" / "dnabert_s"
    published = np.load(folder / "kernel.npz", allow_pickle=False)["arr_0"].astype(np.float64)
    assert np.abs(published @ published.T - tnf_kernel() @ tnf_kernel().T).max() < 1e-6
    partner = revcomp_codes(4)
    assert np.abs(published - published[partner]).max() == 0
    wrong = published[published_rows(4)]
    assert np.abs(wrong - wrong[partner]).max() == pytest.approx(0.768, abs=5e-4)
    ours = tnf_kernel("reference")
    assert np.abs(wrong @ wrong.T - ours @ ours.T).max() < 1e-6
