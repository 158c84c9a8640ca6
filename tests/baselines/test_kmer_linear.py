"""k-mer counts equal naive counting; the published few-shot files give the known floor."""

import gzip
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from genomelm_utils.baselines.kmer_linear import (
    BASELINES,
    baseline_probs,
    kmer_counts,
    kmer_logistic,
    one_hot,
)
from genomelm_utils.evaluation.metrics import classification_metrics
from genomelm_utils.sequences.alphabet import encode, reverse_complement
from genomelm_utils.sequences.kmers import kmer_strings


def read_published(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Codes [S, L] and labels of a published k-mer file, by a reader of its own."""
    with gzip.open(file, "rt") as handle:
        rows = [line.rstrip("\n").replace('"', "").split("\t") for line in handle][1:]
    words = [row[0].split(" ") for row in rows]
    codes = [encode("".join(word[0] for word in row) + row[-1][1:]) for row in words]
    return np.stack(codes), np.array([int(row[1]) for row in rows])


def count_naively(text: str, k: int) -> list[int]:
    found = Counter(text[start : start + k] for start in range(len(text) - k + 1))
    return [found[word] for word in kmer_strings(k)]


@pytest.mark.parametrize("k", [1, 3, 4])
def test_counts_equal_naive_counting(rng, k):
    texts = ["".join(rng.choice(list("ACGTN"), 30, p=[0.24] * 4 + [0.04])) for _ in range(7)]
    texts += ["ACG", "ACGTACGT"]
    counts = kmer_counts([encode(text) for text in texts], k)
    assert counts.dtype == np.float32
    assert counts.tolist() == [count_naively(text, k) for text in texts]


def test_counts_of_both_strands_do_not_depend_on_strand(rng):
    codes = rng.integers(0, 4, size=(5, 40)).astype(np.uint8)
    other = np.stack([reverse_complement(row) for row in codes])
    both = kmer_counts(codes, 3, both_strands=True)
    assert (both == kmer_counts(other, 3, both_strands=True)).all()
    assert (both == kmer_counts(codes, 3) + kmer_counts(other, 3)).all()
    assert not (kmer_counts(codes, 3) == kmer_counts(other, 3)).all()


def test_counting_in_blocks_changes_nothing(rng, monkeypatch):
    codes = rng.integers(0, 5, size=(11, 50)).astype(np.uint8)
    whole = kmer_counts(codes, 4)
    monkeypatch.setattr("genomelm_utils.baselines.word_counts.BLOCK_BASES", 120)
    assert (kmer_counts(codes, 4) == whole).all()


def test_one_hot_by_hand():
    hot = one_hot([encode("AN"), encode("GTC")], length_bp=2)
    assert hot.tolist() == [[1, 0, 0, 0, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0, 0, 1]]
    assert one_hot([encode("A")], length_bp=2).tolist() == [[1, 0, 0, 0, 0, 0, 0, 0]]


@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_gives_distributions(rng, name):
    labels = np.arange(60) % 3
    codes = rng.integers(0, 4, size=(60, 30)).astype(np.uint8)
    codes[labels == 2, 10:20] = 2
    probs = baseline_probs(name, (codes[:40], labels[:40]), list(codes[40:]), n_classes=4)
    assert probs.shape == (20, 4)
    assert probs.sum(1) == pytest.approx(1)
    assert (probs[:, 3] == 0).all()
    if name != "majority":
        found = classification_metrics(probs, labels[40:])
        assert found["accuracy"] > 0.45


def test_wrong_input_says_what_is_wrong(rng):
    codes = rng.integers(0, 4, size=(4, 30)).astype(np.uint8)
    with pytest.raises(ValueError, match="expected one of kmer4"):
        baseline_probs("kmer5", (codes, [0, 1, 0, 1]), codes)
    with pytest.raises(ValueError, match="two classes"):
        baseline_probs("kmer4", (codes, [1, 1, 1, 1]), codes)
    with pytest.raises(ValueError, match="one per sequence"):
        baseline_probs("kmer4", (codes, [1, 1, 1]), codes)
    with pytest.raises(ValueError, match="uint8 base codes"):
        kmer_counts(codes.astype(np.int64), 4)
    with pytest.raises(ValueError, match=r"sequence 2 .* holds 15, expected .* 0\.\.14"):
        kmer_counts([codes[0], codes[1], np.full(9, 15, dtype=np.uint8)], 4)
    with pytest.raises(ValueError, match=r"sequence 1 \(0-based\) is empty"):
        kmer_counts([codes[0], codes[1][:0]], 4)
    with pytest.raises(ValueError, match=r"1\.\.8"):
        kmer_counts(codes, 9)


# golden fact 20 and the baselines table of the specification: (accuracy, AUC) by shots
PROM_CORE = {
    4: {
        10: (0.598, 0.648),
        50: (0.642, 0.698),
        100: (0.658, 0.718),
        500: (0.697, 0.771),
        1000: (0.717, 0.795),
    },
    6: {
        10: (0.589, 0.620),
        50: (0.608, 0.656),
        100: (0.635, 0.693),
        500: (0.681, 0.745),
        1000: (0.706, 0.773),
    },
}
SPLICE_AS_SHIPPED = {10: (0.657, 0.821), 50: (0.745, 0.880), 100: (0.770, 0.890)}


@pytest.mark.parametrize("k", PROM_CORE)
def test_floor_on_prom_core(data_dir, k):
    folder = data_dir / "classification" / "genemask" / "Prom-core"
    test, labels = read_published(folder / "test.tsv.gz")
    assert (len(labels), labels.sum()) == (5920, 2994)
    for shots, expected in PROM_CORE[k].items():
        train = read_published(folder / str(shots) / "train.tsv.gz")
        found = classification_metrics(kmer_logistic(train, test, k=k), labels)
        assert (found["accuracy"], found["auc"]) == pytest.approx(expected, abs=0.01), shots


def test_floor_on_splice_sites(data_dir, rng):
    folder = data_dir / "classification" / "genemask" / "Splice-40"
    test, labels = read_published(folder / "test.tsv.gz")
    for shots, expected in SPLICE_AS_SHIPPED.items():
        train = read_published(folder / str(shots) / "train.tsv.gz")
        found = classification_metrics(baseline_probs("onehot", train, test), labels)
        assert (found["accuracy"], found["auc"]) == pytest.approx(expected, abs=0.01), shots

    codes, train_labels = read_published(folder / "10" / "train.tsv.gz")
    assert np.bincount(train_labels).tolist() == [100] * 3  # "10-shot" as shipped is 100 per class
    accuracy = []
    for _ in range(20):
        rows = [rng.permutation(np.flatnonzero(train_labels == label))[:10] for label in range(3)]
        rows = np.concatenate(rows)
        probs = baseline_probs("onehot", (codes[rows], train_labels[rows]), test)
        accuracy.append(classification_metrics(probs, labels)["accuracy"])
    assert np.mean(accuracy) == pytest.approx(0.535, abs=0.024)
