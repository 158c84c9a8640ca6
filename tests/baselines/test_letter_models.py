"""Logistic regressions on letters: what each of them can see, by construction."""

import gzip

import numpy as np
import pytest

from genomelm_utils.baselines.letter_models import (
    LETTER_BASELINES,
    are_nucleotides,
    composition_features,
    gc_length_features,
    letter_probs,
    positional_features,
    usable_baselines,
    word_features,
)
from genomelm_utils.sequences.shared_words import group_by_shared_words
from genomelm_utils.tasks.crossval import cross_validate, make_folds


def random_dna(rng, n: int, length: int) -> list[str]:
    return ["".join(row) for row in rng.choice(list("ACGT"), (n, length))]


def accuracy(name: str, texts: list[str], labels: np.ndarray) -> float:
    half = len(texts) // 2
    probs = letter_probs(name, (texts[:half], labels[:half]), texts[half:])
    np.testing.assert_allclose(probs.sum(1), 1)
    return float((probs.argmax(1) == labels[half:]).mean())


def test_what_stands_at_a_place_is_seen_by_position_only(rng):
    """TATA at letter 10 or at letter 20: the same words, the same composition."""
    texts, labels = random_dna(rng, 300, 40), rng.integers(0, 2, 300)
    at = np.where(labels == 1, 10, 20)
    texts = [t[:i] + "TATA" + t[i + 4 :] for t, i in zip(texts, at, strict=True)]
    assert accuracy("positional", texts, labels) > 0.95
    assert accuracy("positional_words", texts, labels) > 0.9
    for blind in ("words", "composition", "gc_length", "majority"):
        assert accuracy(blind, texts, labels) < 0.7


def test_words_and_composition_see_what_is_anywhere(rng):
    texts, labels = random_dna(rng, 300, 40), rng.integers(0, 2, 300)
    places = rng.integers(0, 30, (300, 2))
    texts = [
        t[:i] + ("GACGTC" if y else "CTGCAG") + t[i + 6 :]
        for t, (i, _), y in zip(texts, places, labels, strict=True)
    ]
    assert accuracy("words", texts, labels) > 0.85
    assert accuracy("gc_length", texts, labels) < 0.65


def test_length_alone(rng):
    labels = rng.integers(0, 2, 100)
    texts = [random_dna(rng, 1, 30 + 20 * y)[0] for y in labels]
    assert accuracy("gc_length", texts, labels) == 1


def test_a_small_class_is_not_given_up(rng):
    """One in ten, with a weak sign: rows are weighed by the rarity of their class."""
    labels = (np.arange(400) % 10 == 0).astype(int)
    texts = [
        "".join(rng.choice(list("ACGT"), 50, p=[0.3, 0.2, 0.2, 0.3] if y else [0.25] * 4))
        for y in labels
    ]
    probs = letter_probs("gc_length", (texts, labels), texts)
    assert 0.2 < (probs.argmax(1) == 1).mean() < 0.6


def test_features_by_hand():
    train, test = gc_length_features(["GGCC", "AATT"], ["GCAT"])
    np.testing.assert_allclose(train[:, 0], [1, -1])
    np.testing.assert_allclose([test[0, 0], *train[:, 1], test[0, 1]], 0, atol=1e-12)
    assert composition_features(["AC", "CA"], ["AC"])[0].shape == (
        2,
        2 + 2 + 1,
    )  # A C AC CA, length
    assert composition_features(["MK", "LE"], ["MK"])[0].shape == (2, 4 + 1)  # proteins: no pairs
    train, test = positional_features(["ACG", "ACT"], ["TCG"], n_to=2)
    assert train.shape == (2, 7)  # A. C. G. T. at 0, 1, 2, 2; AC, CG, CT
    np.testing.assert_allclose(train.multiply(train).sum(1).A1, 1)
    assert test.getnnz() == 3  # C at 1, G at 2, CG; T at 0 and TC are new
    assert word_features(["ACG"], ["ACG"])[0].shape[1] == 3 + 2 + 1


def test_what_can_be_used():
    assert are_nucleotides(["ACGTN", "acguu"])
    assert not are_nucleotides(["MKLE"])
    protein = usable_baselines(["MKLE", "MK"])
    assert list(protein) == list(LETTER_BASELINES)
    assert "not nucleotides" in protein["gc_length"]
    assert "differ in length" in protein["positional"]
    assert not any(usable_baselines(["ACGT", "GGGT"]).values())


@pytest.mark.parametrize(
    ("name", "texts", "said"),
    [
        ("gc_length", ["MKL", "LEV"], "not nucleotides"),
        ("positional", ["ACG", "AC"], "differ in length"),
        ("kmer", ["ACG", "ACT"], "expected one of majority"),
        ("composition", ["ACG", ""], r"sequence 1 \(0-based\) is empty"),
    ],
)
def test_wrong_requests(name, texts, said):
    with pytest.raises(ValueError, match=said):
        letter_probs(name, (texts, np.array([0, 1])), texts)
    with pytest.raises(ValueError, match="2 different lengths"):
        positional_features(["AC"], ["ACG"])


def sequences_of(path) -> list[str]:
    with gzip.open(path, "rt") as stream:
        records = stream.read().split(">")[1:]
    return ["".join(record.splitlines()[1:]).upper() for record in records]


def grouped_f1(name: str, classes: list[list[str]], k: int, word: int, **options) -> float:
    """Mean weighted F1 over folds whose test rows share no word with training rows."""
    texts = [text for one in classes for text in one]
    labels = np.repeat(np.arange(2), [len(one) for one in classes])
    groups = group_by_shared_words(texts, word, **options)

    def fit(train, test, _):
        known = [texts[i] for i in train], labels[train]
        return letter_probs(name, known, [texts[i] for i in test])

    folds = make_folds(labels, groups, k)
    found = cross_validate(labels, 2, folds, fit, groups_S=groups)
    return float(found.summary.set_index("metric").loc["f1", "mean"])


@pytest.mark.slow
def test_promoters_reach_the_bar_under_grouped_folds(data_dir):
    """0.853 in eight folds; a genomicBERT of 61 million parameters is published with 0.790."""
    folder = data_dir / "classification/genomenlp"
    classes = [sequences_of(folder / f"{n}.fasta.gz") for n in ("promoter", "non_promoter")]
    assert grouped_f1("positional_words", classes, 4, 40, both_strands=True) >= 0.84
    assert 0.76 < grouped_f1("gc_length", classes, 4, 40, both_strands=True) < 0.80


@pytest.mark.slow
def test_whole_proteins_reach_the_bar_under_grouped_folds(data_dir):
    """0.738 in five folds; published: 0.677, of pieces dealt at random."""
    folder = data_dir / "tokenisation/protein"
    classes = [sequences_of(folder / f"{n}.fa.gz") for n in ("dna_binding", "rna_binding")]
    assert grouped_f1("words", classes, 5, 20) >= 0.73
