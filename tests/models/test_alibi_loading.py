"""Loading published and own checkpoints: everything fits, or the error names what does not."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import BertConfig, BertModel

from genomelm_utils.models.alibi_bert import (
    AlibiBertForMaskedLM,
    AlibiBertForSequenceClassification,
    AlibiBertModel,
    alibi_config,
)
from genomelm_utils.models.alibi_loading import load_alibi, write_published

CLASSES = {
    "encoder": AlibiBertModel,
    "mlm": AlibiBertForMaskedLM,
    "classifier": AlibiBertForSequenceClassification,
}
IDS = torch.tensor([[1, 9, 8, 7, 20, 2], [1, 30, 31, 2, 3, 3]])


def build(kind: str) -> torch.nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(6)
        return CLASSES[kind](alibi_config("micro", vocab_size=64)).eval()


def hidden(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return getattr(model, "bert", model)(IDS).last_hidden_state


def change_weights(folder: Path, change) -> None:
    file = folder / "pytorch_model.bin"
    weights = torch.load(file, weights_only=True)
    change(weights)
    torch.save(weights, file)


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A folder laid out as DNABERT-S's: bare keys with pooler, model_type 'bert', pad id 0."""
    return write_published(build("encoder"), tmp_path / "dnabert-s")


@pytest.mark.parametrize("layout", ["published", "own", "safetensors"])
@pytest.mark.parametrize("kind", CLASSES)
def test_every_layout_of_every_kind_loads(kind: str, layout: str, tmp_path: Path) -> None:
    model = build(kind)
    if layout == "own":
        model.save_pretrained(tmp_path)
    else:
        write_published(model, tmp_path)
    if layout == "safetensors":
        (tmp_path / "pytorch_model.bin").unlink()
        state = {k: v.clone() for k, v in model.state_dict().items()}
        save_file(state, tmp_path / "model.safetensors")
    loaded = load_alibi(tmp_path, kind)
    assert type(loaded) is CLASSES[kind]
    assert not loaded.training
    assert loaded.config.pad_token_id == 3
    state = loaded.state_dict()
    assert all(torch.equal(state[k], v) for k, v in model.state_dict().items())
    with torch.no_grad():
        assert torch.equal(loaded(IDS)[0], model(IDS)[0])
    encoder = load_alibi(tmp_path)
    assert torch.equal(hidden(encoder), hidden(model))
    assert (encoder.pooler is None) == (kind == "mlm")  # DNABERT-2 has none; none is made up


def test_the_published_config_s_wrong_pad_id_is_corrected(
    published: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert json.loads((published / "config.json").read_text())["pad_token_id"] == 0
    with caplog.at_level("INFO"):
        load_alibi(published)
    assert "pad_token_id 0 corrected to 3" in caplog.text


def test_missing_and_unexpected_weights_are_named(published: Path) -> None:
    change_weights(published, lambda w: w.pop("encoder.layer.1.mlp.wo.bias"))
    with pytest.raises(ValueError, match=r"1 missing weights \(encoder.layer.1.mlp.wo.bias\)"):
        load_alibi(published)
    change_weights(published, lambda w: w.update({"encoder.layer.7.strange": torch.ones(1)}))
    with pytest.raises(ValueError, match=r"1 unexpected weights \(encoder.layer.7.strange\)"):
        load_alibi(published)


def test_wrong_shapes_are_named(published: Path) -> None:
    change_weights(published, lambda w: w.update({"embeddings.LayerNorm.weight": torch.ones(5)}))
    with pytest.raises(ValueError, match=r"embeddings.LayerNorm.weight is \[5\], expected \[128\]"):
        load_alibi(published)


def test_a_pooler_cut_in_half_is_missing_weights(published: Path) -> None:
    change_weights(published, lambda w: w.pop("pooler.dense.bias"))
    with pytest.raises(ValueError, match=r"missing weights \(pooler.dense.bias\)"):
        load_alibi(published)


def test_heads_that_are_not_there_are_not_made_up(published: Path) -> None:
    with pytest.raises(ValueError, match=r"no masked-LM head.*DNABERT-2-117M does"):
        load_alibi(published, "mlm")
    with pytest.raises(ValueError, match=r"no classifier head.*give n_labels"):
        load_alibi(published, "classifier")


def test_a_new_classifier_head_is_asked_for_and_seeded(published: Path) -> None:
    before = torch.random.get_rng_state()
    first = load_alibi(published, "classifier", n_labels=5, seed=1)
    again = load_alibi(published, "classifier", n_labels=5, seed=1)
    other = load_alibi(published, "classifier", n_labels=5, seed=2)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert first.classifier.weight.shape == (5, 128)
    assert torch.equal(first.classifier.weight, again.classifier.weight)
    assert not torch.equal(first.classifier.weight, other.classifier.weight)
    assert torch.equal(hidden(first), hidden(load_alibi(published)))
    with pytest.raises(ValueError, match="n_labels is for kind='classifier'"):
        load_alibi(published, n_labels=2)


def test_stock_bert_is_refused_by_both_loaders(tmp_path: Path) -> None:
    """Read as if it were ALiBi BERT it would be mostly random weights (and the other way round)."""
    config = BertConfig(
        vocab_size=64,
        hidden_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=256,
        attention_probs_dropout_prob=0.0,
    )
    BertModel(config).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="is a stock BERT"):
        load_alibi(tmp_path)
    with pytest.raises(ValueError, match=r"missing weights .*attention.self.Wqkv"):
        AlibiBertModel.from_pretrained(tmp_path)


