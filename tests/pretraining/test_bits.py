"""Bits per base: exact for models whose answer is known, and baselines in the same unit."""

import copy

import numpy as np
import pytest
import torch

from genomelm_utils.models.presets import build_masked_lm
from genomelm_utils.pretraining.bits import (
    base_marginals,
    bits_per_base,
    find_hidden,
    freeze,
    frozen_validation,
    markov_bits,
    order0_bits,
)
from genomelm_utils.pretraining.masking import hidden_bases
from genomelm_utils.sequences.alphabet import encode
from genomelm_utils.tokenizers.kmer import MASK, N_SPECIAL, encode_sequences, token_of_code

K = 3


class RandomCorpus:
    def __init__(self, k: int = K) -> None:
        self.k = k

    def batch(self, step: int, micro: int, rows: int):
        rng = np.random.default_rng([step, micro])
        lengths = rng.integers(20, 60, rows)
        return encode_sequences([rng.integers(0, 4, n).astype(np.uint8) for n in lengths], self.k)


def make_even(model):
    """All k-mers equally likely, whatever the input."""
    with torch.no_grad():
        model.cls.predictions.decoder.weight.zero_()
        model.cls.predictions.bias.zero_()
    return model


@pytest.mark.parametrize("k", [3, 4, 5, 6])
def test_an_even_model_has_two_bits_exactly(k):
    model = make_even(build_masked_lm("micro", k, 0))
    scores = bits_per_base(model, frozen_validation(RandomCorpus(k), k=k, n_rows=20), k)
    assert scores["bits_per_base"] == 2.0
    assert scores["loss"] == pytest.approx(np.log(N_SPECIAL + 4**k), rel=1e-5)
    assert scores["perplexity"] == pytest.approx(N_SPECIAL + 4**k, rel=1e-4)


def test_a_model_that_only_says_one_kmer():
    """Certain of AAA: 0 bits where A is hidden."""
    model = make_even(build_masked_lm("micro", K, 0))
    with torch.no_grad():
        model.cls.predictions.bias[N_SPECIAL] = 200.0
    ids_BL, lengths_B = encode_sequences([encode("A" * 20)], K)
    masked_BL = torch.zeros_like(ids_BL, dtype=torch.bool)
    masked_BL[0, 5:10] = True
    scores = bits_per_base(model, [freeze(ids_BL, lengths_B, masked_BL, K)], K)
    assert scores["bits_per_base"] == 0.0
    assert scores["hidden_bases"] == 3
    assert scores["accuracy"] == 1.0


def test_marginals_by_hand():
    """Half TAC, half TGG: T first; then A or G; then C or G. Columns are A, C, G, T."""
    logits = torch.full((1, N_SPECIAL + 64), -1e9)
    for kmer in ("TAC", "TGG"):
        code = sum("ACGT".index(base) * 4 ** (2 - i) for i, base in enumerate(kmer))
        logits[0, token_of_code(3)[code]] = 0.0
    logits[0, MASK] = 50.0  # a special token takes no part
    expected = torch.tensor([[[0, 0, 0, 1.0], [0.5, 0, 0.5, 0], [0, 0.5, 0.5, 0]]])
    assert torch.allclose(base_marginals(logits, 3), expected)


def test_bits_equal_a_naive_computation():
    model = build_masked_lm("micro", K, 3, initializer_range=0.5).eval()
    batches = frozen_validation(RandomCorpus(), k=K, n_rows=6, rows_per_batch=4, seed=2)
    bits, n_hidden = 0.0, 0
    for batch in batches:
        logits = model(
            input_ids=batch.input_ids_BL, attention_mask=batch.attention_mask_BL
        ).logits.detach()
        probs = logits[:, :, N_SPECIAL:].softmax(-1)
        for row in range(len(batch.hidden_BT)):
            for base in np.flatnonzero(batch.hidden_BT[row].numpy()):
                votes = []
                for t in range(1, logits.shape[1] - 1):
                    if t - 1 <= base <= t + K - 2 and batch.input_ids_BL[row, t] == MASK:
                        vote = np.zeros(4)
                        for kmer in range(64):
                            digit = kmer // 4 ** (K - 1 - (base - t + 1)) % 4
                            vote["ACGT".index("ATCG"[digit])] += float(probs[row, t, kmer])
                        votes.append(vote)
                bits -= np.log2(np.mean(votes, axis=0)[batch.codes_BT[row, base]])
                n_hidden += 1
    scores = bits_per_base(model, batches, K)
    assert scores["hidden_bases"] == n_hidden
    assert scores["bits_per_base"] == pytest.approx(bits / n_hidden, rel=1e-5)


def test_bits_do_not_depend_on_batching_and_leave_the_mode():
    model = build_masked_lm("micro", K, 3, initializer_range=0.5).train()
    scores = [
        bits_per_base(
            model, frozen_validation(RandomCorpus(), k=K, n_rows=30, rows_per_batch=rows), K
        )
        for rows in (30, 7)
    ]
    assert scores[0] == pytest.approx(scores[1], rel=1e-5)
    assert model.training


def test_validation_is_frozen_all_mask_and_near_the_share_asked_for():
    first, again = (frozen_validation(RandomCorpus(), k=K, n_rows=200) for _ in range(2))
    for left, right in zip(first, again, strict=True):
        assert torch.equal(left.input_ids_BL, right.input_ids_BL)
        at = left.input_ids_BL.flatten()[left.positions_N]
        assert bool((at == MASK).all())
        assert bool((left.targets_N >= N_SPECIAL).all())
    n_masked = sum(len(batch.targets_N) for batch in first)
    n_tokens = sum(int((batch.input_ids_BL >= MASK).sum()) for batch in first)
    assert n_masked / n_tokens == pytest.approx(0.15, abs=0.02)


