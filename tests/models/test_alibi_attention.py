"""Attention with ALiBi: slopes, bias, packing, and equality with the textbook formula.

Golden slopes and biases: worked out by the authors of ALiBi's rule for 12 heads, and measured on
the reference module of DNABERT-S.
"""

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from genomelm_utils.models.alibi_attention import (
    SequenceBlocks,
    alibi_slopes,
    attend,
    attend_by_length,
    attend_packed,
    pack_lengths,
    pack_mask,
)
from genomelm_utils.models.alibi_locality import mirrored_bias

CPU = torch.device("cpu")
LENGTHS = [300, 5, 700, 37, 5, 128]


def attend_naively(qkv_N3HE: torch.Tensor, lengths: list[int], slopes: list[float]) -> torch.Tensor:
    """Sequence by sequence, softmax(q k / sqrt(E) - slope |i - j|) v, in float64."""
    out = []
    for piece in qkv_N3HE.double().split(lengths):
        q_HSE, k_HSE, v_HSE = piece.permute(1, 2, 0, 3)
        place = torch.arange(len(piece))
        bias = -torch.tensor(slopes)[:, None, None] * (place[:, None] - place).abs()
        scores = q_HSE @ k_HSE.transpose(1, 2) / q_HSE.shape[-1] ** 0.5 + bias
        out.append((scores.softmax(-1) @ v_HSE).transpose(0, 1).flatten(1))
    return torch.cat(out)


def random_qkv(n_tokens: int, n_heads: int = 12, width: int = 8) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n_tokens, 3, n_heads, width, generator=generator)


def test_slopes_of_twelve_heads_are_the_published_ones() -> None:
    powers = [2.0**-n for n in range(1, 9)]
    halves = [0.70710678, 0.35355339, 0.17677670, 0.08838835]
    assert alibi_slopes(12) == pytest.approx([*powers, *halves], abs=1e-8)
    assert alibi_slopes(4) == [2.0**-n for n in (2, 4, 6, 8)]
    assert alibi_slopes(1) == [2.0**-8]
    with pytest.raises(ValueError, match="at least one"):
        alibi_slopes(0)


def test_bias_is_minus_slope_times_distance_and_takes_no_memory_of_its_size() -> None:
    bias = mirrored_bias(torch.tensor(alibi_slopes(12)), 5).flip(-1)
    assert bias[0, 0, 0, 1] == -0.5
    assert bias[0, 8, 0, 2].item() == pytest.approx(-1.41421356, abs=1e-7)
    assert torch.equal(bias, bias.transpose(2, 3))
    long = mirrored_bias(torch.tensor(alibi_slopes(12)), 4250)
    assert long.untyped_storage().nbytes() == 4 * 12 * (2 * 4250 - 1)
    assert long[0, 0, 4249, 4249] == -0.5 * 4249  # column 4249 is key 0


