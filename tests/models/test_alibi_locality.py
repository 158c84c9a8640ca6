"""Reach of a head: the bound, bands on a CPU, blocks for a GPU, against softmax over everything."""

import math

import pytest
import torch

from genomelm_utils.models import alibi_locality
from genomelm_utils.models.alibi_attention import (
    alibi_slopes,
    attend_packed,
    pack_lengths,
)
from genomelm_utils.models.alibi_locality import (
    BAND_SHARE,
    NEGLIGIBLE,
    attend_band,
    attend_equal,
    attend_whole,
    band_share,
    measure_reach,
    place_bands,
)

CPU = torch.device("cpu")


def draw_qkv(n_tokens: int, n_heads: int, scale: float, width: int = 8) -> torch.Tensor:
    """[S, 3, H, E]; queries and keys `scale` times as large as values."""
    generator = torch.Generator().manual_seed(2)
    qkv = torch.randn(n_tokens, 3, n_heads, width, generator=generator)
    qkv[:, :2] *= scale
    return qkv


def far_ones_shout(n_tokens: int, n_heads: int, loud: float) -> torch.Tensor:
    """Adversarial: the last token's key is `loud` times what every query asks for, and all keys
    near it say the opposite of their own query."""
    qkv = draw_qkv(n_tokens, n_heads, 1.0)
    qkv[:, 0] = qkv[0, 0].clone()
    qkv[:, 1] = -qkv[:, 0]
    qkv[-1, 1] = qkv[0, 0] * loud
    return qkv


CASES = {
    "random": lambda n, h: draw_qkv(n, h, 1.0),
    "large scores": lambda n, h: draw_qkv(n, h, 5.0),
    "huge scores": lambda n, h: draw_qkv(n, h, 40.0),
    "a far key shouts": lambda n, h: far_ones_shout(n, h, 6.0),
    "keys have a common part": lambda n, h: (
        draw_qkv(n, h, 1.0) + torch.tensor([0.0, 30.0, 0.0])[:, None, None]
    ),
}


def weights_of(qkv_S3HE: torch.Tensor, head: int, slope: float) -> torch.Tensor:
    """Softmax of one head over all keys, float64 [S, S]."""
    q_SE, k_SE = qkv_S3HE[:, 0, head].double(), qkv_S3HE[:, 1, head].double()
    place = torch.arange(len(q_SE))
    bias = -slope * (place[:, None] - place).abs()
    return (q_SE @ k_SE.T / q_SE.shape[-1] ** 0.5 + bias).softmax(-1)


def attend_naively(qkv_S3HE: torch.Tensor, slopes: list[float]) -> torch.Tensor:
    heads = [
        weights_of(qkv_S3HE, h, slope) @ qkv_S3HE[:, 2, h].double()
        for h, slope in enumerate(slopes)
    ]
    return torch.cat(heads, dim=-1)


def test_reach_of_equal_keys_is_that_of_the_bias_alone() -> None:
    """ln(4 * 2^24) = 18.0218; 1 - exp(-1/2) = 0.393469, its logarithm -0.932752."""
    ones = torch.ones(5, 2, 4)
    reach = measure_reach(ones, ones, torch.tensor([0.5, 0.25]))
    assert reach.tolist() == [math.ceil((18.0218 + 0.932752) / 0.5), 79]
    assert reach.tolist() == [38, 79]


def test_reach_grows_by_the_difference_of_scores_over_the_slope() -> None:
    """Keys 3 and -3, queries 4, width 1: own score -12 at worst, the best elsewhere 12."""
    k = torch.tensor([3.0, -3.0]).view(2, 1, 1)
    q = torch.full((2, 1, 1), 4.0)
    reach = measure_reach(q, k, torch.tensor([0.5]))
    assert reach.item() == math.ceil((24 + 18.0218 + 0.932752) / 0.5)
    assert measure_reach(q, k + 100, torch.tensor([0.5])).item() == reach.item()


@pytest.mark.parametrize("case", CASES)
def test_beyond_its_reach_a_head_gives_nothing_away(case: str) -> None:
    qkv = CASES[case](900, 3)
    slopes = [0.70710678, 0.25, 0.0625]
    reaches = measure_reach(qkv[:, 0], qkv[:, 1], torch.tensor(slopes)).tolist()
    place = torch.arange(900)
    distance = (place[:, None] - place).abs()
    for head, (slope, reach) in enumerate(zip(slopes, reaches, strict=True)):
        lost = (weights_of(qkv, head, slope) * (distance > reach)).sum(-1)
        assert lost.max() <= NEGLIGIBLE / 2
    assert case != "random" or max(reaches) < 900


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_scores_that_are_no_numbers_reach_everywhere(bad: float) -> None:
    qkv = draw_qkv(20, 2, 1.0)
    qkv[3, 0, 1, 0] = bad
    reach = measure_reach(qkv[:, 0], qkv[:, 1], torch.tensor([0.5, 0.25]))
    assert reach.isfinite().tolist() == [True, False]


