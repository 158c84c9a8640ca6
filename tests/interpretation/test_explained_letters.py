"""Classifiers of token sequences, of any alphabet, under attributions."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from genomelm_utils.interpretation.attribution import attribute, attribute_as_released
from genomelm_utils.interpretation.explained_letters import (
    LetterClassifier,
    as_letters,
    token_spans,
)
from genomelm_utils.tasks.sequence_models import SequenceModel
from genomelm_utils.tasks.sequence_training import train_classifier
from genomelm_utils.tasks.sequence_validation import TrainingSettings

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tasks"))
from sequence_toy import CLASSES, TOKENS, tiny_config, toy_rows

pytest.importorskip("captum", reason="needs captum")


class LetterByLetter:
    """One token per letter A..U: ids 5..25 of the toy."""

    tokens = ("<s>", "</s>", "<unk>", "<pad>", "<mask>", *"ABCDEFGHIJKLMNOPQRSTU")

    def encode(self, texts):
        ids = [np.array([self.tokens.index(letter) for letter in text], np.int32) for text in texts]
        return np.concatenate(ids), np.append(0, np.cumsum([len(one) for one in ids]))


def spell(rows) -> list[np.ndarray]:
    """Rows of the toy as letters; 20..25 (P to U) make class "yes"."""
    return as_letters(["".join(LetterByLetter.tokens[i] for i in row) for row in rows])


@pytest.fixture(scope="module")
def trained() -> SequenceModel:
    settings = TrainingSettings(epochs=8, batch_size=16, learning_rate=1e-2)
    return train_classifier(
        toy_rows(160, seed=1), tiny_config(), TOKENS, CLASSES, settings, valid=toy_rows(80, seed=2)
    )


def test_it_predicts_what_the_model_predicts(trained):
    rows, _ = toy_rows(6, seed=9)
    logits = LetterClassifier(trained, LetterByLetter()).predict(spell(rows))
    probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(probs, trained.predict(rows), atol=1e-5)


def test_scores_sum_to_the_difference_from_a_baseline_of_padding(trained):
    rows, _ = toy_rows(6, seed=9)
    model = LetterClassifier(trained, LetterByLetter())
    found = attribute(model, spell(rows), scale="probability", baseline="pad")
    probs = trained.predict(rows)
    np.testing.assert_allclose(found.table["value"], probs.max(1), atol=1e-5)
    pads = [np.full(len(row), TOKENS.pad_id) for row in rows]
    start = trained.predict(pads)[np.arange(6), found.table["target"]]
    np.testing.assert_allclose(found.table["baseline_value"], start, atol=1e-5)
    np.testing.assert_allclose(found.table["total"], probs.max(1) - start, atol=0.02)
    for base, row in zip(found.base, rows, strict=True):
        assert len(base) == len(row)


def test_the_letters_that_make_the_class_get_the_scores(trained):
    model = LetterClassifier(trained, LetterByLetter())
    found = attribute(model, as_letters(["BEPCQGR"]), target="yes", baseline="pad")
    base = found.base[0]
    assert base[[2, 4, 6]].min() > np.delete(base, [2, 4, 6]).max()


def test_long_rows_are_explained_in_all_their_windows(trained):
    """40 letters in windows of 16; the value is the mean over windows."""
    row = np.concatenate([toy_rows(8, seed=4)[0][i] for i in range(8)])[:40]
    model = LetterClassifier(trained, LetterByLetter())
    found = attribute(model, spell([row]), baseline="pad")
    assert len(found.base[0]) == 40 and (found.base[0] != 0).all()
    assert found.tokens["row"].nunique() == 4
    assert abs(found.table["gap"][0]) < 0.05


def test_rows_that_are_cut_have_no_scores_behind(trained):
    row = np.concatenate([toy_rows(8, seed=4)[0][i] for i in range(8)])[:40]
    model = LetterClassifier(replace(trained, long="cut"), LetterByLetter())
    found = attribute(model, spell([row]), baseline="pad")
    assert len(found.base[0]) == 16


def test_released_layout_asks_about_rows_the_model_never_saw(trained):
    rows, _ = toy_rows(4, seed=9)
    released = LetterClassifier(trained, LetterByLetter(), specials="reference")
    found = attribute_as_released(released, spell(rows))
    gap = np.abs(found.table["value"] - trained.predict(rows).max(1))
    assert gap.max() > 1e-3
    first = found.tokens[found.tokens["sequence"] == 0]
    assert first["token"].iloc[[0, -1]].tolist() == ["<cls>", "<sep>"]
    assert np.linalg.norm(first["score"]) == pytest.approx(1)
    with pytest.raises(ValueError, match="specials is 'both'"):
        LetterClassifier(trained, LetterByLetter(), specials="both")


def test_places_of_tokens_end_to_end():
    assert token_spans(["▁AC", "GGT", "A"], "ACGGTA").tolist() == [[0, 2], [2, 5], [5, 6]]
    assert token_spans(["▁", "AC"], "AC").tolist() == [[0, 0], [0, 2]]
    # unknown letters are those up to the next known token
    assert token_spans(["▁AA", "<unk>", "CC"], "AANNCC").tolist() == [[0, 2], [2, 4], [4, 6]]
    assert token_spans(["▁ACGT", "<unk>"], "ACGTN").tolist() == [[0, 4], [4, 5]]


def test_places_of_overlapping_kmers():
    spans = token_spans(["ACG", "CGT", "<unk>"], "ACGTN")
    assert spans.tolist() == [[0, 3], [1, 4], [2, 5]]


def test_tokens_of_another_sequence():
    with pytest.raises(ValueError, match=r"token 1 \('GGT'\) is not at letter 2"):
        token_spans(["▁AC", "GGT"], "ACTTT")
    with pytest.raises(ValueError, match="cover 2 of 5 letters"):
        token_spans(["▁AC"], "ACTTT")
