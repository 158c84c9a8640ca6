"""The short path to [CLS] equals transformers' own; weights come from where they should."""

import json

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForMaskedLM, BertModel, GPT2Config

from genomelm_utils.tasks.encoder import build_classifier, classify_windows, mean_states
from genomelm_utils.tasks.windows import build_windows

NEW = ["bert.pooler.dense.bias", "bert.pooler.dense.weight", "classifier.bias", "classifier.weight"]


@pytest.fixture(scope="module")
def masked_lm() -> BertForMaskedLM:
    config = BertConfig(
        vocab_size=69,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=42,
        pad_token_id=0,
        hidden_dropout_prob=0.0,
        initializer_range=0.3,  # far from linear, so that a wrong formula shows
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = BertForMaskedLM(config)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name.endswith("bias"):
                    parameter.normal_(0, 0.1)
    return model


@pytest.fixture
def batch(rng) -> dict[str, torch.Tensor]:
    codes = [rng.integers(0, 4, length).astype(np.uint8) for length in (40, 12, 3, 25)]
    return build_windows(codes, k=3, max_tokens=40).pad(np.arange(4))


def test_logits_equal_those_of_transformers(masked_lm, batch):
    model, _ = build_classifier(masked_lm, 3, 3, seed=1)
    model.eval()
    ours = classify_windows(model, batch["input_ids"], batch["attention_mask"])
    theirs = model(**batch).logits
    assert ours.shape == (4, 3)
    assert torch.allclose(ours, theirs, atol=1e-6)


def test_gradients_equal_those_of_transformers(masked_lm, batch):
    gradients = []
    for call in (lambda m: classify_windows(m, *batch.values()), lambda m: m(**batch).logits):
        model, _ = build_classifier(masked_lm, 3, 2, seed=1)
        model.eval()
        call(model).square().sum().backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    for name, expected in gradients[1].items():
        assert torch.allclose(gradients[0][name], expected, atol=1e-4, rtol=1e-3), name


def test_dropout_acts_in_training_mode_only(masked_lm, batch):
    model, _ = build_classifier(masked_lm, 3, 2, seed=1, dropout=0.5)
    assert model.config.attention_probs_dropout_prob == 0.5
    model.train()
    with torch.random.fork_rng(devices=[]):
        first, second = (classify_windows(model, *batch.values()) for _ in range(2))
    assert not torch.equal(first, second)
    model.eval()
    first, second = (classify_windows(model, *batch.values()) for _ in range(2))
    assert torch.equal(first, second)


def test_weights_from_folder_and_from_memory_are_the_same(masked_lm, tmp_path):
    masked_lm.save_pretrained(tmp_path)
    state = torch.get_rng_state()
    from_memory, new = build_classifier(masked_lm, 3, 2, seed=4)
    from_folder, new_too = build_classifier(tmp_path, 3, 2, seed=4)
    assert torch.equal(torch.get_rng_state(), state)
    assert new == new_too == NEW
    expected = from_memory.state_dict()
    for name, value in from_folder.state_dict().items():
        assert torch.equal(value, expected[name]), name
    source = masked_lm.state_dict()
    assert torch.equal(
        expected["bert.embeddings.word_embeddings.weight"],
        source["bert.embeddings.word_embeddings.weight"],
    )
    other, _ = build_classifier(masked_lm, 3, 2, seed=5)
    assert not torch.equal(other.classifier.weight, from_memory.classifier.weight)
    assert (from_memory.classifier.bias == 0).all()
    assert from_folder.config.hidden_dropout_prob == 0.1
    assert masked_lm.config.hidden_dropout_prob == 0.0


def test_published_checkpoints_keep_their_pooler(masked_lm, tmp_path):
    """Checkpoints of the original code hold a pooler beside the masked LM."""
    with torch.random.fork_rng(devices=[]):
        bert = BertModel(masked_lm.config)
    bert.save_pretrained(tmp_path)
    model, new = build_classifier(tmp_path, 3, 2, seed=0)
    assert new == ["classifier.bias", "classifier.weight"]
    assert torch.equal(model.bert.pooler.dense.weight, bert.pooler.dense.weight)
    assert build_classifier(bert, 3, 2, seed=0)[1] == new


def test_from_scratch_depends_on_the_seed_only(masked_lm):
    models = [build_classifier(masked_lm.config, 3, 2, seed=seed)[0] for seed in (1, 1, 2)]
    weights = [model.bert.embeddings.word_embeddings.weight for model in models]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert len(build_classifier(masked_lm.config, 3, 2, seed=0)[1]) > len(NEW)


def test_mean_states_ignore_padding_and_ambiguous_words(masked_lm, batch):
    bert = masked_lm.bert.eval()
    ids = batch["input_ids"]
    found = mean_states(bert, ids, batch["attention_mask"])
    states = bert(**batch).last_hidden_state
    assert torch.allclose(found[2], states[2, 1], atol=1e-6)  # 3 bases: one 3-mer
    assert torch.allclose(found[1], states[1, 1:11].mean(0), atol=1e-6)
    assert (mean_states(bert, torch.tensor([[2, 1, 1, 3]]), torch.ones(1, 4)) == 0).all()


def test_wrong_sources_say_what_is_wrong(masked_lm, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no config\.json"):
        build_classifier(tmp_path / "nothing", 3, 2, seed=0)
    with pytest.raises(ValueError, match="expected 4101 for k = 6"):
        build_classifier(masked_lm, 6, 2, seed=0)
    GPT2Config().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="is a 'gpt2' model, expected 'bert'"):
        build_classifier(tmp_path, 3, 2, seed=0)
    folder = tmp_path / "other"
    masked_lm.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    config["num_hidden_layers"] = 3
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="lacks 16 weights of a BERT encoder"):
        build_classifier(folder, 3, 2, seed=0)
