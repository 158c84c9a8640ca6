"""Bits per base of byte-pair models: by hand, frozen, and the baselines."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from genomelm_utils.pretraining.token_bits import (
    FrozenTokens,
    freeze_tokens,
    token_baselines,
    token_bits,
)
from genomelm_utils.sequences.alphabet import decode, encode
from genomelm_utils.tasks.token_mlm import build_alibi_mlm
from genomelm_utils.tokenizers.bpe import MASK, N_SPECIAL, SEP, token_bases, train_bpe


class RandomWindows:
    """Windows of random bases, mostly A, of mixed lengths; row `r` of step `s` never changes."""

    def pairs(self, step: int, start: int, stop: int) -> SimpleNamespace:
        rows = []
        for row in range(start, stop):
            rng = np.random.default_rng([step, row])
            n = int(rng.integers(20, 120))
            rows.append(np.where(rng.random(n) < 0.6, 0, rng.integers(0, 4, n)).astype(np.uint8))
        return SimpleNamespace(first=rows)


@pytest.fixture(scope="module")
def tokenizer():
    return train_bpe([decode(row) for row in RandomWindows().pairs(9, 0, 300).first], 40)


@pytest.fixture(scope="module")
def frozen(tokenizer) -> list[FrozenTokens]:
    return freeze_tokens(RandomWindows(), tokenizer, n_rows=70)


def test_frozen_rows_are_the_same_every_time_and_restore(tokenizer, frozen) -> None:
    again = freeze_tokens(RandomWindows(), tokenizer, n_rows=70)
    assert len(again) == len(frozen) == 3
    for a, b in zip(frozen, again, strict=True):
        assert torch.equal(a.input_ids_BL, b.input_ids_BL)
        assert torch.equal(a.targets_N, b.targets_N)
    texts = []
    for batch in frozen:
        ids_BL = batch.input_ids_BL.clone()
        assert bool((ids_BL.view(-1)[batch.positions_N] == MASK).all())
        assert int(batch.targets_N.min()) >= N_SPECIAL
        ids_BL.view(-1)[batch.positions_N] = batch.targets_N
        rows = [row[m].tolist() for row, m in zip(ids_BL, batch.mask_BL, strict=True)]
        texts += ["".join(tokenizer.convert_ids_to_tokens(row[1:-1])) for row in rows]
    assert sorted(texts) == sorted(decode(row) for row in RandomWindows().pairs(0, 0, 70).first)
    lengths = torch.cat([batch.mask_BL.sum(dim=1) for batch in frozen])
    assert bool((lengths.diff() <= 0).all())


def test_rows_are_cut_to_the_tokens_allowed(tokenizer) -> None:
    batch = freeze_tokens(RandomWindows(), tokenizer, n_rows=9, max_tokens=12)[0]
    assert batch.input_ids_BL.shape == (9, 12)
    assert int(batch.input_ids_BL[0, -1]) == SEP


def test_nothing_masked_is_an_error(tokenizer) -> None:
    with pytest.raises(ValueError, match="no token of the 1 validation rows is masked"):
        freeze_tokens(RandomWindows(), tokenizer, n_rows=1, mask_share=1e-9)


def test_baselines_by_hand(tokenizer) -> None:
    # tokens A (5) and the first merge (9), two bases
    bases_V = token_bases(tokenizer)
    assert bases_V[[5, 9]].tolist() == [1, 2]
    targets_N = torch.tensor([5, 5, 9])
    nothing = torch.empty(0)
    batches = [FrozenTokens(nothing, nothing, nothing, targets_N)]
    counts_V = np.zeros(40, dtype=np.int64)
    counts_V[5], counts_V[9] = 9, 4  # one is added to each of 35 tokens: 48 in all
    table = token_baselines(counts_V, batches, bases_V).set_index("baseline")
    n_single, n_double = (int((bases_V == n).sum()) for n in (1, 2))
    even, used = table.loc["uniform"], table.loc["frequencies"]
    assert even["bits_per_base"] == pytest.approx(3 * math.log2(35) / 4)
    known = 2 * math.log2(n_single) + math.log2(n_double)
    assert even["bits_per_base_length_known"] == pytest.approx(known / 4)
    bits = 2 * math.log2(48 / 10) + math.log2(48 / 5)
    assert used["bits_per_base"] == pytest.approx(bits / 4)
    bits = 2 * math.log2((9 + n_single) / 10) + math.log2((4 + n_double) / 5)
    assert used["bits_per_base_length_known"] == pytest.approx(bits / 4)
    assert used["accuracy"] == pytest.approx(2 / 3)
    assert used["masked_bases"] == 4


def test_bits_of_a_model_are_its_cross_entropy(tokenizer, frozen) -> None:
    model = build_alibi_mlm("micro", len(tokenizer), seed=1).train()
    bases_V = token_bases(tokenizer)
    found = token_bits(model, frozen, bases_V)
    assert model.training
    model.eval()
    nats, n_bases = 0.0, 0
    for batch in frozen:
        with torch.no_grad():
            logits = model(batch.input_ids_BL, attention_mask=batch.mask_BL).logits
        log_p = logits.flatten(0, 1).log_softmax(dim=1)[batch.positions_N]
        nats -= float(log_p.gather(1, batch.targets_N[:, None]).sum())
        n_bases += int(bases_V[batch.targets_N].sum())
    assert found["bits_per_base"] == pytest.approx(nats / math.log(2) / n_bases, rel=1e-5)
    assert found["bits_per_base_length_known"] < found["bits_per_base"]
    assert found["loss"] == pytest.approx(nats / found["masked_tokens"], rel=1e-5)
    assert found["perplexity"] == pytest.approx(math.exp(found["loss"]))
    assert found["masked_bases"] == n_bases


def test_ambiguous_bases_are_never_asked_for(tokenizer) -> None:
    windows = SimpleNamespace(
        pairs=lambda step, start, stop: SimpleNamespace(
            first=[encode("ACNNNNGT" * 6)] * (stop - start)
        )
    )
    batch = freeze_tokens(windows, tokenizer, n_rows=4, mask_share=0.9)[0]
    assert int(batch.targets_N.min()) >= N_SPECIAL
    assert int((batch.input_ids_BL == 0).sum()) == 4 * 24
