import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertModel,
    RobertaConfig,
    RobertaModel,
)

from genomelm_utils.models.alibi_bert import AlibiBertForMaskedLM, AlibiBertModel, alibi_config
from genomelm_utils.sequences.alphabet import decode, encode
from genomelm_utils.tasks.embedding import embed
from genomelm_utils.tasks.embedding_models import load_encoder, max_ids_of, rows_of
from genomelm_utils.tokenizers.bpe import train_bpe
from genomelm_utils.tokenizers.kmer import build_tokenizer, encode_sequences, vocab_size

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
CODES = [encode("ACGTTGCAACGGT"), encode("GATTACAGATTACA")]


@pytest.fixture(scope="module")
def bpe():
    rng = np.random.default_rng(0)
    return train_bpe([decode(rng.integers(0, 4, 500, dtype=np.uint8)) for _ in range(20)], 40)


def letters(**options):
    """A tokenizer of single letters, such as many DNA models have: [CLS] A C G T N [SEP]."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = {w: i for i, w in enumerate(["<pad>", "<unk>", "<cls>", "<eos>", *"ACGTN"])}
    backend = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    backend.post_processor = processors.TemplateProcessing(
        single="<cls> $A", special_tokens=[("<cls>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", unk_token="<unk>", **options
    )


def bert(kind, vocabulary, **sizes):
    torch.manual_seed(0)
    return kind(BertConfig(vocab_size=vocabulary, intermediate_size=32, **SMALL | sizes)).eval()


def save(folder, model, tokenizer):
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def change_weights(folder, change):
    path = folder / "model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path, metadata={"format": "pt"})


@pytest.mark.parametrize("kind", [AlibiBertModel, AlibiBertForMaskedLM])
def test_our_alibi_encoder_comes_back(tmp_path, bpe, kind):
    model = kind(alibi_config("micro", vocab_size=40, **SMALL, intermediate_size=32)).eval()
    loaded, tokenizer = load_encoder(save(tmp_path, model, bpe))
    assert isinstance(loaded, AlibiBertModel) and not loaded.training
    assert np.array_equal(embed(loaded, tokenizer, CODES), embed(model, bpe, CODES))
    assert max_ids_of(loaded, tokenizer) is None


@pytest.mark.parametrize("kind", [BertModel, BertForMaskedLM])
def test_a_kmer_bert_comes_back_without_its_head(tmp_path, kind):
    model = bert(kind, vocab_size(3))
    loaded, tokenizer = load_encoder(save(tmp_path, model, build_tokenizer(3)))
    assert isinstance(loaded, BertModel)
    assert np.array_equal(embed(loaded, tokenizer, CODES), embed(model, build_tokenizer(3), CODES))


def test_any_model_with_a_tokenizer_of_plain_dna(tmp_path):
    torch.manual_seed(0)
    config = RobertaConfig(
        vocab_size=9, intermediate_size=32, max_position_embeddings=20, pad_token_id=0, **SMALL
    )
    model = RobertaModel(config).eval()
    loaded, tokenizer = load_encoder(save(tmp_path, model, letters()))
    assert max_ids_of(loaded, tokenizer) == 19  # 20 positions, of which the first is padding's
    values = embed(loaded, tokenizer, CODES)
    ids = torch.tensor([[2, 4, 5, 6, 7, 7, 6, 5, 4, 4, 5, 6, 6, 7]])
    with torch.no_grad():
        expected = model(ids, torch.ones_like(ids)).last_hidden_state[0].mean(0)
    assert np.allclose(values[0], expected, atol=1e-6)
    long = embed(loaded, tokenizer, [np.tile(CODES[0], 9)])  # in parts, with <cls> each
    assert np.isfinite(long).all()


def test_rows_of_the_three_kinds(bpe):
    gapped = encode("ACGTNNACGT")
    kmers = rows_of(build_tokenizer(3), "skip")
    expected, _ = encode_sequences([encode("ACGT")], 3)
    specials = expected[0].tolist()
    twice = [specials[0], *specials[1:-1] * 2, specials[-1]]
    assert kmers.make([gapped])[0].tolist() == twice
    pairs = rows_of(bpe, "unk")
    assert (pairs.n_front, pairs.n_back, pairs.pad_id) == (1, 1, 3)
    assert (pairs.make([gapped])[0] == 0).sum() == 2
    plain = rows_of(letters(), "unk")
    assert (plain.n_front, plain.n_back, plain.pad_id) == (1, 0, 0)
    assert plain.make([gapped])[0].tolist() == [2, 4, 5, 6, 7, 8, 8, 4, 5, 6, 7]
    assert rows_of(letters(), "skip").make([gapped])[0].tolist() == [2, *[4, 5, 6, 7] * 2]
    assert max_ids_of(bert(BertModel, 9), letters(model_max_length=77)) == 77


def test_a_folder_without_config_or_tokenizer_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no config\.json"):
        load_encoder(tmp_path)
    bert(BertModel, vocab_size(3)).save_pretrained(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"has no tokenizer \(none of tokenizer\.json"):
        load_encoder(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match="is damaged"):
        load_encoder(tmp_path)


def test_missing_weights_are_an_error_but_a_pooler_is_not_needed(tmp_path):
    folder = save(tmp_path, bert(BertModel, vocab_size(3)), build_tokenizer(3))
    change_weights(folder, lambda w: [w.pop(k) for k in list(w) if k.startswith("pooler.")])
    load_encoder(folder)
    change_weights(folder, lambda w: w.pop("encoder.layer.1.output.dense.weight"))
    with pytest.raises(ValueError, match=r"1 are missing, such as encoder\.layer\.1\.output"):
        load_encoder(folder)


@pytest.mark.parametrize("name", ["encoder.layer.7.output.dense.bias", "adapter.weight"])
def test_unexpected_weights_are_an_error(tmp_path, name):
    folder = save(tmp_path, bert(BertModel, vocab_size(3)), build_tokenizer(3))
    change_weights(folder, lambda w: w.update({name: torch.zeros(32)}))
    with pytest.raises(ValueError, match=f"1 have no place in it, such as {name}"):
        load_encoder(folder)


def test_weights_of_another_shape_are_an_error(tmp_path):
    folder = save(tmp_path, bert(BertModel, vocab_size(3)), build_tokenizer(3))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 64}))
    with pytest.raises(ValueError, match=r"cannot be loaded|have another shape"):
        load_encoder(folder)


def test_alibi_with_missing_or_unexpected_weights_is_an_error(tmp_path, bpe):
    model = AlibiBertModel(alibi_config("micro", vocab_size=40, **SMALL, intermediate_size=32))
    folder = save(tmp_path, model, bpe)
    change_weights(folder, lambda w: w.update({"encoder.odd": torch.zeros(2)}))
    with pytest.raises(ValueError, match=r"encoder\.odd"):
        load_encoder(folder)
    change_weights(folder, lambda w: (w.pop("encoder.odd"), w.pop("embeddings.LayerNorm.bias")))
    with pytest.raises(ValueError, match=r"embeddings\.LayerNorm\.bias"):
        load_encoder(folder)


def test_a_model_with_its_own_code_is_not_run(tmp_path):
    letters().save_pretrained(tmp_path)
    config = {"model_type": "strange", "auto_map": {"AutoModel": "strange.Model"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "strange.py").write_text("raise SystemExit('was run')")
    with pytest.raises(ValueError, match=r"cannot be loaded as a model.*own code are not run"):
        load_encoder(tmp_path)


def test_the_published_layout_of_dnabert2_is_known_by_its_config(tmp_path):
    from genomelm_utils.tasks.embedding_models import _is_alibi

    assert _is_alibi({"model_type": "bert", "alibi_starting_size": 512})
    assert _is_alibi({"model_type": "bert", "auto_map": {"AutoModel": "x--bert_layers.BertModel"}})
    assert not _is_alibi({"model_type": "bert"})