def test_packing_and_unpacking_give_the_batch_with_zeros_at_padding() -> None:
    mask = torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 1, 1], [1, 1, 1, 0]])
    values = torch.arange(1.0, 17.0).view(4, 4, 1)
    packing = pack_mask(mask)
    assert packing.lengths == [1, 3, 3, 4]
    assert packing.groups() == [(1, 1), (2, 3), (1, 4)]
    packed = packing.pack(values)
    assert packed.flatten().tolist() == [5, 1, 2, 3, 13, 14, 15, 9, 10, 11, 12]
    assert packing.start_B.tolist() == [1, 0, 7, 4]
    assert torch.equal(packing.unpack(packed), values * mask[..., None])


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ([[1, 1], [0, 1]], "row 1 .* padding before"),
        ([[1, 0, 1]], "row 0 .* between"),
        ([[1, 1], [0, 0]], "row 1 has none"),
        (torch.ones(0, 3), "no rows"),
    ],
)
def test_masks_that_cannot_be_packed_are_refused(mask: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pack_mask(torch.as_tensor(mask))


def test_attention_and_its_gradient_are_the_textbook_formula() -> None:
    packing = pack_lengths(LENGTHS, 700, CPU)
    slopes = alibi_slopes(12)
    qkv = random_qkv(sum(LENGTHS)).requires_grad_()
    got = attend_by_length(qkv, packing, torch.tensor(slopes))
    expected = attend_naively(qkv, packing.lengths, slopes)
    torch.testing.assert_close(got.double(), expected, atol=5e-6, rtol=0)
    weight = torch.randn_like(got)
    grad = torch.autograd.grad((got * weight).sum(), qkv)[0]
    wanted = torch.autograd.grad((expected * weight).sum(), qkv)[0]
    torch.testing.assert_close(grad, wanted.float(), atol=2e-5, rtol=0)


def test_the_fused_kernel_serves_forward_and_backward() -> None:
    packing = pack_lengths([40, 30, 40], 40, CPU)
    qkv = random_qkv(110, 4).flatten(1).requires_grad_()
    with profile(activities=[ProfilerActivity.CPU]) as record:
        attend(qkv, packing, torch.tensor(alibi_slopes(4))).sum().backward()
    calls = {event.key: event.count for event in record.key_averages()}
    assert calls["aten::_scaled_dot_product_flash_attention_for_cpu"] == 2  # one per length
    assert calls["aten::_scaled_dot_product_flash_attention_for_cpu_backward"] == 2


def test_bf16_keeps_the_bias_in_float32() -> None:
    slopes = alibi_slopes(12)
    packing = pack_lengths([600], 600, CPU)
    qkv = random_qkv(600).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        got = attend(qkv.flatten(1), packing, torch.tensor(slopes))
    assert got.dtype == torch.bfloat16
    expected = attend_naively(qkv, [600], slopes)
    assert (got.double() - expected).abs().max() < 0.02


def test_flex_attention_of_the_pack_is_the_same() -> None:
    """Uncompiled, on the CPU: the mask, the bias and the layout a GPU runs."""
    from torch.nn.attention.flex_attention import flex_attention

    packing = pack_lengths(LENGTHS, 700, CPU)
    slopes = alibi_slopes(12)
    qkv = random_qkv(sum(LENGTHS))
    got = attend_packed(qkv, packing, torch.tensor(slopes), flex_attention)
    expected = attend_naively(qkv, packing.lengths, slopes)
    torch.testing.assert_close(got.double(), expected, atol=5e-6, rtol=0)


@pytest.mark.parametrize("lengths", [[100, 60, 700, 4000], [128, 128, 256, 640], [5], [3] * 200])
def test_blocks_are_those_that_share_a_sequence_and_are_within_reach(lengths: list[int]) -> None:
    """By brute force over all tokens; and of keys to queries as torch itself turns them round."""
    from torch.nn.attention.flex_attention import BlockMask

    document = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    n = -(-len(document) // 128)
    padded = torch.full((n * 128,), -1)
    padded[: len(document)] = document
    shared = (padded[:, None] == padded) & (padded >= 0)
    tiles_QK = shared.view(n, 128, n, 128).transpose(1, 2)
    ends = document[torch.arange(127, n * 128, 128).clamp(max=len(document) - 1)]
    own = document[::128] == ends  # the last block may be short and still in one sequence
    full_QK = own & own[:, None] & (ends == ends[:, None])
    place = torch.arange(n)
    nearest_QK = ((place[:, None] - place).abs() - 1).clamp(min=-1) * 128 + 1
    reach_H = torch.tensor([0.0, 1.0, 300.0, 1025.0, 1e9, torch.inf])
    near_HQK = nearest_QK <= reach_H[:, None, None]
    blocks = SequenceBlocks(lengths, CPU)
    for reach, near in ((reach_H, near_HQK), (None, near_HQK[-1:])):
        mask = blocks.mask(reach)
        wanted = near & tiles_QK.any(dim=(2, 3))
        assert torch.equal(mask.to_dense()[0].bool(), wanted)
        assert torch.equal(mask.full_kv_num_blocks[0], (near & full_QK).sum(-1))
        again = BlockMask.from_kv_blocks(
            *(mask.kv_num_blocks, mask.kv_indices, mask.full_kv_num_blocks, mask.full_kv_indices),
            BLOCK_SIZE=128,
        )
        for kind in ("q", "full_q"):
            count = getattr(mask, f"{kind}_num_blocks")
            assert torch.equal(count, getattr(again, f"{kind}_num_blocks"))
            listed = place < count[..., None]
            ours, theirs = (getattr(m, f"{kind}_indices") for m in (mask, again))
            assert torch.equal(ours[listed], theirs[listed])
            assert ours.max() < n
    assert blocks.mask(None) is mask


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_gpu_gives_the_values_and_gradients_of_the_cpu() -> None:
    slopes = torch.tensor(alibi_slopes(12))
    qkv = random_qkv(sum(LENGTHS), width=64).flatten(1).requires_grad_()
    out = attend(qkv, pack_lengths(LENGTHS, 700, CPU), slopes)
    wanted = torch.autograd.grad(out.square().sum(), qkv)[0]
    cuda = torch.device("cuda")
    there = qkv.detach().to(cuda).requires_grad_()
    got = attend(there, pack_lengths(LENGTHS, 700, cuda), slopes.to(cuda))
    torch.testing.assert_close(got.cpu(), out, atol=1e-4, rtol=0)
    grad = torch.autograd.grad(got.square().sum(), there)[0]
    torch.testing.assert_close(grad.cpu(), wanted, atol=1e-3, rtol=0)
