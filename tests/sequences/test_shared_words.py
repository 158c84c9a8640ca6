"""Groups of sequences that share a word, by hand, by brute force, and on the published sets."""

import gzip

import numpy as np
import pytest

from genomelm_utils.sequences.shared_words import group_by_shared_words


def brute_force(texts: list[str], k: int) -> list[int]:
    """Groups by comparing every pair."""
    words = [{t[i : i + k] for i in range(len(t) - k + 1)} or {("whole", t)} for t in texts]
    group = list(range(len(texts)))
    for i in range(len(texts)):
        for j in range(i):
            if words[i] & words[j] and group[i] != group[j]:
                old, new = max(group[i], group[j]), min(group[i], group[j])
                group = [new if g == old else g for g in group]
    names = list(dict.fromkeys(group))
    return [names.index(g) for g in group]


def test_chains_are_one_group():
    #            shares CGT with the next; GTA with the third
    texts = ["AACGT", "CGTAT", "TTTAA", "GTATG", "AACGT"]
    assert group_by_shared_words(texts, 4).tolist() == [0, 1, 2, 1, 0]
    assert group_by_shared_words(texts, 3).tolist() == [0, 0, 1, 0, 0]


def test_other_strand_and_case():
    assert group_by_shared_words(["AAACC", "GGTTT"], 5).tolist() == [0, 1]
    assert group_by_shared_words(["AAACC", "GGTTT"], 5, both_strands=True).tolist() == [0, 0]
    assert group_by_shared_words(["ACGT", "acgt"], 4).tolist() == [0, 1]


def test_short_sequences_are_compared_as_a_whole():
    assert group_by_shared_words(["AC", "ACGTA", "AC", "A"], 4).tolist() == [0, 1, 0, 2]
    assert group_by_shared_words(["AC", "GT"], 4, both_strands=True).tolist() == [0, 0]
    assert group_by_shared_words([], 4).tolist() == []


@pytest.mark.parametrize("k", [1, 2, 5, 7])
def test_the_same_as_all_pairs(k, rng):
    texts = ["".join(rng.choice(list("ACGT"), rng.integers(3, 40))) for _ in range(60)]
    assert group_by_shared_words(texts, k).tolist() == brute_force(texts, k)


def test_words_never_cross_a_border():
    assert group_by_shared_words(["AAC", "GTT", "CGT"], 3).tolist() == [0, 1, 2]


def test_wrong_requests():
    with pytest.raises(ValueError, match="k is 0"):
        group_by_shared_words(["A"], 0)


def sequences_of(data_dir, *names: str) -> list[str]:
    out = []
    for name in names:
        with gzip.open(data_dir / name, "rt") as stream:
            records = stream.read().split(">")[1:]
        out += ["".join(record.splitlines()[1:]).upper() for record in records]
    return out


def test_golden_groups_of_promoters(data_dir):
    """1,016 promoters share a 40-mer with another: 2,802 groups, the largest of 7."""
    promoters = sequences_of(data_dir, "classification/genomenlp/promoter.fasta.gz")
    group = group_by_shared_words(promoters, 40, both_strands=True)
    sizes = np.bincount(group)
    assert (len(promoters), len(sizes), sizes.max(), (sizes[group] > 1).sum()) == (
        3382, 2802, 7, 1016,
    )  # fmt: skip
    both = promoters + sequences_of(data_dir, "classification/genomenlp/non_promoter.fasta.gz")
    assert group_by_shared_words(both, 40, both_strands=True).max() + 1 == 6111


@pytest.mark.slow
def test_golden_groups_of_proteins(data_dir):
    """5,875 groups of 6,868 proteins that share no 20 amino acids."""
    folder = "tokenisation/protein"
    proteins = sequences_of(data_dir, f"{folder}/dna_binding.fa.gz", f"{folder}/rna_binding.fa.gz")
    assert len(proteins) == 4114 + 2754
    assert group_by_shared_words(proteins, 20).max() + 1 == 5875
