"""The expression model: golden sizes and pooling, switches, encoders of three kinds, saving."""

import numpy as np
import pytest
import torch
from transformers import AutoModel, BertConfig, RobertaConfig, RobertaForMaskedLM, RobertaModel

from genomelm_utils.models.alibi_bert import alibi_config
from genomelm_utils.models.expression_heads import (
    DISTANCE_EDGES,
    AttentionPool,
    ExpressionConfig,
    ExpressionModel,
    MeanPool,
    build_expression_model,
)

TISSUES = ("root", "leaf", "ear")
SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}
SPECIAL = {"special_ids": (0, 1), "pad_id": 2}


def roberta_config(**changes) -> RobertaConfig:
    fields = {"vocab_size": 40, "max_position_embeddings": 34, "pad_token_id": 1, **SMALL}
    return RobertaConfig(**{**fields, **changes})


def build(source=None, tissues=TISSUES, **options) -> ExpressionModel:
    source = roberta_config() if source is None else source
    return build_expression_model(source, tissues, **{**SPECIAL, **options}).eval()


def batch(n_rows: int = 3, length: int = 9, pads: int = 0, seed: int = 0):
    rng = torch.Generator().manual_seed(seed)
    ids = torch.randint(5, 40, (n_rows, length), generator=rng)
    ids[:, 0], ids[:, -1] = 0, 1
    fill = torch.full((n_rows, pads), 2)
    mask = torch.cat([torch.ones_like(ids), torch.zeros_like(fill)], 1)
    return torch.cat([ids, fill], 1), mask


@pytest.mark.parametrize(("n", "expected"), [(8, 47_758_856), (9, 47_759_625), (10, 47_760_394)])
def test_published_sizes(n, expected):
    config = RobertaConfig(
        vocab_size=5005, max_position_embeddings=258, num_hidden_layers=6,
        num_attention_heads=6, type_vocab_size=1, hidden_size=768, intermediate_size=3072,
    )  # fmt: skip
    with torch.device("meta"):
        model = ExpressionModel(
            ExpressionConfig(
                encoder={**config.to_dict(), "model_type": "roberta"},
                tissues=[f"tissue {i}" for i in range(n)],
                special_ids=[0, 1],
            )
        )
    assert sum(p.numel() for p in model.encoder.parameters()) == 46_571_520
    assert sum(p.numel() for p in model.parameters()) == expected


def golden_pooling(mask_rule: str):
    hidden = torch.tensor([[[9.0, 9], [1, 3], [3, 5], [9, 9]]])
    ids, mask = torch.tensor([[0, 7, 8, 1]]), torch.ones(1, 4, dtype=torch.long)
    model = build(mask_rule=mask_rule)
    return MeanPool()(hidden, model.pooled_tokens(ids, mask), None), mask


def test_golden_pooling_leaves_the_mask_alone():
    pooled, mask = golden_pooling("corrected")
    assert pooled.tolist() == [[2.0, 4.0]]
    assert mask.tolist() == [[1, 1, 1, 1]]


def test_reference_pooling_changes_the_callers_mask_and_the_second_pass():
    pooled, mask = golden_pooling("reference")
    assert pooled.tolist() == [[2.0, 4.0]]
    assert mask.tolist() == [[0, 1, 1, 0]]
    config = roberta_config(initializer_range=0.3)  # attention that tells tokens apart
    for rule, same in (("corrected", True), ("reference", False)):
        model = build(config, mask_rule=rule)
        ids, mask = batch()
        with torch.no_grad():
            first, second = (model(ids, mask).logits for _ in range(2))
        assert torch.equal(first, second) == same


def test_head_is_the_published_formula():
    model = build(seed=4)
    ids, mask = batch(pads=3)
    with torch.no_grad():
        out = model(ids, mask)
        hidden = model.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        pooled = hidden[:, 1:8].mean(1)
        head = model.head
        z1 = torch.tanh(pooled @ head.dense1.weight.T + head.dense1.bias)
        z = torch.tanh(z1 @ head.dense2.weight.T + head.dense2.bias)
        values = z @ head.output.weight.T + head.output.bias
    assert torch.allclose(out.pooled, pooled, atol=1e-6)
    assert torch.allclose(out.embedding, z, atol=1e-6)
    assert torch.allclose(out.logits, values, atol=1e-6)
    assert torch.equal(model.tissue_embeddings(), head.output.weight)
    assert (head.dense1.bias == 0).all()
    assert 0.01 < head.dense1.weight.std() < 0.03


