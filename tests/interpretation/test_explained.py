"""Every kind of model of the stages goes through the same call."""

import sys
import types

import numpy as np
import pytest
import torch
from explained_toys import scanner
from torch import nn
from transformers import DistilBertConfig, DistilBertForSequenceClassification

from genomelm_utils.baselines.promoter_cnn import PromoterCnn
from genomelm_utils.interpretation.attribution import attribute, attribute_as_released
from genomelm_utils.interpretation.explained import score_table
from genomelm_utils.interpretation.explained_bases import OneHotNetwork, explain_promoter_net
from genomelm_utils.interpretation.explained_tokens import (
    EncoderLikeness,
    ExpressionRegressor,
    TokenClassifier,
)
from genomelm_utils.models.alibi_bert import AlibiBertForSequenceClassification, AlibiBertModel
from genomelm_utils.models.alibi_config import alibi_config
from genomelm_utils.models.expression_heads import build_expression_model
from genomelm_utils.models.florabert import flora_config
from genomelm_utils.sequences.alphabet import decode
from genomelm_utils.tasks.expression_rows import pooled_ids
from genomelm_utils.tasks.label_transform import LabelTransform
from genomelm_utils.tasks.regression_modes import Mode
from genomelm_utils.tasks.regressor import Regressor
from genomelm_utils.tokenizers.bpe import train_bpe
from genomelm_utils.tokenizers.byte_bpe import train_byte_bpe

TISSUES = ("root", "leaf")


def sequences(lengths=(30, 18, 41), seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 4, n).astype(np.uint8) for n in lengths]


def check(model, codes, target, steps=100, **options):
    """Completeness, the value explained, and a score for every base that is read."""
    found = attribute(model, codes, target=target, steps=steps, **options)
    assert [len(one) for one in found.base] == [len(one) for one in codes]
    difference = (found.table["value"] - found.table["baseline_value"]).abs()
    assert difference.max() > 1e-3
    assert found.table["gap"].abs().max() < 0.03 * difference.max()
    assert found.table["total"].to_numpy() == pytest.approx(
        [one.sum() for one in found.base], abs=1e-5
    )
    assert found.table["value"].to_numpy() == pytest.approx(
        score_table(model.predict(codes), found.table["target"].to_numpy(), found.scale), abs=1e-4
    )
    alone = attribute(model, codes[1:2], target=target, steps=steps, **options)
    assert alone.base[0] == pytest.approx(found.base[1], abs=1e-3 * max(difference.max(), 1))
    return found


def random_text(n=400, seed=9):
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice(list("ACGT"), 60)) for _ in range(n)]


@pytest.fixture(scope="module")
def byte_tokenizer():
    return train_byte_bpe(random_text(100), 40, alphabet="dna", max_tokens=64)


@pytest.mark.parametrize("positions", ["corrected", "reference"])
@pytest.mark.parametrize("pooling", ["mean", "attention"])
def test_an_expression_regressor(byte_tokenizer, positions, pooling):
    config = flora_config(
        "nano", vocab_size=len(byte_tokenizer), max_tokens=64, positions=positions, hidden_size=16,
        num_attention_heads=2, intermediate_size=32, initializer_range=0.2,
    )  # fmt: skip
    network = build_expression_model(
        config, TISSUES, special_ids=pooled_ids(byte_tokenizer), pooling=pooling,
        pad_id=byte_tokenizer.pad_token_id,
    )  # fmt: skip
    regressor = Regressor(network.eval(), byte_tokenizer, LabelTransform(TISSUES), Mode(), 64)
    model = ExpressionRegressor(regressor, gap_bp=5)
    codes = sequences()
    found = check(model, codes, "leaf")
    tokens = found.tokens[(found.tokens["sequence"] == 2) & (found.tokens["end"] > 0)]
    assert tokens["start"].tolist() == [0, *tokens["end"].tolist()[:-1]]
    assert tokens["end"].iloc[-1] == 41
    assert model.predict(codes)[:, 1] == pytest.approx(found.table["value"].to_numpy(), abs=1e-5)


def test_bases_that_a_regressor_does_not_read_get_nothing(byte_tokenizer):
    config = flora_config("nano", vocab_size=len(byte_tokenizer), max_tokens=12, hidden_size=16,
                          num_attention_heads=2, intermediate_size=32)  # fmt: skip
    network = build_expression_model(config, TISSUES, special_ids=pooled_ids(byte_tokenizer),
                                     pad_id=byte_tokenizer.pad_token_id)  # fmt: skip
    regressor = Regressor(network.eval(), byte_tokenizer, LabelTransform(TISSUES), Mode(), 12)
    found = attribute(ExpressionRegressor(regressor), sequences((80,)), target="root")
    assert (found.base[0][:30] == 0).all() and (found.base[0][-10:] != 0).any()


