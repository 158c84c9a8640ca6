"""Integrated gradients of token classifiers: completeness, known answers, letters, pages."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from genomelm_utils.interpretation.attribution import (
    Attribution,
    attribute,
    letter_scores,
    summarise_tokens,
    token_spans,
    token_table,
)
from genomelm_utils.interpretation.attribution_page import file_name, render_page, write_pages
from genomelm_utils.tasks.sequence_training import train_classifier
from genomelm_utils.tasks.sequence_validation import TrainingSettings

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tasks"))
from sequence_toy import CLASSES, TOKENS, tiny_config, toy_rows

pytest.importorskip("captum", reason="needs captum")
#: Of the toy's ids; words 20..25 make class "yes".
VOCABULARY = ["<s>", "</s>", "<unk>", "<pad>", "<mask>", *[f"w{i}" for i in range(5, 26)], "", ""]


@pytest.fixture(scope="module")
def trained():
    """A tiny network that tells the toy's classes apart."""
    settings = TrainingSettings(epochs=8, batch_size=16, learning_rate=1e-2)
    return train_classifier(
        toy_rows(160, seed=1), tiny_config(), TOKENS, CLASSES, settings, valid=toy_rows(80, seed=2)
    )


def test_scores_sum_to_the_difference_from_the_baseline(trained):
    rows, labels = toy_rows(6, seed=9)
    found = attribute(trained, rows, list("abcdef"), VOCABULARY, true=labels)
    probs = trained.predict(rows)
    for one, row, probs_C in zip(found, rows, probs, strict=True):
        np.testing.assert_allclose(one.probs_C, probs_C, atol=1e-5)
        assert one.target == one.predicted == probs_C.argmax()
        pads = trained.predict([np.full(len(row), TOKENS.pad_id)])[0]
        assert one.baseline == pytest.approx(pads[one.target], abs=1e-5)
        assert abs(one.scores_T.sum() - (one.value - one.baseline)) < 0.011
        assert len(one.scores_T) == len(row) == len(one.tokens)


def test_the_words_that_make_the_class_get_the_scores(trained):
    row = np.array([6, 9, 22, 7, 24, 11, 23])
    (one,) = attribute(trained, [row], ["x"], VOCABULARY, target=1)
    special = one.scores_T[[2, 4, 6]]
    assert special.min() > np.delete(one.scores_T, [2, 4, 6]).max()
    (other,) = attribute(trained, [row], ["x"], VOCABULARY, target=0)
    np.testing.assert_allclose(other.scores_T, -one.scores_T, atol=2e-2)  # two classes


def test_the_same_as_a_sum_by_hand(trained):
    """Midpoint sum over inputs_embeds, without captum."""
    row = np.array([6, 9, 22, 7])
    (one,) = attribute(trained, [row], ["x"], VOCABULARY, target=1, n_steps=200)
    model = trained.model.eval()
    embed = model.get_input_embeddings()
    ids = torch.from_numpy(row)[None]
    start, end = embed(torch.full_like(ids, TOKENS.pad_id)).detach(), embed(ids).detach()
    total = torch.zeros_like(end)
    for i in range(400):
        point = (start + (i + 0.5) / 400 * (end - start)).requires_grad_()
        states = model.distilbert(inputs_embeds=point, attention_mask=torch.ones_like(ids))
        from genomelm_utils.models.sequence_classifier import read_head

        prob = read_head(model, states.last_hidden_state.mean(1)).softmax(-1)[0, 1]
        total += torch.autograd.grad(prob, point)[0]
    wanted = ((end - start) * total / 400).sum(-1)[0].numpy()
    np.testing.assert_allclose(one.scores_T, wanted, atol=2e-3)


def test_long_rows_are_explained_in_all_their_windows(trained):
    """40 tokens in windows of 16: every token has a score, and their sum is complete."""
    row = np.concatenate([toy_rows(8, seed=4)[0][i] for i in range(8)])[:40]
    (one,) = attribute(trained, [row], ["long"], VOCABULARY)
    assert len(one.scores_T) == 40
    assert (one.scores_T != 0).all()
    np.testing.assert_allclose(one.probs_C, trained.predict([row])[0], atol=1e-5)
    assert abs(one.delta) < 0.011


def test_released_layout_asks_about_rows_the_model_never_saw(trained):
    rows, _ = toy_rows(4, seed=9)
    corrected = attribute(trained, rows, list("abcd"), VOCABULARY)
    released = attribute(trained, rows, list("abcd"), VOCABULARY, layout="reference")
    probs = trained.predict(rows)
    gap = max(np.abs(r.probs_C - p).max() for r, p in zip(released, probs, strict=True))
    assert gap > 1e-3
    assert max(np.abs(c.probs_C - p).max() for c, p in zip(corrected, probs, strict=True)) < 1e-5
    assert len(released[0].scores_T) == len(rows[0])


