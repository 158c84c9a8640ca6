"""Presets: published parameter counts, seeded weights, clear errors."""

import pytest
import torch
from transformers import BertForMaskedLM

from genomelm_utils.models.presets import (
    PRESETS,
    bert_config,
    build_masked_lm,
    count_parameters,
    k_of_vocab,
)

# Golden fact 15: with pooler and MLM head, decoder tied.
PUBLISHED = {"dnabert6": 89_787_141, "genemask-logo": 4_998_917, "logo": 2_897_669}


@pytest.mark.parametrize(("preset", "expected"), PUBLISHED.items())
def test_published_parameter_counts(preset, expected):
    assert count_parameters(bert_config(preset), pooler=True) == expected


@pytest.mark.parametrize("preset", PRESETS)
def test_count_is_that_of_the_built_model(preset):
    config = bert_config(preset)
    with torch.device("meta"):
        model = BertForMaskedLM(config)
    model.tie_weights()
    assert sum(p.numel() for p in model.parameters()) == count_parameters(config)


def test_counts_without_pooler_differ_by_one_dense_layer():
    config = bert_config("genemask-logo")
    assert count_parameters(config) == 4_933_125  # the specification's number without pooler
    assert count_parameters(bert_config("dnabert6")) == 89_787_141 - (768 * 768 + 768)


@pytest.mark.parametrize(("k", "size"), [(3, 69), (4, 261), (5, 1029), (6, 4101)])
def test_vocabulary_sizes(k, size):
    assert bert_config(f"dnabert{k}").vocab_size == size
    assert k_of_vocab(size) == k


def test_other_vocabularies_are_refused():
    with pytest.raises(ValueError, match=r"30522 tokens is no k-mer vocabulary.*4101"):
        k_of_vocab(30522)


def test_configuration_is_the_published_one():
    config = bert_config("dnabert6")
    assert (config.num_hidden_layers, config.hidden_size, config.num_attention_heads) == (
        12,
        768,
        12,
    )
    assert (config.hidden_dropout_prob, config.attention_probs_dropout_prob) == (0.1, 0.1)
    assert (config.max_position_embeddings, config.type_vocab_size) == (512, 2)
    assert config._attn_implementation == "sdpa"
    assert bert_config("logo").hidden_dropout_prob == 0.0


def test_unknown_preset_and_contradicting_k():
    with pytest.raises(ValueError, match=r"unknown model preset 'bert'.*dnabert6"):
        bert_config("bert")
    with pytest.raises(ValueError, match="'dnabert6' is for k = 6, found k = 3"):
        bert_config("dnabert6", k=3)


def test_every_preset_names_its_source():
    assert all(source for _, source in PRESETS.values())


def test_weights_depend_on_the_seed_only_and_leave_the_global_state_alone():
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first, again, other = (build_masked_lm("micro", 3, seed) for seed in (1, 1, 2))
    assert torch.equal(before, torch.random.get_rng_state())
    weights = [model.bert.embeddings.word_embeddings.weight for model in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