def test_hidden_bases_agree_with_the_masking_module():
    ids_BL, lengths_B = RandomCorpus().batch(0, 0, 40)
    generator = torch.Generator().manual_seed(0)
    masked_BL = (torch.rand(ids_BL.shape, generator=generator) < 0.7) & (ids_BL >= N_SPECIAL)
    codes_BT, hidden_BT = find_hidden(ids_BL, masked_BL, K)
    assert torch.equal(hidden_BT.sum(1), hidden_bases(masked_BL, lengths_B, K))
    for row, n in enumerate(lengths_B.tolist()):
        assert bool((codes_BT[row, n - 2 + K - 1 :] == -1).all())


def test_bases_come_back_from_tokens():
    ids_BL, _ = encode_sequences([encode("GATTACANGATT"), encode("CCGT")], K)
    codes_BT, _ = find_hidden(ids_BL, torch.zeros_like(ids_BL, dtype=torch.bool), K)
    assert codes_BT[0].tolist() == [2, 0, 3, 3, 0, 1, 0, -1, 2, 0, 3, 3]
    assert codes_BT[1].tolist() == [1, 1, 2, 3] + [-1] * 8


def test_nothing_masked_is_an_error():
    with pytest.raises(ValueError, match="no token of the 2 validation rows"):
        frozen_validation(RandomCorpus(), k=K, n_rows=2, masked_share=1e-9)


# ---- baselines


def count(codes: np.ndarray, n_max: int) -> dict[int, np.ndarray]:
    tables = {}
    for n in range(1, n_max + 1):
        windows = np.lib.stride_tricks.sliding_window_view(codes, n)
        index = windows @ (4 ** np.arange(n)[::-1])
        tables[n] = np.bincount(index, minlength=4**n)
    return tables


def test_order0_by_hand():
    assert order0_bits({1: np.array([5, 5, 5, 5])}) == 2.0
    assert order0_bits({1: np.array([1, 0, 0, 1])}) == 1.0


def test_markov_of_even_counts_has_two_bits():
    batches = frozen_validation(RandomCorpus(), k=K, n_rows=20)
    even = {n: np.full(4**n, 100) for n in (1, 2, 3)}
    assert markov_bits(even, 2, batches) == pytest.approx(2.0)


def test_markov_predicts_over_what_is_hidden_and_not_from_it():
    """A chain by hand: ACAG then three hidden bases; naive sum over all paths."""
    text = "ACAGTCATTGCA"
    rng = np.random.default_rng(0)
    counts = count(rng.integers(0, 4, 3000) * rng.integers(0, 2, 3000), 3)
    ids_BL, lengths_B = encode_sequences([encode(text)], K)
    masked_BL = torch.zeros_like(ids_BL, dtype=torch.bool)
    masked_BL[0, 3:8] = True  # tokens 3..7 cover bases 2..8; 4, 5, 6 are hidden
    batch = freeze(ids_BL, lengths_B, masked_BL, K)
    assert np.flatnonzero(batch.hidden_BT[0]).tolist() == [4, 5, 6]
    step = (counts[3].reshape(4, 4, 4) + 1) / (counts[3].reshape(4, 4, 4) + 1).sum(-1)[..., None]
    codes = encode(text)
    a, b = codes[2], codes[3]
    first = step[a, b]
    second = np.einsum("x,xy->y", step[a, b], step[b])
    third = np.einsum("x,xy,xyz->z", step[a, b], step[b], step)
    expected = -np.mean(np.log2([first[codes[4]], second[codes[5]], third[codes[6]]]))
    assert markov_bits(counts, 2, [batch]) == pytest.approx(expected)


def test_markov_falls_back_to_what_is_visible():
    """A span at the start has no left context: composition; the same for order 0."""
    ids_BL, lengths_B = encode_sequences([encode("ACAGTCATTGCA")], K)
    masked_BL = torch.zeros_like(ids_BL, dtype=torch.bool)
    masked_BL[0, 1:4] = True
    batch = freeze(ids_BL, lengths_B, masked_BL, K)
    rng = np.random.default_rng(0)
    counts = count(rng.integers(0, 4, 3000) * rng.integers(0, 2, 3000), 3)
    share = (counts[1] + 1) / (counts[1] + 1).sum()
    expected = -np.mean(np.log2(share[encode("ACA")]))
    assert markov_bits(counts, 2, [batch]) == pytest.approx(expected)
    assert markov_bits(counts, 0, [batch]) == pytest.approx(expected)


def test_markov_names_missing_tables():
    with pytest.raises(ValueError, match=r"missing: \[3\]; count with n_max=3"):
        markov_bits({1: np.ones(4), 2: np.ones(16)}, 2, [])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_bits_on_cuda_are_those_of_the_cpu():
    model = build_masked_lm("micro", K, 3, initializer_range=0.5)
    batches = frozen_validation(RandomCorpus(), k=K, n_rows=30)
    on_cpu = bits_per_base(model, batches, K)
    on_gpu = bits_per_base(copy.deepcopy(model).cuda(), batches, K)
    assert on_gpu == pytest.approx(on_cpu, rel=1e-3)