def test_steps_are_doubled_until_scores_are_complete(trained):
    rows = toy_rows(8, seed=5)[0]
    found = attribute(trained, rows, list("abcdefgh"), VOCABULARY, n_steps=1)
    assert max(one.n_steps for one in found) > 1
    assert max(abs(one.delta) for one in found) <= 0.01


def test_models_come_back_as_they_were(trained):
    trained.model.train()
    attribute(trained, toy_rows(2)[0][:1], ["x"], VOCABULARY)
    assert trained.model.training
    trained.model.eval()


# --- letters -----------------------------------------------------------------------------------


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


def test_letters_share_the_score_of_their_tokens():
    scores = letter_scores(np.array([0.4, -0.3]), np.array([[0, 2], [2, 5]]), 5)
    np.testing.assert_allclose(scores, [0.2, 0.2, -0.1, -0.1, -0.1])
    # overlapping k-mers add up
    scores = letter_scores(np.array([0.3, 0.3]), np.array([[0, 3], [1, 4]]), 4)
    np.testing.assert_allclose(scores, [0.1, 0.2, 0.2, 0.1])
    # the mark alone has no letters: the letter behind it takes its score
    scores = letter_scores(np.array([0.5, 0.2]), np.array([[0, 0], [0, 2]]), 2)
    np.testing.assert_allclose(scores, [0.6, 0.1])
    assert letter_scores(np.array([1.0]), np.array([[0, 0]]), 0).tolist() == []


# --- tables and pages --------------------------------------------------------------------------


def make(name: str, **changes) -> Attribution:
    facts = {
        "name": name,
        "tokens": ("▁AC", "GGT", "<unk>"),
        "scores_T": np.array([0.3, -0.1, 0.0]),
        "probs_C": np.array([0.25, 0.75]),
        "class_names": ("neg<0>", "pos"),
        "target": 1,
        "value": 0.75,
        "baseline": 0.55,
        "delta": 0.0,
        "n_steps": 50,
        "true": 0,
    }
    return Attribution(**facts | changes)


def test_tables_of_tokens():
    table = token_table([make("a")], ["ACGGTN"])
    assert table[["begin", "end", "token"]].to_numpy().tolist() == [
        [0, 2, "▁AC"], [2, 5, "GGT"], [5, 6, "<unk>"],
    ]  # fmt: skip
    assert table["score"].sum() == pytest.approx(0.2)
    assert np.linalg.norm(table["shown"]) == pytest.approx(1)
    summary = summarise_tokens([make("a"), make("b", scores_T=np.array([0.1, 0.1, 0.0]))])
    assert summary["token"][0] == "AC" and set(summary["token"]) == {"AC", "GGT", "<unk>"}
    assert summary["mean_score"].tolist() == pytest.approx([0.2, 0.0, 0.0])
    assert summary["n"].tolist() == [2, 2, 2]


def test_a_page_needs_nothing_else_and_escapes_what_it_shows():
    page = render_page([make('x"><script>')], 'x"><script>')
    assert "<script" not in page and "neg&lt;0&gt;" in page
    assert not re.search(r"(src|href)=", page) and "http" not in page
    cells = re.findall(r"<td[^>]*>(.*?)</td>", page, re.DOTALL)
    assert cells[:4] == ["neg&lt;0&gt;", "pos (0.750)", "pos", "+0.200"]
    spans = re.findall(
        r'<span style="background:#(..)(..)(..);[^"]*" title="([^"]*)">([^<]*)', page
    )
    shown = {text: (int(r, 16), int(b, 16), title) for r, _, b, title, text in spans}
    assert shown["AC"][0] < shown["AC"][1]  # blue: speaks for
    assert shown["GGT"][0] > shown["GGT"][1]  # orange: against
    assert shown["&lt;unk&gt;"][:2] == (255, 255)  # nothing: white
    assert shown["AC"][2] == "+0.3000"
    assert "not known" in render_page([make("x", true=None)], "x")


def test_no_page_takes_the_place_of_another(tmp_path):
    names = ["a/b", "a_b", "a/b", "plain", "PLAIN", "x" * 200]
    files = write_pages([make(name) for name in names], tmp_path)
    assert len(set(files)) == 6 and all(file.is_file() for file in files)
    assert files[3].name == "plain.html" and files[4].name != "PLAIN.html"
    assert file_name("..", set()).startswith("sequence_")
    assert max(len(file.name) for file in files) < 80


def test_wrong_requests(trained):
    rows = toy_rows(2)[0]
    with pytest.raises(ValueError, match="1 names for 2 rows"):
        attribute(trained, rows, ["x"], VOCABULARY)
    with pytest.raises(ValueError, match="layout is 'both'"):
        attribute(trained, rows, ["x", "y"], VOCABULARY, layout="both")
    with pytest.raises(ValueError, match="target is 5"):
        attribute(trained, rows, ["x", "y"], VOCABULARY, target=5)
