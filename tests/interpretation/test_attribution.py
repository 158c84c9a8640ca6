"""Attributions: they sum up, they find what is planted, and every kind of model can be asked."""

import numpy as np
import pytest
import torch
from explained_toys import WORD, plant, random_classifier, scanner

from genomelm_utils.interpretation.attribution import METHODS, attribute
from genomelm_utils.interpretation.explained import BlackBox, spread_to_bases
from genomelm_utils.interpretation.explained_bases import OneHotNetwork
from genomelm_utils.interpretation.explained_tokens import KmerClassifier
from genomelm_utils.sequences.alphabet import CODE_N, encode


def test_spread_keeps_the_sum_and_shares_equally():
    spans = np.array([[0, 0], [0, 2], [1, 3], [3, 4]])
    assert spread_to_bases(np.array([9.0, 2.0, 4.0, -1.0]), spans, 5).tolist() == [1, 3, 2, -1, 0]


def test_by_hand_the_word_that_is_counted_gets_all_of_the_score():
    codes = [encode(f"AAAA{WORD}AAAAA"), encode(f"CC{WORD}")]
    for method in ("integrated_gradients", "deeplift"):
        found = attribute(scanner(), codes, method, baseline="pad", steps=200)
        assert found.table["value"].tolist() == [1, 1]
        assert found.table["total"].to_numpy() == pytest.approx([1, 1], abs=0.01)
        assert found.base[0][4:11] == pytest.approx(1 / 7, abs=0.01)
        assert np.abs(found.base[0][[0, 1, 2, 3, 11, 12]]).max() < 0.01
    found = attribute(scanner(), codes, "mutagenesis")
    assert found.base[0].tolist() == [0] * 4 + [1] * 7 + [0] * 5
    found = attribute(scanner(), codes, "occlusion", baseline="pad")
    assert found.base[1].tolist() == [0, 0] + [1] * 7


@pytest.mark.parametrize("method", ["integrated_gradients", "occlusion", "mutagenesis", "saliency"])
def test_every_method_on_a_classifier_gives_a_score_per_token_and_base(method):
    codes = np.random.default_rng(0).integers(0, 4, (3, 20)).astype(np.uint8)
    model = KmerClassifier(random_classifier(), ["no", "yes"])
    found = attribute(model, codes, method, target="yes")
    assert [len(one) for one in found.base] == [20, 20, 20]
    assert found.table["output"].tolist() == ["yes"] * 3
    sums = found.tokens.groupby("sequence")["score"].sum().to_numpy()
    assert sums == pytest.approx(found.table["total"].to_numpy())
    assert sums == pytest.approx([one.sum() for one in found.base])
    logits = model.predict(codes)
    assert found.table["value"].to_numpy() == pytest.approx(logits[:, 1] - logits[:, 0], abs=1e-5)


@pytest.mark.parametrize("baseline", ["mean", "pad", "mask", "shuffle"])
@pytest.mark.parametrize("scale", ["log_odds", "probability"])
def test_integrated_gradients_are_complete(baseline, scale):
    rng = np.random.default_rng(1)
    codes = [rng.integers(0, 4, n).astype(np.uint8) for n in (12, 30, 21)]
    model = KmerClassifier(random_classifier(n_classes=3))
    found = attribute(model, codes, scale=scale, baseline=baseline, steps=100, n_shuffles=2)
    difference = found.table["value"] - found.table["baseline_value"]
    assert difference.abs().max() > 0.01
    assert found.table["gap"].abs().max() < 0.01 * difference.abs().max()


def test_windows_of_a_long_sequence_add_up_to_its_prediction():
    codes = np.random.default_rng(2).integers(0, 4, (2, 150)).astype(np.uint8)
    model = KmerClassifier(random_classifier())
    found = attribute(model, codes, steps=60, target=1)
    assert found.tokens["row"].nunique() > 2
    logits = model.predict(codes)
    assert found.table["value"].to_numpy() == pytest.approx(logits[:, 1] - logits[:, 0], abs=1e-5)
    assert found.table["gap"].abs().max() < 0.02
    assert found.base[0].sum() == pytest.approx(found.table["total"][0])