def unigram_tokenizer():
    """As genomeNLP's: unigram with a space mark before the sequence and no special tokens in it."""
    from tokenizers import SentencePieceUnigramTokenizer
    from transformers import PreTrainedTokenizerFast

    backend = SentencePieceUnigramTokenizer()
    backend.train_from_iterator(
        random_text(), vocab_size=60, unk_token="<unk>", show_progress=False,
        special_tokens=["<s>", "</s>", "<unk>", "<pad>", "<mask>"],
    )  # fmt: skip
    return PreTrainedTokenizerFast(
        tokenizer_object=backend._tokenizer, unk_token="<unk>", pad_token="<pad>",
        mask_token="<mask>", cls_token="<cls>", sep_token="<sep>",
    )  # fmt: skip


def distilbert(n_ids):
    config = DistilBertConfig(
        vocab_size=n_ids, dim=16, n_heads=2, n_layers=2, hidden_dim=32, num_labels=2,
        max_position_embeddings=64, initializer_range=0.3,
    )  # fmt: skip
    torch.manual_seed(0)
    return DistilBertForSequenceClassification(config).eval()


def test_distilbert_on_unigram_tokens_and_what_the_reference_adds():
    tokenizer = unigram_tokenizer()
    network = distilbert(len(tokenizer))
    codes = sequences()
    found = check(TokenClassifier(network, tokenizer, ["NEGATIVE", "POSITIVE"]), codes, "POSITIVE")
    read = found.tokens[found.tokens["end"] > found.tokens["start"]]
    widths = read["token"].str.strip("▁").str.len()
    assert ((read["end"] - read["start"]) == widths).all()
    assert read.groupby("sequence")["end"].max().tolist() == [30, 18, 41]
    assert not set(found.tokens["token"]) & {"<cls>", "<sep>"}
    model = TokenClassifier(network, tokenizer, specials="reference")
    wrapped = attribute_as_released(model, codes)
    squares = wrapped.tokens["score"].pow(2).groupby(wrapped.tokens["sequence"]).sum()
    assert squares.to_numpy() == pytest.approx([1, 1, 1])
    first = wrapped.tokens[wrapped.tokens["sequence"] == 0]
    assert (first["token"].iloc[0], first["token"].iloc[-1]) == ("<cls>", "<sep>")
    assert wrapped.table["value"].to_numpy() != pytest.approx(
        attribute(TokenClassifier(network, tokenizer), codes, scale="probability", baseline="pad")
        .table["value"].to_numpy(), abs=1e-4,
    )  # fmt: skip


@pytest.mark.parametrize("pooling", ["mean", "cls", "first"])
def test_a_trained_genomicbert_reads_its_rows_as_in_training(pooling):
    from genomelm_utils.interpretation.explained_sequences import SequenceClassifier
    from genomelm_utils.models.sequence_classifier import build_config, build_network
    from genomelm_utils.tasks.sequence_models import SequenceModel, unigram_tokens
    from genomelm_utils.tokenizers.unigram import train_unigram

    tokenizer = train_unigram(random_text(100), 60)
    tokens = unigram_tokens(len(tokenizer) - 2)
    names = ("NEGATIVE", "POSITIVE")
    config = build_config(
        "distilbert", tokens.n_ids, names, pad_id=tokens.pad_id, positions=64, layers=1, width=16,
        heads=2, inner=32,
    )  # fmt: skip
    network = build_network(config, 0).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.mul_(2)
    trained = SequenceModel(network, tokens, names, pooling)
    codes = sequences()
    found = check(SequenceClassifier(trained, tokenizer), codes, "POSITIVE")
    rows = [
        np.array(tokenizer(decode(one), add_special_tokens=False)["input_ids"], dtype=np.int32)
        for one in codes
    ]
    odds = trained.predict(rows)
    assert found.table["value"].to_numpy() == pytest.approx(
        np.log(odds[:, 1] / odds[:, 0]), abs=1e-4
    )


def test_rows_longer_than_the_model_are_named():
    tokenizer = unigram_tokenizer()
    model = TokenClassifier(distilbert(len(tokenizer)), tokenizer)
    with pytest.raises(ValueError, match=r"sequence 1 .* tokens, the model reads 64; cut"):
        attribute(model, sequences((20, 400)))


@pytest.fixture(scope="module")
def bpe_tokenizer():
    return train_bpe(random_text(60), 60)


def small_alibi(n_ids):
    return alibi_config(
        "nano", vocab_size=n_ids, hidden_size=16, num_attention_heads=2, intermediate_size=32,
        num_hidden_layers=2, initializer_range=0.3,
    )  # fmt: skip