def test_batch_norm_stands_between_the_layers_and_is_saved(tmp_path):
    model = build(batch_norm=True)
    ids, mask = batch(16)
    model.train()
    model(ids, mask)
    model.eval()
    assert (model.head.norm.running_mean != 0).any()
    model.save_pretrained(tmp_path)
    with torch.no_grad():
        expected = model(ids, mask)
        loaded = ExpressionModel.from_pretrained(tmp_path).eval()(ids, mask)
        norm = model.head.norm
        z1 = torch.tanh(model.head.dense1(expected.pooled))
        scaled = (z1 - norm.running_mean) / (norm.running_var + norm.eps).sqrt()
        z = torch.tanh(model.head.dense2(scaled))
    assert torch.allclose(expected.embedding, z, atol=1e-5)
    assert torch.equal(loaded.logits, expected.logits)


@pytest.mark.parametrize("kind", ["roberta", "bert", "alibi"])
@pytest.mark.parametrize("pooling", ["mean", "attention"])
def test_any_encoder_any_pooling_saved_and_loaded(kind, pooling, tmp_path):
    config = {
        "roberta": roberta_config(),
        "bert": BertConfig(vocab_size=40, max_position_embeddings=34, **SMALL),
        "alibi": alibi_config("nano", vocab_size=40, **SMALL),
    }[kind]
    model = build(config, pooling=pooling)
    ids, mask = batch(pads=2)
    distance = {"distance_bp": -torch.arange(ids.shape[1]).flip(0).expand_as(ids)}
    model.save_pretrained(tmp_path)
    with torch.no_grad():
        expected = model(ids, mask, **distance).logits
        loaded = ExpressionModel.from_pretrained(tmp_path).eval()
        assert torch.equal(loaded(ids, mask, **distance).logits, expected)
        assert torch.equal(AutoModel.from_pretrained(tmp_path).eval()(ids, mask, **distance).logits,
                           expected)  # fmt: skip
        alone = model(ids[:1, :9], mask[:1, :9], distance_bp=distance["distance_bp"][:1, :9])
        assert torch.allclose(alone.logits[0], expected[0], atol=1e-6)
    assert expected.shape == (3, 3)
    assert loaded.config.tissues == list(TISSUES)
    assert "pooler" not in " ".join(model.state_dict())


def test_position_ids_reach_the_encoder():
    model = build(roberta_config(initializer_range=0.3))
    ids, mask = batch()
    places = torch.arange(9).expand(3, 9) + 2
    with torch.no_grad():
        as_default, moved = (model(ids, mask, p).logits for p in (places, places + 20))
        assert not torch.allclose(as_default, moved, atol=1e-4)


def test_attention_pool_knows_distance_to_the_tss():
    pool = AttentionPool(4, list(DISTANCE_EDGES))
    hidden = torch.randn(1, 5, 4, generator=torch.Generator().manual_seed(0))
    kept = torch.tensor([[True, True, True, True, False]])
    distance = torch.tensor([[-500, -99, -60, -5, 0]])
    with torch.no_grad():
        assert torch.allclose(pool(hidden, kept, distance), hidden[:, :4].mean(1), atol=1e-6)
        pool.bias[0] = 30.0  # bases -1 to -9
        assert torch.allclose(pool(hidden, kept, distance), hidden[:, 3], atol=1e-6)
        pool.bias[0], pool.bias[6] = 0.0, 30.0  # 75 to 99 bp
        assert torch.allclose(pool(hidden, kept, distance), hidden[:, 1], atol=1e-6)
        none = pool(hidden, torch.zeros_like(kept), distance)
        assert torch.equal(none, torch.zeros_like(none))
    with pytest.raises(ValueError, match="needs distance_bp"):
        pool(hidden, kept, None)


