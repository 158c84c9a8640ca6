import logging

import numpy as np
import pytest
import torch

from genomelm_utils.models.alibi_bert import AlibiBertForMaskedLM, AlibiBertModel, alibi_config
from genomelm_utils.sequences.alphabet import decode, encode
from genomelm_utils.tasks import embedding_cache
from genomelm_utils.tasks.embedding import embed, embedding_recipe
from genomelm_utils.tasks.embedding_cache import (
    embed_cached,
    embedding_key,
    hash_sequences,
    hash_tokenizer,
    hash_weights,
)
from genomelm_utils.tasks.embedding_models import load_encoder
from genomelm_utils.tokenizers.bpe import train_bpe

CODES = [encode("ACGTTGCAACGGT"), encode("GATTACAGATTACA")]
SIZES = {"hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 32, "vocab_size": 40}


def make_tokenizer(seed=0):
    rng = np.random.default_rng(seed)
    return train_bpe([decode(rng.integers(0, 4, 500, dtype=np.uint8)) for _ in range(20)], 40)


def make_model(kind=AlibiBertModel, seed=0, **changes):
    torch.manual_seed(seed)
    return kind(alibi_config("micro", **SIZES | changes)).eval()


@pytest.fixture
def counted(monkeypatch):
    """How often something was computed."""
    calls = []
    monkeypatch.setattr(
        embedding_cache,
        "embed",
        lambda *args, **options: calls.append(1) or embed(*args, **options),
    )
    return calls


def key(model, tokenizer, sequences=CODES, **options):
    recipe = embedding_recipe(model, tokenizer, **options)
    return embedding_key(model, tokenizer, recipe, hash_sequences(sequences))[0]


def test_computed_once_and_found_again_without_a_difference(tmp_path, counted):
    model, tokenizer = make_model(), make_tokenizer()
    first = embed_cached(tmp_path, model, tokenizer, CODES, progress=False)
    again = embed_cached(tmp_path, make_model(), make_tokenizer(), CODES, token_budget=20)
    assert np.array_equal(first, embed(model, tokenizer, CODES))
    assert np.array_equal(first, again) and again.dtype == np.float32
    assert len(counted) == 1
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".npy"]


def test_everything_that_changes_the_numbers_changes_the_key():
    model, tokenizer = make_model(), make_tokenizer()
    keys = [
        key(model, tokenizer),
        key(make_model(seed=1), tokenizer),
        key(make_model(num_attention_heads=2), tokenizer),  # same tensors, other numbers
        key(model, make_tokenizer(seed=1)),
        key(model, tokenizer, CODES[::-1]),
        key(model, tokenizer, [np.concatenate(CODES)]),
        key(model, tokenizer, max_tokens=5),
        key(model, tokenizer, window_bp=5),
        key(model, tokenizer, overlap=0.5),
        key(model, tokenizer, strands="both"),
        key(model, tokenizer, ambiguous="skip"),
        key(model, tokenizer, dtype="bf16"),
    ]
    assert len(set(keys)) == len(keys)


def test_what_changes_nothing_does_not_change_the_key(tmp_path):
    tokenizer = make_tokenizer()
    lm = make_model(AlibiBertForMaskedLM)
    assert hash_weights(lm) == hash_weights(lm.bert)
    before = hash_tokenizer(tokenizer)
    tokenizer(["ACGT"], padding="max_length", max_length=9, truncation=True)
    assert hash_tokenizer(tokenizer) == before
    lm.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    loaded = load_encoder(tmp_path)
    assert hash_weights(loaded[0]) == hash_weights(lm)
    assert hash_tokenizer(loaded[1]) == before
    assert key(lm, tokenizer, dtype="auto") == key(lm, tokenizer, dtype="fp32")


def test_damaged_files_are_computed_again_with_a_warning(tmp_path, counted, caplog):
    model, tokenizer = make_model(), make_tokenizer()
    first = embed_cached(tmp_path, model, tokenizer, CODES)
    (path,) = tmp_path.glob("*.npy")
    for damage in (path.read_bytes()[:-9], b"", b"nonsense"):
        path.write_bytes(damage)
        with caplog.at_level(logging.WARNING):
            assert np.array_equal(embed_cached(tmp_path, model, tokenizer, CODES), first)
        assert "computed again" in caplog.text
    np.save(path, first[:1])
    assert np.array_equal(embed_cached(tmp_path, model, tokenizer, CODES), first)
    assert len(counted) == 5