def test_folders_without_their_files(tmp_path: Path, published: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no config\.json"):
        load_alibi(tmp_path)
    (published / "pytorch_model.bin").rename(published / "weights.ckpt")
    with pytest.raises(FileNotFoundError, match=r"no weights.*found config.json, weights.ckpt"):
        load_alibi(published)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors"])
@pytest.mark.parametrize("content", ["lfs", "cut", "empty"])
def test_damaged_files(name: str, content: str, tmp_path: Path) -> None:
    model = build("encoder")
    write_published(model, tmp_path)
    if name == "model.safetensors":
        save_file(model.state_dict(), tmp_path / name)
    file = tmp_path / name
    whole = file.read_bytes()
    lfs = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
    file.write_bytes({"lfs": lfs, "cut": whole[: len(whole) // 2], "empty": b""}[content])
    hint = "Git LFS pointer" if content == "lfs" else "damaged"
    with pytest.raises(ValueError, match=f"no readable weights.*{hint}"):
        load_alibi(tmp_path)


class Code:
    """Would run code when unpickled."""

    def __reduce__(self):
        return (print, ("this must never run",))


def test_code_in_a_weights_file_is_never_run(
    published: Path, capsys: pytest.CaptureFixture
) -> None:
    torch.save({"x": Code()}, published / "pytorch_model.bin")
    with pytest.raises(ValueError, match="hold more than tensors"):
        load_alibi(published)
    assert "never run" not in capsys.readouterr().out
    torch.save([torch.ones(1)], published / "pytorch_model.bin")
    with pytest.raises(ValueError, match="expected a state dict"):
        load_alibi(published)


def test_other_configurations_are_refused(published: Path) -> None:
    path = published / "config.json"
    fields = json.loads(path.read_text())
    for change, message in (
        ({"model_type": "esm"}, "model_type is 'esm', expected 'bert'"),
        ({"attention_probs_dropout_prob": 0.1}, "expected 0.0"),
        ({"hidden_act": "relu"}, "expected 'gelu'"),
        ({"num_hidden_layers": 3}, "missing weights .encoder.layer.2"),
        ({"intermediate_size": 128}, "do not fit config.json"),
    ):
        path.write_text(json.dumps({**fields, **change}))
        with pytest.raises(ValueError, match=message):
            load_alibi(published)
    with pytest.raises(ValueError, match="expected one of: encoder, mlm, classifier"):
        load_alibi(published, "pooled")


def test_untied_decoder_is_refused(tmp_path: Path) -> None:
    write_published(build("mlm"), tmp_path)
    key = "cls.predictions.decoder.weight"
    change_weights(tmp_path, lambda w: w.update({key: w[key] + 1}))
    with pytest.raises(ValueError, match="expected them to be tied"):
        load_alibi(tmp_path, "mlm")
