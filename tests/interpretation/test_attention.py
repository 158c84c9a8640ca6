"""Attention scores: equal to the full attention of the model, for any heads, layers and lengths."""

import numpy as np
import pytest
import torch
from explained_toys import random_classifier

from genomelm_utils.interpretation.attention import (
    attention_scores,
    heat_map,
    mean_over_tokens,
    reference_base_scores,
)
from genomelm_utils.sequences.alphabet import encode
from genomelm_utils.tasks.windows import build_windows


def full_attention(classifier, codes, layers):
    """[CLS] row of the model's own attention maps (all of them in memory), summed over heads."""
    windows = build_windows([codes], classifier.k, 62)
    model = classifier.model
    model.set_attn_implementation("eager")
    with torch.no_grad():
        maps = model.bert(**windows.pad(np.array([0])), output_attentions=True).attentions
    model.set_attn_implementation("sdpa")
    return sum(maps[layer][0, :, 0].sum(0).double().numpy() for layer in layers)


@pytest.mark.parametrize("heads", [1, 2, 8])
@pytest.mark.parametrize("layers", [None, [0], [0, 1]])
def test_scores_are_those_of_the_whole_attention(heads, layers):
    classifier = random_classifier(heads=heads)
    codes = np.random.default_rng(0).integers(0, 4, 30).astype(np.uint8)
    row_L = full_attention(classifier, codes, layers or [1])
    expected = mean_over_tokens(row_L[1:-1], 3)
    found = attention_scores(classifier, [codes], layers=layers)[0]
    assert found == pytest.approx(expected / np.linalg.norm(expected), abs=1e-5)


def test_a_base_gets_the_mean_of_its_tokens_by_hand():
    assert mean_over_tokens([1, 3, 5], 3).tolist() == [1, 2, 3, 4, 5]
    assert mean_over_tokens([7], 2).tolist() == [7, 7]


def test_scores_do_not_depend_on_the_batch_and_long_sequences_are_read_in_windows():
    classifier = random_classifier()
    rng = np.random.default_rng(1)
    codes = [rng.integers(0, 4, n).astype(np.uint8) for n in (20, 150, 64)]
    found = attention_scores(classifier, codes)
    assert [len(one) for one in found] == [20, 150, 64]
    assert all(np.linalg.norm(one) == pytest.approx(1, abs=1e-5) for one in found)
    assert all((one > 0).all() for one in found)
    assert found[0] == pytest.approx(attention_scores(classifier, codes[:1])[0], abs=1e-5)


def test_the_reference_counts_sep_and_ends_early():
    row = np.array([9.0, 1, 2, 3, 4, 5])  # [CLS], four tokens, [SEP]: nothing is padded
    expected = mean_over_tokens([1, 2, 3, 4], 3)  # 6 - 3 + 1 places: here the tokens, by luck
    assert reference_base_scores(row, 3) == pytest.approx(expected / np.linalg.norm(expected))
    padded = np.array([9.0, 1, 2, 5, 0, 0, 0])  # two tokens, [SEP], padding
    expected = mean_over_tokens([1, 2, 0, 0, 0], 3)  # the place before the first zero is emptied
    assert reference_base_scores(padded, 3) == pytest.approx(expected / np.linalg.norm(expected))
    assert len(reference_base_scores(padded, 3)) == 7


def test_the_reference_rule_gives_vectors_of_max_ids():
    classifier = random_classifier()
    codes = [np.random.default_rng(2).integers(0, 4, n).astype(np.uint8) for n in (20, 31)]
    found = attention_scores(classifier, codes, rule="reference", max_ids=40)
    assert [len(one) for one in found] == [40, 40]
    assert (found[0][20:] == 0).all() and (found[0][:20] > 0).all()
    corrected = attention_scores(classifier, codes)[0]
    assert found[0][:18] / found[0][0] == pytest.approx(corrected[:18] / corrected[0], rel=1e-4)
    with pytest.raises(ValueError, match="rows of 20 ids, found one of 31"):
        attention_scores(classifier, codes, rule="reference", max_ids=20)


def test_a_heat_map_has_a_row_per_k_and_their_sum():
    classifiers = {k: random_classifier(k) for k in (3, 4)}
    codes = np.random.default_rng(3).integers(0, 4, 25).astype(np.uint8)
    table = heat_map(classifiers, codes)
    wide = table.pivot(index="k", columns="position", values="score")
    assert list(wide.index) == ["3", "4", "sum"] and wide.shape[1] == 25
    assert wide.loc["sum"].to_numpy() == pytest.approx((wide.loc["3"] + wide.loc["4"]).to_numpy())
    assert "sum" not in set(heat_map({3: classifiers[3]}, codes)["k"])


def test_memory_is_that_of_the_scores(monkeypatch):
    """No tensor of length x length is made: only rows of [CLS]."""
    classifier = random_classifier()
    sizes = []
    softmax = torch.Tensor.softmax

    def watch(self, *args, **options):
        sizes.append(self.shape)
        return softmax(self, *args, **options)

    monkeypatch.setattr(torch.Tensor, "softmax", watch)
    attention_scores(classifier, [encode("ACGTACGTACGTACGTAACC")])
    assert sizes == [torch.Size([1, 2, 1, 20])]


def test_bad_options_are_named():
    classifier = random_classifier()
    with pytest.raises(ValueError, match="the model has layers 0 to 1"):
        attention_scores(classifier, [encode("ACGTT")], layers=[2])
    with pytest.raises(ValueError, match="rule is 'both'"):
        attention_scores(classifier, [encode("ACGTT")], rule="both")
    with pytest.raises(ValueError, match="has 2 bases, expected at least k = 3"):
        attention_scores(classifier, [encode("AC")])
    with pytest.raises(ValueError, match="no classifier"):
        heat_map({}, encode("ACGTT"))
    with pytest.raises(ValueError, match="under k = 4 is one of 3-mers"):
        heat_map({4: classifier}, encode("ACGTT"))
