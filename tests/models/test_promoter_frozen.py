"""Networks around other models: k-mer ids and checkpoints of DNABERT, Enformer's features."""

import json
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from promoter_toys import MOTIFS, random_rows, small_net
from torch import nn
from transformers import BertConfig, BertForMaskedLM, BertModel

from genomelm_utils.models.presets import bert_config, build_masked_lm
from genomelm_utils.models.promoter_blocks import stack_codes
from genomelm_utils.models.promoter_nets import (
    BACKBONES,
    PromoterConfig,
    PromoterNet,
    build_promoter_net,
    load_promoter_net,
)
from genomelm_utils.models.promoter_sizes import sizes_of
from genomelm_utils.pretraining.mlm import save_pretrained
from genomelm_utils.tokenizers.kmer import PAD, encode_sequences

HEADS = {"a": ["x", "y"]}
THREE = {"Fluorescence": ["JURKAT", "K562", "THP1"]}
CODES = stack_codes(random_rows([100, 57]))


def test_ids_are_those_of_the_tokenizer() -> None:
    net = small_net("DNABERTRandomInit").backbone
    rows = random_rows([100, 57, 6])
    ids, mask = net.token_ids(stack_codes(rows), torch.tensor([100, 57, 6]))
    expected, lengths = encode_sequences(rows, 6)
    assert torch.equal(ids, expected)
    assert torch.equal(mask.sum(1), lengths)
    assert torch.equal(mask, expected != PAD)


def test_published_size_and_number_of_ids() -> None:
    config = PromoterConfig(
        backbone="DNABERTRandomInit",
        sizes={"bert": bert_config("dnabert6").to_dict(), "pooling": "pooler"},
    )
    with torch.device("meta"):
        net = BACKBONES["DNABERTRandomInit"].build(config)
    assert sum(p.numel() for p in net.parameters()) == 89_190_912
    assert net.width == 768
    toy = small_net("DNABERTRandomInit").backbone
    ids, _ = toy.token_ids(stack_codes(random_rows([250])), None)
    assert ids.shape == (1, 247)


def test_our_masked_language_model_serves_by_its_mean(tmp_path: Path) -> None:
    pretrained = build_masked_lm("micro", seed=3)
    save_pretrained(pretrained, tmp_path / "mlm")
    net = build_promoter_net("DNABERT", HEADS, checkpoint=tmp_path / "mlm").eval()
    assert net.config.sizes["pooling"] == "mean"
    ids, lengths = encode_sequences(random_rows([100, 57]), 6)
    with torch.no_grad():
        hidden = pretrained.eval().bert(ids, attention_mask=(ids != PAD).long()).last_hidden_state
        means = [hidden[i, 1 : n - 1].mean(0) for i, n in enumerate(lengths.tolist())]
        assert torch.allclose(net.embed(CODES), torch.stack(means), atol=1e-5)
    net.save_pretrained(tmp_path / "net")  # needs the checkpoint no longer
    with torch.no_grad():
        assert torch.allclose(load_promoter_net(tmp_path / "net")(CODES).logits, net(CODES).logits)


def write_published(folder: Path, change=None) -> BertModel:
    """A folder laid out as DNABERT's: prefix, pooler, masked-LM head, pytorch_model.bin."""
    config = bert_config("micro")
    torch.manual_seed(1)
    encoder, masked_lm = BertModel(config), BertForMaskedLM(config)
    weights = {f"bert.{name}": value for name, value in encoder.state_dict().items()}
    heads = {k: v for k, v in masked_lm.state_dict().items() if k.startswith("cls.")}
    weights |= {name: value.clone() for name, value in heads.items()}
    if change:
        change(weights)
    folder.mkdir()
    torch.save(weights, folder / "pytorch_model.bin")
    config.architectures = ["BertForMaskedLM"]
    config.save_pretrained(folder)
    return encoder.eval()


def test_a_published_folder_serves_by_its_pooler(tmp_path: Path) -> None:
    encoder = write_published(tmp_path / "published")
    net = build_promoter_net("DNABERT", HEADS, checkpoint=tmp_path / "published").eval()
    assert net.config.sizes["pooling"] == "pooler"
    ids, _ = encode_sequences(random_rows([100, 57]), 6)
    with torch.no_grad():
        expected = encoder(ids, attention_mask=(ids != PAD).long()).pooler_output
        assert torch.allclose(net.embed(CODES), expected, atol=1e-5)
    mean = build_promoter_net("DNABERT", HEADS, checkpoint=tmp_path / "published", pooling="mean")
    with torch.no_grad():
        assert not torch.allclose(mean.eval().embed(CODES), expected, atol=1e-2)


