"""Networks that classify token sequences: sizes, what the head reads, loading."""

import pytest
import torch

from genomelm_utils.models.sequence_classifier import (
    KINDS,
    build_config,
    build_network,
    classify_tokens,
    load_network,
    max_ids,
)

NAMES = ("a", "b")
TINY = {"layers": 1, "width": 16, "heads": 2}


def tiny(kind: str, **changes):
    sizes = TINY | ({"window": 4} if kind == "longformer" else {}) | changes
    return build_config(kind, 30, NAMES, pad_id=3, positions=16, **sizes)


def padded(lengths: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(5, 28, (len(lengths), max(lengths)), generator=generator)
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    return ids.masked_fill(mask == 0, 3), mask


def test_published_distilbert_has_61_million_parameters():
    config = build_config("distilbert", 22_753, NAMES, pad_id=3)
    with torch.device("meta"):
        from transformers import AutoModelForSequenceClassification

        network = AutoModelForSequenceClassification.from_config(config)
    assert sum(p.numel() for p in network.parameters()) == 60_988_418
    dropouts = (config.dropout, config.attention_dropout, config.seq_classif_dropout)
    assert dropouts == (0.1, 0.1, 0.2)
    assert max_ids(network) == 512


@pytest.mark.parametrize("kind", ["distilbert", "longformer", "micro"])
def test_first_token_is_what_transformers_reads(kind):
    network = build_network(tiny(kind), seed=1).eval()
    ids, mask = padded([9, 5, 12])
    with torch.no_grad():
        ours = classify_tokens(network, ids, mask, "first")
        theirs = network(input_ids=ids, attention_mask=mask).logits
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
        mean = classify_tokens(network, ids, mask, "mean")
    assert ours.shape == mean.shape == (3, 2)
    assert not torch.allclose(ours, mean)


@pytest.mark.parametrize("kind", ["distilbert", "longformer", "micro"])
@pytest.mark.parametrize("pooling", ["mean", "first"])
def test_padding_changes_nothing(kind, pooling):
    network = build_network(tiny(kind), seed=1).eval()
    ids, mask = padded([7, 12])
    with torch.no_grad():
        alone = classify_tokens(network, ids[:1, :7], mask[:1, :7], pooling)
        beside = classify_tokens(network, ids, mask, pooling)[:1]
    torch.testing.assert_close(alone, beside, rtol=1e-4, atol=1e-5)


def test_every_kind_is_built_and_the_seed_decides(monkeypatch):
    for kind in KINDS:
        config = build_config(kind, 40, NAMES, pad_id=3)
        assert config.vocab_size == 40 and config.num_labels == 2
        assert config.id2label == {0: "a", 1: "b"}
    one, two, other = (build_network(tiny("distilbert"), seed) for seed in (1, 1, 2))
    for (name, a), b, c in zip(
        one.named_parameters(), two.parameters(), other.parameters(), strict=True
    ):
        assert torch.equal(a, b)
        assert a.ndim < 2 or not torch.equal(a, c), name


def test_a_longformer_has_places_for_what_it_is_given():
    """Its positions begin behind the id of the padding."""
    network = build_network(tiny("longformer"), seed=1).eval()
    assert max_ids(network) == 16
    ids = torch.randint(5, 28, (1, 16))
    with torch.no_grad():
        assert classify_tokens(network, ids, torch.ones_like(ids), "mean").shape == (1, 2)


def test_a_narrow_network_starts_with_larger_weights():
    config = build_config("distilbert", 40, NAMES, pad_id=3, width=48, heads=4)
    assert config.initializer_range == pytest.approx(0.08)
    assert config.hidden_dim == 192


def test_weights_are_loaded_and_what_is_new_is_named(tmp_path):
    network = build_network(tiny("micro"), seed=1)
    network.save_pretrained(tmp_path / "classifier")
    again, new = load_network(tmp_path / "classifier", 30, NAMES, seed=9)
    assert new == []
    assert all(
        torch.equal(a, b) for a, b in zip(network.parameters(), again.parameters(), strict=True)
    )
    network.bert.save_pretrained(tmp_path / "encoder")
    started, new = load_network(tmp_path / "encoder", 30, ("x", "y", "z"), seed=9, dropout=0.3)
    assert new == ["classifier.bias", "classifier.weight"]
    assert started.config.hidden_dropout_prob == 0.3 and started.num_labels == 3
    torch.testing.assert_close(
        started.bert.embeddings.word_embeddings.weight,
        network.bert.embeddings.word_embeddings.weight,
    )


def test_wrong_requests(tmp_path):
    with pytest.raises(ValueError, match="did you mean 'distilbert'"):
        build_config("distillbert", 30, NAMES, pad_id=3)
    with pytest.raises(ValueError, match="did you mean 'layers'"):
        tiny("distilbert", layer=2)
    with pytest.raises(ValueError, match="no multiple of 3 heads"):
        tiny("distilbert", heads=3)
    with pytest.raises(FileNotFoundError, match=r"no config.json"):
        load_network(tmp_path, 30, NAMES, seed=1)
    build_network(tiny("distilbert"), seed=1).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="knows 30 token ids, but the tokenizer gives out 31"):
        load_network(tmp_path, 31, NAMES, seed=1)
    with pytest.raises(ValueError, match="tells 2 classes apart"):
        load_network(tmp_path, 30, ("x", "y", "z"), seed=1)
    with pytest.raises(ValueError, match="width cannot be changed"):
        load_network(tmp_path, 30, NAMES, seed=1, width=32)
