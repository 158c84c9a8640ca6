"""The encoder of DNABERT-S: the reference's own output, padding, mixing, sizes, saving.

golden/dnabert_s_forward.json: output of the reference module (MAGICS-LAB/DNABERT_S, commit ac01b55,
train/pretrain/DNABERT2_MIX/bert_layers.py, CPU, float32, evaluation mode) with weights filled by
the formula the file states.
"""

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM

from genomelm_utils.models.alibi_bert import (
    ALIBI_PRESETS,
    AlibiBertConfig,
    AlibiBertForMaskedLM,
    AlibiBertForSequenceClassification,
    AlibiBertModel,
    Mixing,
    alibi_config,
    mean_embedding,
)
from genomelm_utils.models.alibi_layers import Dropout

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "dnabert_s_forward.json").read_text())
PAD = 3
LENGTHS = [30, 20, 10, 25]


def fill_by_formula(model: AlibiBertModel) -> None:
    state = model.state_dict()
    assert sorted(state) == GOLDEN["keys"]
    for number, key in enumerate(sorted(state)):
        steps = torch.arange(state[key].numel(), dtype=torch.float64)
        values = 0.05 * torch.sin(0.37 * steps + 1.7 * number)
        if key.lower().endswith("layernorm.weight"):
            values += 1
        state[key].copy_(values.view(state[key].shape))


def small_model(cls: type = AlibiBertModel, **changes: float) -> torch.nn.Module:
    config = alibi_config("micro", vocab_size=64, **changes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return cls(config).eval()


def batch(lengths: list[int] = LENGTHS) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    ids = torch.full((len(lengths), max(lengths)), PAD)
    for row, length in enumerate(lengths):
        ids[row, :length] = torch.randint(5, 64, (length,), generator=generator)
    return ids


def test_output_is_the_references_own() -> None:
    model = AlibiBertModel(AlibiBertConfig(**GOLDEN["config"])).eval()
    fill_by_formula(model)
    rows = [torch.tensor(ids) for ids in GOLDEN["input_ids"]]
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD)
    with torch.no_grad():
        hidden = model(ids).last_hidden_state
    limit = GOLDEN["tolerance"]
    mean = mean_embedding(hidden, ids != PAD)
    assert (mean - torch.tensor(GOLDEN["masked_mean"])).abs().max() < limit
    assert (hidden[0, 0] - torch.tensor(GOLDEN["hidden_row0_token0"])).abs().max() < limit
    assert (hidden[1, 4] - torch.tensor(GOLDEN["hidden_row1_token4"])).abs().max() < limit
    assert torch.all(hidden[1, 5:] == 0)


def test_sizes_are_the_published_ones() -> None:
    with torch.device("meta"):
        encoder = AlibiBertModel(alibi_config("dnabert-s"))
        masked_lm = AlibiBertForMaskedLM(alibi_config("dnabert-s"))

    def count(module: torch.nn.Module) -> int:
        return sum(p.numel() for p in module.parameters())

    assert (count(encoder), len(encoder.state_dict())) == (117_068_544, 138)
    assert (count(masked_lm), len(masked_lm.state_dict())) == (117_074_176, 142)
    assert count(encoder.encoder.layer[0]) == 9_444_096
    assert count(encoder.embeddings) == 3_148_800
    assert count(encoder.pooler) == 590_592
    assert count(encoder) - count(encoder.pooler) == 116_477_952
    keys = set(masked_lm.state_dict())
    bare = {f"bert.{k}" for k in encoder.state_dict() if not k.startswith("pooler.")}
    assert {k for k in keys if not k.startswith("cls.")} == bare
    assert encoder.state_dict()["encoder.layer.11.attention.self.Wqkv.weight"].shape == (2304, 768)
    assert encoder.state_dict()["encoder.layer.0.mlp.gated_layers.weight"].shape == (6144, 768)


def test_multiplications_of_a_forward_pass_are_as_counted() -> None:
    """Forward work is about L (0.2266 G + 36.9 k L) operations; the linear part from the sizes."""
    with torch.device("meta"):
        encoder = AlibiBertModel(alibi_config("dnabert-s"))
    linear = sum(m.weight.numel() for m in encoder.encoder.modules() if hasattr(m, "in_features"))
    config = encoder.config
    assert 2 * linear == pytest.approx(0.2266e9, rel=1e-3)
    assert 4 * config.hidden_size * config.num_hidden_layers == pytest.approx(36.9e3, rel=1e-3)