@pytest.mark.parametrize("n_tokens", [1, 127, 128, 513, 1000])
@pytest.mark.parametrize("reach", [0, 1, 60, 128, 129, 300, 999])
def test_bands_hold_every_query_once_and_all_keys_within_reach(n_tokens: int, reach: int) -> None:
    seen, scores = [], 0
    for begin, n_chunks, width in place_bands(n_tokens, reach):
        if n_chunks > 1:
            assert begin >= reach
            assert begin + n_chunks * width + reach <= n_tokens
        seen += range(begin, begin + n_chunks * width)
        keys = min(begin + width + reach, n_tokens) - max(begin - reach, 0)
        scores += n_chunks * width * keys
    assert seen == list(range(n_tokens))
    share = band_share(n_tokens, reach)
    assert share == pytest.approx(scores / n_tokens**2 if reach < n_tokens else 1)
    assert band_share(n_tokens, math.inf) == 1


def test_a_band_is_softmax_over_the_keys_of_each_chunk() -> None:
    """Two sequences, a reach too short to hide a wrong offset, all tokens of the chunks counted."""
    qkv = torch.stack([draw_qkv(700, 1, 1.0), draw_qkv(700, 1, 1.0).flip(0)])
    got = attend_band(qkv[..., 0, :], torch.tensor(0.01), 40)
    for one, out in zip(qkv, got, strict=True):
        scores = one[:, 0, 0].double() @ one[:, 1, 0].double().T / 8**0.5
        place = torch.arange(700)
        scores -= 0.01 * (place[:, None] - place).abs()
        allowed = torch.zeros(700, 700, dtype=torch.bool)
        for begin, n_chunks, width in place_bands(700, 40):
            for a in range(begin, begin + n_chunks * width, width):
                allowed[a : a + width, max(a - 40, 0) : a + width + 40] = True
        wanted = scores.masked_fill(~allowed, -math.inf).softmax(-1) @ one[:, 2, 0].double()
        torch.testing.assert_close(out.double(), wanted, atol=2e-6, rtol=0)


@pytest.mark.parametrize("case", CASES)
def test_long_sequences_on_a_cpu_are_exact(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """4,200 tokens: bands where they are allowed, and the results of attention to everything
    (with huge scores both are off the textbook by float32's rounding of the scores)."""
    slopes = torch.tensor([alibi_slopes(12)[h] for h in (8, 1, 3, 7)])
    qkv = CASES[case](4200, 4)
    banded = []
    real = alibi_locality.attend_band
    monkeypatch.setattr(
        alibi_locality, "attend_band", lambda *args: banded.append(args[2]) or real(*args)
    )
    got = attend_equal(qkv[None], slopes)
    assert (got - attend_whole(qkv[None], slopes).flatten(2)).abs().max() < 1e-4
    assert len(banded) == {"large scores": 1, "huge scores": 0}.get(case, 3)
    assert all(band_share(4200, reach) <= BAND_SHARE for reach in banded)


def test_gradients_through_bands_are_the_textbook_ones() -> None:
    slopes = alibi_slopes(12)[:4]
    qkv = torch.stack([draw_qkv(1100, 4, 1.0)]).requires_grad_()
    weight = torch.randn(1, 1100, 32, generator=torch.Generator().manual_seed(3))
    grad = torch.autograd.grad((attend_equal(qkv, torch.tensor(slopes)) * weight).sum(), qkv)[0]
    exact = (attend_naively(qkv[0], slopes) * weight[0]).sum()
    wanted = torch.autograd.grad(exact, qkv)[0]
    torch.testing.assert_close(grad, wanted, atol=2e-5, rtol=0)


@pytest.mark.parametrize("n_tokens", [1200, pytest.param(4200, marks=pytest.mark.slow)])
@pytest.mark.parametrize("case", CASES)
def test_blocks_for_a_gpu_leave_out_nothing_that_counts(case: str, n_tokens: int) -> None:
    """The mask of a pack of two sequences, applied to the textbook's weights."""
    slopes = [alibi_slopes(12)[h] for h in (8, 1, 3)]
    n_all = n_tokens + 300
    qkv = CASES[case](n_all, 3)
    packing = pack_lengths([n_tokens, 300], n_tokens, CPU)
    kept = {}

    def flex(q, k, v, score_mod, block_mask):
        kept["dense"] = block_mask.to_dense()[0].bool()
        return q

    attend_packed(qkv, packing, torch.tensor(slopes), flex)
    apart = torch.repeat_interleave(torch.arange(2), torch.tensor(packing.lengths))
    place = torch.arange(n_all)
    for head, slope in enumerate(slopes):
        bias = -slope * (place[:, None] - place).abs()
        q_NE, k_NE, v_NE = qkv[:, :, head].double().unbind(1)
        scores = q_NE @ k_NE.T / 8**0.5 + bias
        scores.masked_fill_(apart[:, None] != apart, -math.inf)
        exact = scores.softmax(-1) @ v_NE
        open_NN = kept["dense"][head].repeat_interleave(128, 0).repeat_interleave(128, 1)
        scores.masked_fill_(~open_NN[:n_all, :n_all], -math.inf)
        assert (scores.softmax(-1) @ v_NE - exact).abs().max() < 1e-6
    computed = kept["dense"].sum((1, 2)).tolist()
    if case == "random":
        assert computed[0] < computed[1] < kept["dense"].any(0).sum()