def test_empty_rows_and_a_missing_mask_are_no_accident():
    model = build()
    with torch.no_grad():
        empty = model(torch.tensor([[0, 1]]), torch.ones(1, 2, dtype=torch.long))
        assert torch.equal(empty.pooled, torch.zeros(1, 16))
        assert torch.isfinite(empty.logits).all()
        ids, mask = batch(pads=4)
        assert torch.equal(model(ids).logits, model(ids, mask).logits)


def test_dropout_of_the_encoder_is_its_own():
    corrected = build(head_dropout=0.35)
    assert corrected.encoder.config.hidden_dropout_prob == 0.1
    assert corrected.head.dropout.p == 0.35
    reference = build(head_dropout=0.35, dropout_rule="reference")
    assert reference.encoder.config.hidden_dropout_prob == 0.35
    assert reference.encoder.embeddings.dropout.p == 0.35


def test_encoder_is_copied_and_its_heads_dropped():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        masked_lm = RobertaForMaskedLM(roberta_config())
        with_pooler = RobertaModel(roberta_config())
    state = torch.get_rng_state()
    model = build(masked_lm)
    assert torch.equal(torch.get_rng_state(), state)
    for name, value in masked_lm.roberta.state_dict().items():
        assert torch.equal(model.encoder.state_dict()[name], value)
    with torch.no_grad():
        model.encoder.embeddings.word_embeddings.weight.zero_()
    assert (masked_lm.roberta.embeddings.word_embeddings.weight != 0).any()
    assert build(with_pooler).encoder.pooler is None


def test_head_depends_on_the_seed_alone():
    shallow = build(roberta_config(num_hidden_layers=1), seed=5)
    deep, other = (build(roberta_config(), seed=seed) for seed in (5, 6))
    assert torch.equal(shallow.head.dense1.weight, deep.head.dense1.weight)
    assert torch.equal(shallow.head.output.weight, deep.head.output.weight)
    assert not torch.equal(deep.head.dense1.weight, other.head.dense1.weight)


def test_sparse_output_has_a_gate():
    ids, mask = batch()
    with torch.no_grad():
        assert build(output="sparse")(ids, mask).gate.shape == (3, 3)
        assert build()(ids, mask).gate is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pooling": "max"}, "pooling is 'max', expected mean or attention"),
        ({"output": "both"}, "output is 'both', expected value or sparse"),
        ({"mask_rule": "old"}, "mask_rule is 'old', expected corrected or reference"),
        ({"dropout_rule": "old"}, "dropout_rule is 'old', expected corrected or reference"),
        ({"head_dropout": 1.5}, r"head_dropout is 1.5, expected a fraction in \[0, 1\)"),
        ({"tissues": ("root", "root")}, "expected at least one name, each once"),
        ({"tissues": ()}, "expected at least one name, each once"),
    ],
)
def test_wrong_options_say_what_is_wrong(options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)


def test_weights_that_do_not_fit_are_an_error():
    other = RobertaModel(roberta_config(), add_pooling_layer=False)
    other.config.num_hidden_layers = 3
    with pytest.raises(ValueError, match="does not fill the encoder: 16 missing weights"):
        build(other)
    with pytest.raises(ValueError, match="hidden_dropout_prob, which a 'distilbert' encoder"):
        from transformers import DistilBertConfig

        build(DistilBertConfig(vocab_size=40, dim=16, n_layers=1, n_heads=2, hidden_dim=32),
              dropout_rule="reference")  # fmt: skip


@pytest.mark.gpu
def test_a_gpu_gives_what_the_cpu_gives():
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    model = build(pooling="attention")
    ids, mask = batch(pads=3)
    distance = -torch.arange(ids.shape[1]).flip(0).expand_as(ids)
    with torch.no_grad():
        expected = model(ids, mask, distance_bp=distance).logits
        found = model.cuda()(ids.cuda(), mask.cuda(), distance_bp=distance.cuda()).logits
    assert np.allclose(found.cpu(), expected, atol=1e-4)
