"""GC content by hand; ambiguous bases and unequal lengths; the floor of composition."""

import numpy as np
import pytest

from genomelm_utils.baselines.composition import (
    gc_content,
    gc_logistic,
    majority,
    stack_codes,
)
from genomelm_utils.sequences.alphabet import CODE_N, encode


def test_gc_content_by_hand():
    codes = [encode(text) for text in ("GGCC", "AT", "ACNN", "nnn", "gat")]
    assert gc_content(codes).tolist() == [1.0, 0.0, 0.5, 0.5, 1 / 3]


def test_stacking_fills_with_n():
    stacked = stack_codes([encode("AC"), encode("ACGT")])
    assert stacked.tolist() == [[0, 1, CODE_N, CODE_N], [0, 1, 2, 3]]
    assert stack_codes(stacked) is stacked
    with pytest.raises(ValueError, match="at least one"):
        stack_codes([])
    with pytest.raises(ValueError, match="sequence 1 "):
        stack_codes([encode("AC"), encode("")])


def test_gc_tells_classes_of_different_composition_apart(rng):
    labels = np.arange(200) % 2
    rich = rng.choice(4, p=[0.1, 0.4, 0.4, 0.1], size=(200, 50))
    poor = rng.choice(4, p=[0.4, 0.1, 0.1, 0.4], size=(200, 50))
    codes = np.where(labels[:, None] == 1, rich, poor).astype(np.uint8)
    probs = gc_logistic((codes[:100], labels[:100]), codes[100:])
    assert (probs.argmax(1) == labels[100:]).mean() > 0.95
    # equal lengths in training: another length in the test must not disturb
    shorter = gc_logistic((codes[:100], labels[:100]), codes[100:, :25])
    assert (shorter.argmax(1) == labels[100:]).mean() > 0.9


def test_length_is_used_when_it_varies(rng):
    labels = np.arange(40) % 2
    codes = [rng.integers(0, 4, 30 + 30 * label).astype(np.uint8) for label in labels]
    assert (gc_logistic((codes, labels), codes).argmax(1) == labels).all()


def test_majority_predicts_the_most_frequent_class():
    probs = majority(np.array([0, 1, 1, 2]), 3)
    assert probs.tolist() == [[0.25, 0.5, 0.25]] * 3
