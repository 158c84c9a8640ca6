"""`species convert`: published files, read strictly, into a folder that loads here."""

import hashlib
import json

import numpy as np
import pytest
import torch

from genomelm_utils.models.alibi_bert import AlibiBertForMaskedLM, AlibiBertModel, alibi_config
from genomelm_utils.models.alibi_loading import load_alibi, write_published
from genomelm_utils.tasks.embedding_models import load_encoder
from genomelm_utils.tokenizers.bpe import load_bpe, train_bpe

VOCAB = 40
SIZES = {"hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 32}


def publish(folder, kind):
    """A tiny checkpoint in the layout of DNABERT-S (encoder) or DNABERT-2 (mlm)."""
    torch.manual_seed(0)
    config = alibi_config("micro", vocab_size=VOCAB, **SIZES)
    model = AlibiBertModel(config) if kind == "encoder" else AlibiBertForMaskedLM(config)
    write_published(model, folder)
    text = "".join(np.random.default_rng(1).choice(list("ACGT"), 3000))
    tokenizer = train_bpe([text], VOCAB)
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer.json"  # some published copies pad to 2000 tokens
    content = json.loads(path.read_text())
    content["truncation"] = {
        "direction": "Right", "max_length": 2000, "strategy": "LongestFirst", "stride": 0,
    }  # fmt: skip
    content["padding"] = {
        "strategy": {"Fixed": 2000}, "direction": "Right", "pad_to_multiple_of": None,
        "pad_id": 3, "pad_type_id": 0, "pad_token": "[PAD]",
    }  # fmt: skip
    path.write_text(json.dumps(content))
    return model


@pytest.fixture
def run(tmp_path, call_main):
    def call(folder, out="converted"):
        status, *said = call_main("convert", folder, tmp_path / out)
        return status, tmp_path / out, *said

    return call


@pytest.mark.parametrize("kind", ["encoder", "mlm"])
def test_a_published_folder_becomes_one_that_loads(run, tmp_path, kind):
    source = tmp_path / "published"
    model = publish(source, kind)
    status, out, said, complaints = run(source)
    assert (status, complaints) == (0, "")
    found = load_alibi(out, kind).state_dict()
    assert found.keys() == model.state_dict().keys()
    assert all(torch.equal(found[name], value) for name, value in model.state_dict().items())
    assert (out / "model.safetensors").is_file() and not (out / "pytorch_model.bin").exists()
    assert load_encoder(out)[0].config.pad_token_id == 3
    assert load_bpe(out).get_vocab() == load_bpe(source).get_vocab()
    tokens = json.loads((out / "tokenizer.json").read_text())
    assert tokens["padding"] is None and tokens["truncation"] is None
    sha = hashlib.sha256((source / "pytorch_model.bin").read_bytes()).hexdigest()
    assert f"read\t{source / 'pytorch_model.bin'}\tsha256 {sha}\n" in said
    n = sum(p.numel() for p in model.parameters())
    n_tensors = len(model.state_dict())
    assert f"{out}: {kind}, {n_tensors} tensors, {n:,} parameters, {VOCAB} tokens\n" in said
    record = json.loads((out / "conversion.json").read_text())
    assert record["read"]["pytorch_model.bin"] == sha and record["kind"] == kind
    assert record["n_parameters"] == n
    for name, expected in record["written"].items():
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == expected


def edit(folder, change):
    weights = torch.load(folder / "pytorch_model.bin", weights_only=True)
    change(weights)
    torch.save(weights, folder / "pytorch_model.bin")


BAD = {
    "missing": (lambda w: w.pop("embeddings.LayerNorm.weight"), "embeddings.LayerNorm.weight"),
    "unexpected": (lambda w: w.update({"encoder.extra": torch.zeros(2)}), "encoder.extra"),
    "shape": (lambda w: w.update({"embeddings.LayerNorm.weight": torch.zeros(2)}), "expected [32]"),
    "stock": (lambda w: w.update({"embeddings.position_embeddings.weight": torch.zeros(2)}),
              "is a stock BERT"),
    "vocabulary": (lambda w: w, "the tokenizer has 40 tokens, the model 41"),
    "code": (lambda w: w.update({"encoder.extra": Exception("no tensor")}), "no readable weights"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_a_bad_checkpoint_is_one_sentence_and_leaves_nothing(run, tmp_path, what):
    change, message = BAD[what]
    source = tmp_path / "published"
    publish(source, "encoder")
    if what == "vocabulary":
        config = alibi_config("micro", vocab_size=VOCAB + 1, **SIZES)
        write_published(AlibiBertModel(config), source)
    else:
        edit(source, change)
    status, out, said, complaints = run(source)
    assert (status, said) == (2, "") and message in complaints, complaints
    assert complaints.startswith("convert: ") and complaints.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["published"] and not out.exists()


def test_a_pooler_beside_a_masked_lm_head_is_not_dropped_silently(run, tmp_path):
    publish(tmp_path / "published", "mlm")
    edit(tmp_path / "published", lambda w: w.update({"bert.pooler.dense.weight": torch.zeros(2)}))
    status, _, _, complaints = run(tmp_path / "published")
    assert status == 2 and "1 weights have no place in the model" in complaints


@pytest.mark.parametrize("name", ["config.json", "pytorch_model.bin", "tokenizer.json"])
def test_an_incomplete_folder_is_told(run, tmp_path, name):
    publish(tmp_path / "published", "encoder")
    (tmp_path / "published" / name).unlink()
    status, out, _, complaints = run(tmp_path / "published")
    expected = {"pytorch_model.bin": "has no weights"}.get(name, name)
    assert status == 2 and expected in complaints and not out.exists()


def test_nothing_is_written_over(run, tmp_path):
    publish(tmp_path / "published", "encoder")
    before = (tmp_path / "published" / "config.json").read_bytes()
    status, _, _, complaints = run(tmp_path / "published", out="published")
    assert status == 2 and "is not empty; name a new folder" in complaints
    assert (tmp_path / "published" / "config.json").read_bytes() == before
    status, _, _, complaints = run(tmp_path / "absent")
    assert status == 2 and "absent: no such file, expected a folder with config.json" in complaints