def test_padding_and_company_change_nothing() -> None:
    model, ids = small_model(), batch()
    with torch.no_grad():
        hidden, mask = model.encode(ids)
        wide = torch.nn.functional.pad(ids, (0, 17), value=PAD)
        padded, _ = model.encode(wide, wide != PAD)
        means = mean_embedding(hidden, mask)
        for row, length in enumerate(LENGTHS):
            alone, own = model.encode(ids[row : row + 1, :length])
            assert (alone[0] - hidden[row, :length]).abs().max() < 1e-5
            assert (alone[0] - padded[row, :length]).abs().max() < 1e-5
            assert (mean_embedding(alone, own)[0] - means[row]).abs().max() < 1e-5
            assert torch.all(hidden[row, length:] == 0)
            assert torch.all(padded[row, length:] == 0)


def test_gradients_do_not_depend_on_padding() -> None:
    model, ids = small_model(), batch()

    def gradient(ids: torch.Tensor) -> torch.Tensor:
        model.zero_grad()
        mean_embedding(*model.encode(ids))[:, :7].square().sum().backward()
        return model.embeddings.word_embeddings.weight.grad.clone()

    wide = torch.nn.functional.pad(ids, (0, 9), value=PAD)
    torch.testing.assert_close(gradient(ids), gradient(wide), atol=1e-6, rtol=1e-5)
    assert torch.all(gradient(ids)[PAD] == 0)


def test_mixing_is_position_by_position_and_as_long_as_the_shorter_row() -> None:
    """Lengths 30, 20, 10, 25 with partners 1, 3, 2, 0 become 20, 20, 10, 25."""
    model, ids = small_model(), batch()
    partner, weight = torch.tensor([1, 3, 2, 0]), torch.tensor([0.9, 0.6, 0.75, 0.5])
    with torch.no_grad():
        hidden, mask = model.encode(ids, ids != PAD, Mixing(1, partner, weight))
        after_one = {}
        hook = model.encoder.layer[0].register_forward_hook(
            lambda module, given, out: after_one.update(out=out)
        )
        for row in range(4):
            length = [20, 20, 10, 25][row]
            assert mask[row].sum() == length
            states = []
            for which in (row, int(partner[row])):
                model.encode(ids[which : which + 1, : LENGTHS[which]])
                states.append(after_one["out"][:length])
            mixed = weight[row] * states[0] + (1 - weight[row]) * states[1]
            expected = run_layer(model, 1, mixed)
            assert (hidden[row, :length] - expected).abs().max() < 1e-5
            assert torch.all(hidden[row, length:] == 0)
        hook.remove()


def run_layer(model: AlibiBertModel, number: int, hidden_ND: torch.Tensor) -> torch.Tensor:
    from genomelm_utils.models.alibi_attention import pack_lengths

    packing = pack_lengths([len(hidden_ND)], len(hidden_ND), hidden_ND.device)
    slopes = torch.tensor(model.encoder.slopes)
    return model.encoder.layer[number](hidden_ND, packing, slopes)


def test_mixing_with_oneself_or_not_at_all_changes_nothing() -> None:
    model, ids = small_model(), batch()
    with torch.no_grad():
        plain, _ = model.encode(ids)
        for layer in (0, 1):
            itself = Mixing(layer, torch.arange(4), torch.rand(4))
            assert (model.encode(ids, None, itself)[0] - plain).abs().max() < 1e-5
        alone = Mixing(0, torch.tensor([0, 0, 1, 0]), torch.ones(4))
        assert (model.encode(ids, None, alone)[0][0] - plain[0]).abs().max() < 1e-5


def test_mixing_that_does_not_fit_is_refused() -> None:
    model, ids = small_model(), batch()
    with pytest.raises(ValueError, match="layer is 2, expected 0 to 1"):
        model.encode(ids, None, Mixing(2, torch.arange(4), torch.ones(4)))
    with pytest.raises(ValueError, match="expected one of each for 4 rows"):
        model.encode(ids, None, Mixing(0, torch.arange(3), torch.ones(3)))


def test_dropout_keeps_the_expectation_and_the_caller_s_seed() -> None:
    values = torch.ones(1000, 101, requires_grad=True)
    layer = Dropout(0.1)
    torch.manual_seed(4)
    out = layer(values)
    assert out.unique().tolist() == [0.0, pytest.approx(1 / 0.9)]
    assert (out == 0).float().mean().item() == pytest.approx(0.1, abs=0.005)
    out.sum().backward()
    assert torch.equal(values.grad, out.detach())
    torch.manual_seed(4)
    assert torch.equal(layer(values), out)
    assert layer.eval()(values) is values
    with pytest.raises(ValueError, match=r"expected a probability in \[0, 1\)"):
        Dropout(1.0)