def test_checkpoints_that_do_not_fit(tmp_path: Path) -> None:
    lost = "bert.encoder.layer.1.output.dense.bias"
    write_published(tmp_path / "lost", lambda w: w.pop(lost))
    with pytest.raises(ValueError, match=r"1 missing weights \(encoder.layer.1.output.dense.bias"):
        build_promoter_net("DNABERT", HEADS, checkpoint=tmp_path / "lost")
    write_published(tmp_path / "half", lambda w: w.pop("bert.pooler.dense.bias"))
    with pytest.raises(ValueError, match=r"1 missing weights \(pooler.dense.bias"):
        build_promoter_net("DNABERT", HEADS, checkpoint=tmp_path / "half")
    save_pretrained(build_masked_lm("micro", seed=3), tmp_path / "mlm")
    with pytest.raises(ValueError, match="pooling 'pooler' needs a checkpoint with a pooler"):
        build_promoter_net("DNABERT", HEADS, checkpoint=tmp_path / "mlm", pooling="pooler")
    BertConfig(vocab_size=30522).save_pretrained(tmp_path / "text")
    with pytest.raises(ValueError, match="30522 tokens is no k-mer vocabulary"):
        build_promoter_net("DNABERT", HEADS, checkpoint=tmp_path / "text")
    with pytest.raises(FileNotFoundError, match=r"config\.json does not exist"):
        build_promoter_net("DNABERT", HEADS, checkpoint=tmp_path / "nowhere")


def test_motif_network_counts_and_may_be_given_counts() -> None:
    net = small_net("MotifBasedFCN")
    counts = net.backbone.scanner(CODES)
    assert counts.tolist() == [[1, 1], [1, 1]]
    with torch.no_grad():
        assert torch.equal(net.embed(CODES), net.backbone.forward_counts(counts))
        assert not torch.equal(net.embed(CODES), net.backbone.forward_counts(counts + 1))
    assert net.config.sizes["motifs"] == list(MOTIFS)