def test_what_a_sequence_gets_does_not_depend_on_its_batch():
    rng = np.random.default_rng(3)
    codes = [rng.integers(0, 4, n).astype(np.uint8) for n in (30, 12)]
    model = KmerClassifier(random_classifier())
    both = attribute(model, codes, target=0)
    alone = attribute(model, codes[1:], target=0)
    assert both.base[1] == pytest.approx(alone.base[0], abs=1e-4)


def test_the_network_is_left_as_it_was_found():
    classifier = random_classifier()
    model = classifier.model.train()
    attribute(KmerClassifier(classifier), [encode("ACGTACGTAC")])
    assert model.training and all(p.requires_grad and p.grad is None for p in model.parameters())
    assert not model.get_input_embeddings()._forward_hooks


def test_planted_positions_come_out_on_top(rng):
    codes, truth = plant(rng, 20, 60)
    for method in METHODS:
        found = attribute(scanner(), codes, method, baseline="pad", target=0)
        inside, outside = np.array(found.base)[truth], np.array(found.base)[~truth]
        assert inside.mean() > 5 * np.abs(outside).mean(), method


def test_deeplift_is_refused_where_its_rule_does_not_hold():
    model = KmerClassifier(random_classifier())
    codes = np.random.default_rng(4).integers(0, 4, (4, 30)).astype(np.uint8)
    with pytest.raises(ValueError, match=r"miss the difference.*integrated_gradients"):
        attribute(model, codes, "deeplift")


def test_a_network_without_gradients_is_named():
    network = torch.nn.Linear(1, 1)
    model = OneHotNetwork(
        network, lambda hot, codes: (codes == 2).sum(1, keepdim=True).float(), ["G"]
    )
    with pytest.raises(ValueError, match=r"not possible for Linear.*mutagenesis"):
        attribute(model, [encode("ACGGT")])
    assert attribute(model, [encode("ACGGT")], "mutagenesis").base[0] == pytest.approx(
        [-1 / 3, -1 / 3, 1, 1, -1 / 3]
    )


def test_a_function_can_be_asked_for_what_needs_no_gradient():
    box = BlackBox(lambda codes: np.array([[(one == 1).mean()] for one in codes]), ["C"])
    found = attribute(box, [encode("ACCN")], "occlusion")
    assert found.base[0].tolist() == [0, 0.25, 0.25, 0]
    assert found.tokens["token"].tolist() == ["A", "C", "C", "N"]
    with pytest.raises(ValueError, match="no tokens; take occlusion"):
        attribute(box, [encode("ACC")])


def test_ambiguous_bases_are_tokens_too():
    codes = encode("ACGTNACGTACG")
    model = KmerClassifier(random_classifier())
    found = attribute(model, [codes], target=0, steps=100)
    assert abs(found.table["gap"][0]) < 0.01
    assert attribute(model, [codes], "mutagenesis").base[0][4] == 0
    assert codes[4] == CODE_N


def test_normalised_scores_are_those_of_genomenlp():
    model = KmerClassifier(random_classifier())
    found = attribute(model, np.zeros((2, 9), np.uint8) + 2, scale="probability").normalise()
    squares = found.tokens["score"].pow(2).groupby(found.tokens["sequence"]).sum()
    assert squares.to_numpy() == pytest.approx([1, 1])
    assert found.table["gap"].isna().all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "lime"}, "method is 'lime', expected one of integrated_gradients"),
        ({"baseline": "zeros"}, "baseline is 'zeros'"),
        ({"target": "maybe"}, "target is 'maybe', expected one of class 0, class 1"),
        ({"target": 2}, "target is 2"),
        ({"target": [0]}, "targets of shape"),
        ({"scale": "value"}, "scale is 'value', expected log_odds or probability"),
        ({"steps": 0}, "steps is 0"),
    ],
)
def test_bad_options_are_named(options, message):
    model = KmerClassifier(random_classifier())
    with pytest.raises(ValueError, match=message):
        attribute(model, [encode("ACGTACG"), encode("ACGTACG")], **options)


def test_no_sequences_and_sequences_shorter_than_a_token_are_named():
    model = KmerClassifier(random_classifier())
    with pytest.raises(ValueError, match="no sequences"):
        attribute(model, [])
    with pytest.raises(ValueError, match="has 2 bases, expected at least k = 3"):
        attribute(model, [encode("AC")])
    only_n = attribute(model, [encode("NNNNNNN")], target=0)
    assert np.isfinite(only_n.base[0]).all()