def test_training_drops_and_evaluation_does_not() -> None:
    model, ids = small_model(), batch()
    assert torch.equal(model.encode(ids)[0], model.encode(ids)[0])
    model.train()
    assert not torch.equal(model.encode(ids)[0], model.encode(ids)[0])
    still = small_model(hidden_dropout_prob=0.0)
    torch.testing.assert_close(still.train().encode(ids)[0], still.eval().encode(ids)[0])


@pytest.mark.parametrize("name", ["mini", "micro"])
def test_bf16_is_near_float32(name: str) -> None:
    torch.manual_seed(0)
    model, ids = AlibiBertModel(alibi_config(name, vocab_size=64)).eval(), batch()
    with torch.no_grad():
        exact = mean_embedding(*model.encode(ids))
        with torch.autocast("cpu", torch.bfloat16):
            mixed = mean_embedding(*model.encode(ids))
        halved = mean_embedding(*model.to(torch.bfloat16).encode(ids))
    for near in (mixed, halved):
        assert near.dtype == torch.float32
        assert torch.cosine_similarity(near, exact).min() > 0.999


def test_no_pooled_output_passes_for_an_embedding() -> None:
    output = small_model()(batch())
    assert output.pooler_output is None
    assert output.last_hidden_state.shape == (4, 30, 128)


def test_unknown_token_is_learnt_through_the_lookup() -> None:
    model = small_model()
    ids = batch()
    ids[0, 3] = 0
    mean_embedding(*model.encode(ids)).square().sum().backward()
    assert model.embeddings.word_embeddings.weight.grad[0].abs().max() > 0


def test_masked_lm_predicts_only_where_asked() -> None:
    model, ids = small_model(AlibiBertForMaskedLM), batch()
    chosen = torch.zeros_like(ids, dtype=torch.bool)
    chosen[0, 4] = chosen[2, 9] = chosen[1, 0] = True
    with torch.no_grad():
        logits = model(ids).logits
        asked = model.predict_tokens(ids, chosen)
    assert (logits[chosen] - asked).abs().max() < 1e-5
    labels = torch.where(chosen, ids, -100)
    loss = model(ids, labels=labels).loss
    expected = torch.nn.functional.cross_entropy(asked, ids[chosen])
    assert loss.item() == pytest.approx(expected.item(), abs=1e-5)
    decoder, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    assert decoder.weight is embedding.weight


def test_classifier_learns_from_the_first_token() -> None:
    model = small_model(AlibiBertForSequenceClassification, num_labels=3)
    output = model(batch(), labels=torch.tensor([0, 1, 2, 0]))
    assert output.logits.shape == (4, 3)
    output.loss.backward()
    assert model.bert.pooler.dense.weight.grad.abs().max() > 0


@pytest.mark.parametrize(
    "cls", [AlibiBertModel, AlibiBertForMaskedLM, AlibiBertForSequenceClassification]
)
def test_saved_and_loaded_is_the_same_model(cls: type, tmp_path: Path) -> None:
    model, ids = small_model(cls), batch()
    model.save_pretrained(tmp_path)
    with torch.no_grad():
        expected = model(ids)[0]
        assert torch.equal(cls.from_pretrained(tmp_path)(ids)[0], expected)
    assert isinstance(AutoConfig.from_pretrained(tmp_path), AlibiBertConfig)
    assert type(AutoModel.from_pretrained(tmp_path)) is AlibiBertModel
    if cls is AlibiBertForMaskedLM:
        assert type(AutoModelForMaskedLM.from_pretrained(tmp_path)) is cls


def test_presets_say_what_they_know() -> None:
    for name in ALIBI_PRESETS:
        assert alibi_config(name, vocab_size=77).vocab_size == 77
    assert alibi_config("dnabert-s").initializer_range == 0.02
    with pytest.raises(ValueError, match="expected one of: dnabert-s, mini, micro"):
        alibi_config("huge")
    with pytest.raises(ValueError, match="not a multiple of num_attention_heads 5"):
        alibi_config("mini", num_attention_heads=5)
    with pytest.raises(ValueError, match="token id 64, expected less than the vocabulary of 64"):
        small_model().encode(torch.tensor([[1, 64, 2]]))