class FakeEnformer(nn.Module):
    """As enformer-pytorch's class as far as it is used: letters in, bins of 128 bases out."""

    def __init__(self, dim: int, output_heads: dict[str, int], **other: object) -> None:
        super().__init__()
        self.config = SimpleNamespace(dim=dim, output_heads=output_heads, **other)
        self.letters = nn.Embedding(5, 2 * dim)
        self.dropout = nn.Dropout(0.5)
        self._heads = nn.ModuleDict({k: nn.Linear(2 * dim, n) for k, n in output_heads.items()})

    @classmethod
    def from_hparams(cls, **sizes: object) -> "FakeEnformer":
        return cls(**sizes)

    def forward(self, letters: torch.Tensor, return_only_embeddings: bool = False):
        assert letters.dtype == torch.long
        assert letters.min() >= 0
        assert letters.max() <= 4
        n_bins = letters.shape[1]
        for _ in range(7):
            n_bins = -(-n_bins // 2)
        places = torch.linspace(0, letters.shape[1] - 1, n_bins).long()
        bins = self.dropout(self.letters(letters).cumsum(1)[:, places])
        if return_only_embeddings:
            return bins
        return {name: head(bins) for name, head in self._heads.items()}


def write_enformer(folder: Path, model: nn.Module, **fields: object) -> Path:
    """A folder as enformer-pytorch's models are published in."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(fields))
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    return folder


@pytest.fixture
def enformer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder of a stand-in."""
    module = ModuleType("enformer_pytorch")
    module.Enformer = FakeEnformer
    monkeypatch.setitem(sys.modules, "enformer_pytorch", module)
    torch.manual_seed(5)
    fields = {"dim": 4, "output_heads": {"human": 5313, "mouse": 1643}, "depth": 1, "heads": 1}
    return write_enformer(tmp_path / "enformer", FakeEnformer(**fields), **fields)


def test_enformer_s_features_are_frozen_and_weighed(enformer: Path, tmp_path: Path) -> None:
    net = build_promoter_net("EnformerFrozenBase", HEADS, checkpoint=enformer)
    donor = torch.load(enformer / "pytorch_model.bin")
    assert torch.equal(net.backbone.trunk.letters.weight, donor["letters.weight"])
    net.train()
    assert not net.backbone.trunk.training
    codes = stack_codes(random_rows([250, 250, 131]))
    out = net(codes)
    out.logits.sum().backward()
    learning = {name for name, p in net.named_parameters() if p.grad is not None}
    assert learning == {
        *("backbone.weigh.weight", "backbone.weigh.bias"),
        *("heads.a.weight", "heads.a.bias"),
    }
    assert torch.equal(net(codes).logits, out.logits)  # no dropout in the trunk
    bins = net.backbone.bins(codes[:2])
    assert bins.shape == (2, 2, 8)
    weights = net.backbone.weigh(bins).softmax(1)
    assert torch.allclose(out.embedding[:2], (weights * bins).sum(1), atol=1e-6)
    assert torch.allclose(net.embed(codes[2:, :131]), out.embedding[2:], atol=1e-6)
    net.save_pretrained(tmp_path / "net")
    assert torch.allclose(load_promoter_net(tmp_path / "net")(codes).logits, out.logits)
    with pytest.raises(FileNotFoundError, match="expected the folder of an Enformer"):
        build_promoter_net("Enformer", HEADS, checkpoint=tmp_path)


needs_enformer = pytest.mark.skipif(
    find_spec("enformer_pytorch") is None,
    reason="enformer-pytorch is not installed (see ENFORMER_HINT)",
)


@needs_enformer
def test_a_new_enformer_has_the_published_size_and_its_own_first_weights() -> None:
    """Source: golden facts: 229,854,723 with three outputs; beside them the weights of bins."""
    config = PromoterConfig(
        backbone="EnformerRandomInit", sizes=sizes_of("EnformerRandomInit", {}), heads=THREE
    )
    with torch.device("meta"):
        net = PromoterNet(config)
    assert sum(p.numel() for p in net.parameters()) == 229_854_723 + 3_073
    small = {"dim": 384, "depth": 1, "heads": 4, "output_heads": {}, "target_length": -1}
    net = build_promoter_net("EnformerRandomInit", THREE, enformer=small)
    named = dict(net.backbone.trunk.named_parameters())
    out = next(value for name, value in named.items() if name.endswith("to_out.weight"))
    assert not out.any()  # attention begins as nothing, which PreTrainedModel would undo


@needs_enformer
@pytest.mark.parametrize("half", ["_trunk.", "stem."])
def test_the_real_enformer_is_read_and_saved(half: str, tmp_path: Path) -> None:
    """Its class registers every part twice; a published file may hold one name of the two."""
    real = pytest.importorskip("enformer_pytorch").Enformer
    fields = {"dim": 384, "depth": 1, "heads": 4, "output_heads": {"human": 7, "mouse": 3}}
    donor = real.from_hparams(**fields, target_length=-1).eval()
    folder = write_enformer(tmp_path / "enformer", donor, **fields)
    other = "stem." if half == "_trunk." else "_trunk.1."
    weights = {k: v for k, v in donor.state_dict().items() if not k.startswith(other)}
    torch.save(weights, folder / "pytorch_model.bin")
    net = build_promoter_net("Enformer", HEADS, checkpoint=folder).eval()
    codes = stack_codes(random_rows([250, 1177]))
    with torch.no_grad():
        letters = codes[1:].long().clamp(max=4)  # N for whatever is not definite
        bins = donor(letters, return_only_embeddings=True)
        assert bins.shape == (1, 10, 768)
        assert torch.allclose(net.backbone.bins(codes[1:]), bins)
        out = net(codes)
        assert torch.allclose(out.logits[:1], net(codes[:1, :250]).logits, atol=1e-6)
        net.save_pretrained(tmp_path / "net")
        assert torch.allclose(load_promoter_net(tmp_path / "net")(codes).logits, out.logits)


def test_enformer_s_tracks_of_the_construct(enformer: Path) -> None:
    net = build_promoter_net("Enformer", HEADS, checkpoint=enformer).eval().backbone
    codes = stack_codes(random_rows([1177]))
    assert net.bins(codes).shape == (1, 10, 8)
    assert sizes_of("Enformer", {})["enformer"]["dim"] * 2 == 3072
    flanks = {"upstream": "ACGT" * 5, "downstream": "T" * 907}
    tracks = build_promoter_net(
        "EnformerFullFrozenBase", HEADS, length_bp=250, checkpoint=enformer, **flanks
    ).backbone
    assert tracks.width == 69_560
    around = torch.cat([torch.tensor([[0, 1, 2, 3] * 5], dtype=torch.uint8), codes[:, :250],
                        torch.full((1, 907), 3, dtype=torch.uint8)], 1)  # fmt: skip
    found = net.trunk(around.long().clamp(max=4))
    expected = torch.cat([found["human"], found["mouse"]], -1).flatten(1)
    assert torch.allclose(tracks(codes[:, :250]), expected)


def test_enformer_learns_unless_it_is_frozen(enformer: Path) -> None:
    codes = stack_codes(random_rows([128, 128]))
    for name, learns in (("Enformer", True), ("EnformerFrozenBase", False)):
        net = build_promoter_net(name, HEADS, checkpoint=enformer).train()
        assert net.backbone.trunk.training is learns
        net(codes).logits.sum().backward()
        assert (net.backbone.trunk.letters.weight.grad is not None) is learns
        assert all(p.grad is None for p in net.backbone.trunk._heads.parameters())


def test_without_enformer_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "enformer_pytorch", None)
    with pytest.raises(ImportError, match="pip install --no-deps enformer-pytorch"):
        build_promoter_net("Enformer", HEADS, checkpoint="anywhere")