def test_an_alibi_classifier_and_an_encoder_by_likeness(bpe_tokenizer):
    config = small_alibi(len(bpe_tokenizer))
    torch.manual_seed(1)
    classifier = AlibiBertForSequenceClassification(config).eval()
    check(TokenClassifier(classifier, bpe_tokenizer), sequences(), 1)
    encoder = AlibiBertModel(config, add_pooling_layer=False).eval()
    directions = np.random.default_rng(0).normal(size=(3, 16))
    model = EncoderLikeness(encoder, bpe_tokenizer, directions, ["E. coli", "yeast", "man"])
    found = check(model, sequences(), "yeast")
    assert found.scale == "value" and np.abs(model.predict(sequences())).max() <= 1
    with pytest.raises(ValueError, match="one row each"):
        EncoderLikeness(encoder, bpe_tokenizer, directions, ["one"])


def test_the_convolutional_network_of_promoters():
    torch.manual_seed(0)
    cnn = PromoterCnn(2).eval()
    with torch.no_grad():
        for parameter in cnn.parameters():
            parameter.normal_(0, 0.3)

    def call(hot, codes):
        return cnn.read(hot, codes, torch.zeros(len(codes), dtype=torch.int64))

    model = OneHotNetwork(cnn, call, TISSUES, batched=False)
    check(model, sequences((40, 40)), "leaf", steps=400, baseline="pad")


def promoter_toy(flank: int):
    """A network like those of promoter activity: one-hot codes by a function of its module."""
    module = types.ModuleType("promoter_toy_module")

    def one_hot(codes_BL, ambiguous="zeros", dtype=torch.float32):
        bases = torch.arange(4, dtype=codes_BL.dtype)
        return (codes_BL[:, None, :] == bases[:, None]).to(dtype)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 2)

        def pick_task(self, task):
            return task or "activity"

        def outputs(self, task):
            return TISSUES

        def forward(self, codes_BL, task=None):
            around = torch.full((len(codes_BL), flank), 2, dtype=codes_BL.dtype)
            placed = torch.cat([around, codes_BL, around], 1)
            hot_BCL = module.one_hot(placed)
            values = torch.tanh(self.linear(hot_BCL.transpose(1, 2))).sum(1)
            return types.SimpleNamespace(logits=values)

    module.one_hot, Net.__module__ = one_hot, module.__name__
    sys.modules[module.__name__] = module
    torch.manual_seed(0)
    return Net().eval(), module


@pytest.mark.parametrize("flank", [0, 7])
def test_promoter_networks_are_read_through_their_one_hot_function(flank):
    network, module = promoter_toy(flank)
    original = module.one_hot
    model = explain_promoter_net(network)
    check(model, sequences((40, 40)), "leaf", baseline="pad")
    assert module.one_hot is original
    found = attribute(model, sequences((40,)), "mutagenesis", target="leaf")
    assert np.abs(found.base[0]).max() > 0


def test_baselines_that_do_not_exist_are_named():
    codes = sequences((20,))
    with pytest.raises(ValueError, match="bases have no mask token"):
        attribute(scanner(), codes, baseline="mask")
    with pytest.raises(ValueError, match=r"other tokens|another number"):
        tokenizer = unigram_tokenizer()
        attribute(TokenClassifier(distilbert(len(tokenizer)), tokenizer), codes * 3,
                  baseline="shuffle", seed=3)  # fmt: skip


@pytest.mark.parametrize("name", ["MTLuciferMini", "LegNetMini", "ResNetMini", "PureCNN"])
def test_networks_of_promoter_activity(name):
    from genomelm_utils.models.promoter_nets import build_promoter_net

    lengths = (60, 60)
    network = build_promoter_net(name, {"sure": ["K562", "HepG2"]}, length_bp=60).eval()
    model = explain_promoter_net(network)
    assert model.outputs == ("K562", "HepG2")
    found = attribute(model, sequences(lengths), target="HepG2", steps=100)
    difference = (found.table["value"] - found.table["baseline_value"]).abs()
    assert found.table["gap"].abs().max() < 0.05 * difference.max() + 1e-3
    values = network(torch.from_numpy(np.stack(sequences(lengths)))).logits[:, 1]
    assert found.table["value"].to_numpy() == pytest.approx(values.detach().numpy(), abs=1e-4)
    changed = attribute(model, sequences(lengths)[:1], "mutagenesis", target="HepG2")
    assert np.abs(changed.base[0]).max() > 0


def test_flanks_of_malinois_are_not_explained():
    from genomelm_utils.models.promoter_nets import build_promoter_net

    network = build_promoter_net(
        "Malinois", {"mpra": ["K562"]}, channels=[8, 8, 8], width=16
    ).eval()
    found = attribute(explain_promoter_net(network), sequences((200,)), baseline="pad", steps=30)
    assert len(found.base[0]) == 200 and (found.base[0] != 0).any()
    assert abs(found.table["gap"][0]) < 0.05 * abs(
        found.table["value"][0] - found.table["baseline_value"][0]
    ) + 1e-3  # fmt: skip
