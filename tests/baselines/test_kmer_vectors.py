"""Contexts counted one by one; vectors rebuild the PMI; the published array's row order."""

import numpy as np
import pytest
from species_examples import EXAMPLE, naive_tnf

from genomelm_utils.baselines.kmer_vectors import (
    count_contexts,
    kmer_vector_features,
    positive_pmi,
    read_published_vectors,
    train_kmer_vectors,
)
from genomelm_utils.baselines.tetranucleotide import published_rows
from genomelm_utils.sequences.alphabet import definite_runs, encode, reverse_complement
from genomelm_utils.sequences.kmers import kmer_codes, kmer_index, kmer_strings, revcomp_codes


def naive_contexts(codes: np.ndarray, k: int, context_words: int) -> np.ndarray:
    """Both strands written out, each word with each of its contexts."""
    pairs = np.zeros((4**k, 4**k), dtype=np.int64)
    for strand in (codes, reverse_complement(codes)):
        words = kmer_codes(strand, k)
        runs = definite_runs(strand)
        for start, end in runs:
            for i in range(start, end - k + 1):
                for j in range(1, context_words + 1):
                    for at in (i - k * j, i + k * j):
                        if start <= at <= end - k:
                            pairs[words[i], words[at]] += 1
    return pairs


@pytest.mark.parametrize(("k", "context_words"), [(1, 1), (2, 3), (3, 2)])
def test_contexts_equal_counting_one_by_one(rng, k, context_words):
    codes = rng.integers(0, 4, 200).astype(np.uint8)
    codes[[3, 60, 61, 150]] = 14
    found = count_contexts(codes, definite_runs(codes), k=k, context_words=context_words)
    assert np.array_equal(found, naive_contexts(codes, k, context_words))
    partner = revcomp_codes(k)
    assert np.array_equal(found, found.T)
    assert np.array_equal(found, found[partner][:, partner])


def test_positive_pmi_by_hand():
    pairs = np.array([[4, 0], [0, 4]])
    assert np.allclose(positive_pmi(pairs), [[np.log(2), 0], [0, np.log(2)]])
    assert np.array_equal(positive_pmi(np.array([[3, 0], [0, 0]])), np.zeros((2, 2)))


def test_full_vectors_rebuild_the_pmi(rng):
    codes = rng.integers(0, 4, 5000).astype(np.uint8)
    runs = np.array([[0, 5000]])
    vectors = train_kmer_vectors(codes, runs, k=2, dim=16)
    pmi = positive_pmi(count_contexts(codes, runs, k=2))
    squared = vectors.astype(float) @ vectors.T @ vectors @ vectors.T  # = U Sigma^2 U^T
    assert np.allclose(squared, pmi @ pmi.T, atol=1e-5)
    assert vectors.dtype == np.float32
    assert np.array_equal(vectors, train_kmer_vectors(codes, runs, k=2, dim=16))


def test_words_in_like_company_are_alike(rng):
    """Two halves, AC-rich words and GT-rich ones apart: neighbours share the half."""
    blocks = [rng.choice([0, 1] if i % 2 else [2, 0], 200) for i in range(100)]
    codes = np.concatenate(blocks).astype(np.uint8)
    vectors = train_kmer_vectors(codes, np.array([[0, len(codes)]]), dim=20)
    a, b, c = (vectors[kmer_index(word)] for word in ("ACAC", "CACC", "AGAG"))

    def cosine(x, y):
        return x @ y / np.linalg.norm(x) / np.linalg.norm(y)

    assert cosine(a, b) > cosine(a, c) + 0.3
    assert not vectors[kmer_index("ATAT")].any()  # never seen


def test_features_are_mean_vectors(rng):
    vectors = rng.normal(size=(256, 7)).astype(np.float32)
    expected = np.array([naive_tnf(one) for one in EXAMPLE]) @ vectors
    assert np.allclose(kmer_vector_features(EXAMPLE, vectors), expected, atol=1e-6)
    with pytest.raises(ValueError, match="4\\*\\*k"):
        kmer_vector_features(EXAMPLE, vectors[:100])


def test_bad_input_is_told(rng):
    codes = encode("ACGTNACGTACGTA")
    with pytest.raises(ValueError, match="ambiguous base inside a run"):
        train_kmer_vectors(codes, np.array([[0, 14]]), k=2, dim=4)
    with pytest.raises(ValueError, match="reach beyond the 14"):
        train_kmer_vectors(codes, np.array([[5, 15]]), k=2, dim=4)
    with pytest.raises(ValueError, match="expected a genome"):
        train_kmer_vectors(codes, np.array([[0, 4]]), k=4, dim=4)
    with pytest.raises(ValueError, match="dim is 17"):
        train_kmer_vectors(codes, np.array([[0, 4]]), k=2, dim=17)
    with pytest.raises(ValueError, match="k is 7"):
        count_contexts(codes, np.array([[0, 4]]), k=7)
    with pytest.raises(ValueError, match="int64"):
        count_contexts(np.arange(4), np.array([[0, 4]]))


def test_published_rows_are_put_in_our_order(tmp_path):
    """A made array whose row i says i: word w must get its place in A, T, C, G order."""
    np.save(tmp_path / "made.npy", np.tile(np.arange(256, dtype=np.float32)[:, None], (1, 100)))
    ours = read_published_vectors(tmp_path / "made.npy")[:, 0]
    words = [a + b + c + d for a in "ATCG" for b in "ATCG" for c in "ATCG" for d in "ATCG"]
    assert [words[int(i)] for i in ours] == kmer_strings(4)
    np.save(tmp_path / "short.npy", np.zeros((64, 100)))
    with pytest.raises(ValueError, match=r"short.npy: .*\(64, 100\)"):
        read_published_vectors(tmp_path / "short.npy")


def test_published_vectors(data_dir):
    """The order is right when CpG words have the longest vectors and A/T words the shortest."""
    path = data_dir / "species" / "dnabert_s" / "4mer_embedding.npy"
    vectors = read_published_vectors(path)
    norms = np.linalg.norm(vectors, axis=1)
    words = np.array(kmer_strings(4))
    has_cpg = np.array(["CG" in word for word in words])
    only_at = np.array([set(word) <= set("AT") for word in words])
    assert norms[has_cpg].mean() > norms[~has_cpg & ~only_at].mean() > norms[only_at].mean()
    assert np.array_equal(np.load(path)[published_rows(4)], vectors)
