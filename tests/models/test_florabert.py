"""FloraBERT: parameter counts, positions from the TSS, independence of the batch, loading."""

import json
import logging

import numpy as np
import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer, RobertaForMaskedLM, RobertaModel

from genomelm_utils.models.florabert import (
    FLORA_PRESETS,
    FloraBertForMaskedLM,
    FloraBertModel,
    build_flora_mlm,
    config_positions,
    count_parameters,
    flora_config,
    load_florabert,
    position_ids,
)
from genomelm_utils.tokenizers.byte_bpe import BOS, EOS, PAD, pad_left, train_byte_bpe


def count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_published_parameter_counts() -> None:
    """Golden fact 2, to the unit."""
    config = flora_config()
    with torch.device("meta"):
        model = FloraBertForMaskedLM(config)
    assert count(model) == count_parameters(config) == 47_168_653
    assert count(model.roberta) == count_parameters(config, head=False) == 46_571_520
    assert count(model.roberta.embeddings) == 4_044_288
    assert [count(layer) for layer in model.roberta.encoder.layer] == [7_087_872] * 6
    # FloraBERT's regressor: two dense layers and the output on top, as in the paper
    for tissues, total in ((8, 47_758_856), (9, 47_759_625), (10, 47_760_394)):
        assert 46_571_520 + 2 * (768 * 768 + 768) + 769 * tissues == total


def test_published_sizes() -> None:
    config = flora_config()
    assert (config.hidden_size, config.num_hidden_layers, config.num_attention_heads) == (768, 6, 6)
    assert (config.layer_norm_eps, config.hidden_act, config.tie_word_embeddings) == (
        1e-12,
        "gelu",
        True,
    )
    assert config.max_position_embeddings == 258
    assert (config.hidden_dropout_prob, config.attention_probs_dropout_prob) == (0.1, 0.1)


@pytest.mark.parametrize("name", [n for n in FLORA_PRESETS if n != "florabert"])
def test_small_presets(name) -> None:
    config = flora_config(name, vocab_size=40)
    model = build_flora_mlm(config)
    assert count(model) == count_parameters(config)
    width = config.hidden_size
    assert config.initializer_range == pytest.approx(0.02 * (768 / width) ** 0.5, abs=1e-4)


def rows(*lengths: int) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [np.array([BOS, *rng.integers(5, 40, n - 2), EOS]) for n in lengths]


def test_reference_positions_of_the_paper() -> None:
    """Golden fact 3: 256 slots, 100 of them padding."""
    ids_BL, _ = pad_left(rows(156), 256)
    found = position_ids(ids_BL, positions="reference")[0]
    assert int(ids_BL[0, 100]) == BOS
    assert found[[0, 100, 254, 255]].tolist() == [2, 102, 256, 1]


def test_reference_positions_are_those_of_transformers() -> None:
    config = flora_config("nano", vocab_size=40, positions="reference")
    plain = RobertaModel(config, add_pooling_layer=False)
    ids_BL, _ = pad_left(rows(156, 3, 256), 256)
    assert config.pad_token_id == 1
    expected = plain.embeddings.create_position_ids_from_input_ids(ids_BL, 1)
    assert torch.equal(position_ids(ids_BL, positions="reference"), expected)


def test_corrected_positions_are_slot_plus_two() -> None:
    ids_BL, _ = pad_left(rows(156), 256)
    assert position_ids(ids_BL)[0].tolist() == list(range(2, 258))


@pytest.mark.parametrize("mode", ["corrected", "reference"])
def test_positions_do_not_depend_on_the_width(mode) -> None:
    row = rows(9)
    wide = position_ids(pad_left(row, 30)[0], 40, mode)
    narrow = position_ids(pad_left(row)[0], 40, mode)
    assert torch.equal(wide[:, -9:], narrow)
    with pytest.raises(ValueError, match="rows of 30 ids, expected at most 20"):
        position_ids(pad_left(row, 30)[0], 20, mode)
    with pytest.raises(ValueError, match="positions is 'left', expected one of: corrected"):
        position_ids(pad_left(row)[0], 40, "left")


@pytest.mark.parametrize("mode", ["corrected", "reference"])
def test_the_output_does_not_depend_on_the_batch(mode) -> None:
    config = flora_config("nano", vocab_size=40, max_tokens=32, positions=mode)
    model = build_flora_mlm(config, seed=3).eval()
    torch.nn.init.normal_(model.roberta.embeddings.position_embeddings.weight)
    torch.nn.init.normal_(model.roberta.embeddings.word_embeddings.weight)
    short, long = rows(6, 30)
    alone_BL, alone_mask_BL = pad_left([short])
    with torch.no_grad():
        alone = model(alone_BL, attention_mask=alone_mask_BL).logits[0]
        for others, width in (([short, long], None), ([short], 32), ([long, short], 32)):
            ids_BL, mask_BL = pad_left(others, width)
            at = [len(row) for row in others].index(6)
            found = model(ids_BL, attention_mask=mask_BL).logits[at, -6:]
            torch.testing.assert_close(found, alone, atol=1e-5, rtol=1e-4)


def test_predict_at_is_the_forward_at_those_places() -> None:
    model = build_flora_mlm(flora_config("nano", vocab_size=40, max_tokens=32)).eval()
    ids_BL, mask_BL = pad_left(rows(6, 12))
    positions_N = torch.tensor([7, 13, 22])
    logits_BLV = model(ids_BL, attention_mask=mask_BL).logits
    found = model.predict_at(ids_BL, mask_BL, positions_N)
    torch.testing.assert_close(found, logits_BLV.flatten(0, 1)[positions_N])


def test_loss_is_the_mean_over_the_asked() -> None:
    model = build_flora_mlm(flora_config("nano", vocab_size=40, max_tokens=32)).eval()
    ids_BL, mask_BL = pad_left(rows(6, 12))
    labels_BL = torch.full_like(ids_BL, -100)
    labels_BL[1, 4], labels_BL[0, -2] = 7, 9
    output = model(ids_BL, attention_mask=mask_BL, labels=labels_BL)
    log_p = output.logits.log_softmax(dim=-1)
    expected = -(log_p[1, 4, 7] + log_p[0, -2, 9]) / 2
    assert output.loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_plain_transformers_with_our_positions_gives_the_same(tmp_path) -> None:
    config = flora_config("nano", vocab_size=300, max_tokens=32)
    model = build_flora_mlm(config, seed=2).eval()
    tokenizer = train_byte_bpe(["ACGTTGCAACGN" * 20, "GGTACC" * 9], 270, max_tokens=32)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "roberta"

    batch = AutoTokenizer.from_pretrained(tmp_path)(
        ["acgtacgt", "TTGCAACGNACGTACC"], padding=True, return_tensors="pt"
    )
    plain = AutoModelForMaskedLM.from_pretrained(tmp_path).eval()
    assert type(plain) is RobertaForMaskedLM
    mine = load_florabert(tmp_path, "masked_lm")
    assert config_positions(mine.config) == ("corrected", 32)
    places = position_ids(batch["input_ids"], 32)
    kept = batch["attention_mask"].bool()
    with torch.no_grad():
        expected = mine(**{k: v for k, v in batch.items() if k != "token_type_ids"}).logits
        found = plain(**batch, position_ids=places).logits
    torch.testing.assert_close(found[kept], expected[kept])
    encoder = load_florabert(tmp_path)
    assert type(encoder) is FloraBertModel
    assert not encoder.training
    for name, value in model.roberta.state_dict().items():
        assert torch.equal(value, encoder.state_dict()[name]), name


def test_positions_of_padding_learn_like_others() -> None:
    """Position 2 is the first slot's; the reference never trains the one of `</s>`."""
    for mode, idle in (("corrected", []), ("reference", [1])):
        config = flora_config("nano", vocab_size=40, max_tokens=8, positions=mode)
        model = build_flora_mlm(config)
        ids_BL, mask_BL = pad_left(rows(8))
        model(ids_BL, attention_mask=mask_BL).logits.square().sum().backward()
        embeddings = model.roberta.embeddings
        grads = embeddings.position_embeddings.weight.grad.abs().sum(dim=1)
        used = set(position_ids(ids_BL, 8, mode)[0].tolist())
        assert [p for p in used if grads[p] == 0] == idle


def test_embeddings_in_place_of_ids() -> None:
    ids_BL, mask_BL = pad_left(rows(6, 12))
    for mode in ("corrected", "reference"):
        config = flora_config("nano", vocab_size=40, max_tokens=32, positions=mode)
        model = FloraBertModel(config).eval()
        embeds = model.embeddings.word_embeddings(ids_BL)
        expected = model(ids_BL, attention_mask=mask_BL).last_hidden_state
        if mode == "corrected":
            found = model(inputs_embeds=embeds, attention_mask=mask_BL).last_hidden_state
            torch.testing.assert_close(found, expected)
        else:
            with pytest.raises(ValueError, match="inputs_embeds without position_ids"):
                model(inputs_embeds=embeds, attention_mask=mask_BL)
    with pytest.raises(ValueError, match="neither input_ids nor inputs_embeds"):
        model(attention_mask=mask_BL)


def test_released_checkpoints_have_reference_positions(tmp_path, caplog) -> None:
    config = flora_config("nano", vocab_size=40, positions="reference")
    RobertaForMaskedLM(config).save_pretrained(tmp_path)
    text = json.loads((tmp_path / "config.json").read_text())
    assert text.pop("tss_positions") == "reference"
    (tmp_path / "config.json").write_text(json.dumps(text))
    with caplog.at_level(logging.INFO):
        encoder = load_florabert(tmp_path)
    assert "taken for a released model, 'reference'" in caplog.text
    assert config_positions(encoder.config) == ("reference", 256)
    assert encoder.config.pad_token_id == 1 != PAD


def test_wrong_folders_are_explained(tmp_path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"config\.json does not exist; expected the folder"
    ):
        load_florabert(tmp_path)
    with pytest.raises(ValueError, match="part is 'head', expected one of: encoder, masked_lm"):
        load_florabert(tmp_path, "head")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ValueError, match="a model of type 'bert', expected 'roberta'"):
        load_florabert(tmp_path)
    config = flora_config("nano", vocab_size=40)
    build_flora_mlm(config).save_pretrained(tmp_path)
    text = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**text, "num_hidden_layers": 2}))
    with pytest.raises(ValueError, match=r"missing weights \['encoder\.layer\.1"):
        load_florabert(tmp_path)


def test_unusable_settings() -> None:
    with pytest.raises(ValueError, match="unknown FloraBERT preset 'cornbert', expected one of"):
        flora_config("cornbert")
    with pytest.raises(ValueError, match="positions is 'left', expected one of"):
        flora_config("nano", positions="left")
    with pytest.raises(ValueError, match="hidden_size 32 is not a multiple of num_attention_heads"):
        flora_config("nano", num_attention_heads=5)


def test_the_same_seed_gives_the_same_weights() -> None:
    state = torch.get_rng_state()
    config = flora_config("nano", vocab_size=40)
    first, again, other = (build_flora_mlm(config, seed) for seed in (4, 4, 5))
    name = "roberta.embeddings.word_embeddings.weight"
    assert torch.equal(first.state_dict()[name], again.state_dict()[name])
    assert not torch.equal(first.state_dict()[name], other.state_dict()[name])
    assert torch.equal(torch.get_rng_state(), state)
