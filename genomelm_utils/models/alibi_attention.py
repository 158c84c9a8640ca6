"""Attention with linear biases (ALiBi) over packed sequences: no padding, no bias per sequence.

The sequences of a batch lie one after the other, shortest first, so that sequences of one length
are neighbours. On a CPU each length is one call of the fused kernel, and its bias is a view of one
vector; on a GPU the whole pack is one FlexAttention call, whose block mask keeps sequences apart.

Shapes: B rows, L ids of a padded row, N packed tokens, D width, H heads, E width of a head,
G sequences of one length, S their length, K blocks of keys, Q blocks of queries.
"""

import logging
import math
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from itertools import groupby
from typing import Any

import torch
from torch.nn import functional as F

logger = logging.getLogger(__name__)

BLOCK = 128  # tokens of a FlexAttention block; its default
# exp(-80) = 2e-35 of the weight of a token on itself: nothing is left of it in float32.
LOCALITY = 80.0


def alibi_slopes(n_heads: int) -> list[float]:
    """The slope of every head: powers of 2^(-8/n), and every second one of 2n when n is no power.

    Source: ALiBi, Press et al. 2022, arXiv:2108.12409, section 3 and its published code.
    """
    if n_heads < 1:
        raise ValueError(f"expected at least one attention head, found {n_heads}")
    power = 2 ** int(math.log2(n_heads))
    slopes = [2 ** (-8 * (head + 1) / power) for head in range(power)]
    if power == n_heads:
        return slopes
    return slopes + alibi_slopes(2 * power)[0::2][: n_heads - power]


def mirrored_bias(slopes_H: torch.Tensor, n_tokens: int) -> torch.Tensor:
    """-slope * |i - j|, float32 [1, H, S, S], for keys in REVERSE order: column c is j = S - 1 - c.

    Then i - j = i + c - (S - 1): row i is row 0 moved by i, and all rows are one view of 2S - 1
    numbers per head. A bias in key order would need a negative stride, or S^2 numbers.
    """
    steps = torch.arange(2 * n_tokens - 1, device=slopes_H.device)
    line_HX = -slopes_H[:, None] * (steps - (n_tokens - 1)).abs()
    shape = (1, len(slopes_H), n_tokens, n_tokens)
    return line_HX.as_strided(shape, (0, line_HX.stride(0), 1, 1))


@dataclass
class Packing:
    """Where the tokens of a padded batch lie once the padding is gone, shortest row first.

    Attributes: lengths: tokens of each packed sequence, ascending. row_N, position_N: the row and
    the column each packed token comes from. start_B: where each row of the batch starts in the
    pack. n_rows, width: shape of the padded batch. blocks: FlexAttention's mask, made when needed.
    """

    lengths: list[int]
    row_N: torch.Tensor
    position_N: torch.Tensor
    start_B: torch.Tensor
    n_rows: int
    width: int
    blocks: Any = field(default=None, repr=False)

    @property
    def full(self) -> bool:
        """Whether every row is as long as the batch is wide: packing then moves nothing."""
        return self.lengths[0] == self.width

    def groups(self) -> list[tuple[int, int]]:
        """(number of sequences, their length), in the order of the pack."""
        return [(len(list(same)), length) for length, same in groupby(self.lengths)]

    def pack(self, values_BL: torch.Tensor) -> torch.Tensor:
        """The tokens of a padded [B, L, ...] without the padding: [N, ...]."""
        flat = values_BL.flatten(0, 1)
        return flat if self.full else flat[self.row_N * self.width + self.position_N]

    def unpack(self, values_ND: torch.Tensor) -> torch.Tensor:
        """[B, L, D] with zeros where there was padding."""
        shape = (self.n_rows, self.width, values_ND.shape[-1])
        if self.full:
            return values_ND.view(shape)
        flat = values_ND.new_zeros(self.n_rows * self.width, values_ND.shape[-1])
        return flat.index_copy(0, self.row_N * self.width + self.position_N, values_ND).view(shape)


def pack_lengths(lengths_B: Sequence[int], width: int, device: torch.device) -> Packing:
    """The packing of rows of these lengths, padded on the right to `width`."""
    lengths = torch.as_tensor(lengths_B, dtype=torch.int64)
    order = torch.argsort(lengths, stable=True)
    ascending = lengths[order]
    starts = torch.cumsum(ascending, 0) - ascending
    row_N = torch.repeat_interleave(order, ascending)
    position_N = torch.arange(len(row_N)) - torch.repeat_interleave(starts, ascending)
    start_B = torch.empty_like(starts)
    start_B[order] = starts
    return Packing(
        lengths=ascending.tolist(),
        row_N=row_N.to(device),
        position_N=position_N.to(device),
        start_B=start_B.to(device),
        n_rows=len(lengths),
        width=width,
    )


def pack_mask(mask_BL: torch.Tensor) -> Packing:
    """The packing of a batch with this mask (True or 1 = token).

    Errors: ValueError for a row without tokens, and for padding before or between tokens: ALiBi
    counts distances in tokens.
    """
    mask_BL = mask_BL.bool()
    lengths_B = mask_BL.sum(dim=1)
    columns = torch.arange(mask_BL.shape[1], device=mask_BL.device)
    wrong_B = (mask_BL != (columns < lengths_B[:, None])).any(dim=1)
    lengths, wrong = torch.stack([lengths_B, wrong_B.long()]).tolist()  # one wait for a GPU
    if any(wrong):
        raise ValueError(
            f"row {wrong.index(1)} of the attention mask has padding before or between its tokens, "
            "expected tokens first; tokenise with padding_side='right'"
        )
    if not lengths or min(lengths) == 0:
        where = f"row {lengths.index(0)} has none" if lengths else "the batch has no rows"
        raise ValueError(f"expected at least one token in every row, {where}; leave such rows out")
    return pack_lengths(lengths, mask_BL.shape[1], mask_BL.device)


def attend(qkv_NX: torch.Tensor, packing: Packing, slopes_H: torch.Tensor) -> torch.Tensor:
    """Every token's attention over its own sequence, [N, D].

    qkv_NX: [N, 3 D], laid out (query, key, value) x heads x head width. slopes_H: float32. Scores
    are q.k / sqrt(E) plus the bias; biases and softmax are float32 whatever the type of qkv,
    autocast included.
    """
    qkv_N3HE = qkv_NX.unflatten(-1, (3, len(slopes_H), -1))
    with torch.autocast(qkv_NX.device.type, enabled=False):
        if qkv_NX.device.type == "cuda" and can_compile():
            return attend_packed(qkv_N3HE, packing, slopes_H, compiled_flex())
        return attend_by_length(qkv_N3HE, packing, slopes_H)


def attend_by_length(
    qkv_N3HE: torch.Tensor, packing: Packing, slopes_H: torch.Tensor
) -> torch.Tensor:
    """Attention with one fused call per distinct length: [N, D]. The way of a CPU."""
    groups = packing.groups()
    pieces = qkv_N3HE.split([n * length for n, length in groups])
    out = [
        attend_equal(piece.unflatten(0, (n, length)), slopes_H).flatten(0, 1)
        for piece, (n, length) in zip(pieces, groups, strict=True)
    ]
    return out[0] if len(out) == 1 else torch.cat(out)


def attend_equal(qkv_GS3HE: torch.Tensor, slopes_H: torch.Tensor) -> torch.Tensor:
    """Attention of sequences of one length, [G, S, D]."""
    q_GSHE, k_GSHE, v_GSHE = qkv_GS3HE.unbind(2)
    bias = mirrored_bias(slopes_H, q_GSHE.shape[1])
    if bias.device.type != "cpu":  # only the CPU's kernel takes a float32 bias as such a view
        q_GSHE, k_GSHE, v_GSHE, bias = (
            q_GSHE.float(),
            k_GSHE.float(),
            v_GSHE.float(),
            bias.contiguous(),
        )
    out_GHSE = F.scaled_dot_product_attention(
        q_GSHE.transpose(1, 2),
        k_GSHE.flip(1).transpose(1, 2),  # the order of keys is free; this one suits the bias
        v_GSHE.flip(1).transpose(1, 2),
        attn_mask=bias,
    )
    return out_GHSE.transpose(1, 2).flatten(2).to(qkv_GS3HE.dtype)


def attend_packed(
    qkv_N3HE: torch.Tensor,
    packing: Packing,
    slopes_H: torch.Tensor,
    flex: Callable[..., torch.Tensor],
) -> torch.Tensor:
    """Attention of the whole pack in one FlexAttention call, [N, D]. The way of a GPU.

    Blocks in which no query shares a sequence with a key are not computed, nor are those so far
    away that the bias of their head leaves nothing (`LOCALITY`).
    """
    if packing.blocks is None:
        packing.blocks = document_blocks(packing.lengths, slopes_H)

    def add_bias(score, batch, head, query, key):
        return score - slopes_H[head] * (query - key).abs()

    q_HNE, k_HNE, v_HNE = (part[None] for part in qkv_N3HE.permute(1, 2, 0, 3).unbind(0))
    out = flex(q_HNE, k_HNE, v_HNE, score_mod=add_bias, block_mask=packing.blocks)
    return out[0].transpose(0, 1).flatten(1)


def document_blocks(lengths: Sequence[int], slopes_H: torch.Tensor, locality: float = LOCALITY):
    """FlexAttention's BlockMask of sequences that lie one after the other.

    lengths: tokens of each, in the order of the pack. Made from the blocks' first and last
    sequences, so that nothing of size N^2 is ever made.
    """
    from torch.nn.attention.flex_attention import BlockMask

    device = slopes_H.device
    counts = torch.tensor(lengths, device=device)
    document_N = torch.repeat_interleave(torch.arange(len(lengths), device=device), counts)
    n_tokens = len(document_N)
    first = document_N[::BLOCK]
    ends = torch.arange(BLOCK, n_tokens + BLOCK, BLOCK, device=device).clamp(max=n_tokens) - 1
    last = document_N[ends]
    touching_QK = (first[:, None] <= last) & (last[:, None] >= first)
    same_QK = touching_QK & (first == last) & (first == last)[:, None]
    number = torch.arange(len(first), device=device)
    gap_QK = ((number[:, None] - number).abs() - 1).clamp(min=0) * BLOCK
    near_HQK = slopes_H[:, None, None] * gap_QK <= locality

    def same_sequence(batch, head, query, key):
        return document_N[query] == document_N[key]

    return BlockMask.from_kv_blocks(
        *list_blocks(near_HQK & touching_QK & ~same_QK),
        *list_blocks(near_HQK & same_QK),
        BLOCK_SIZE=BLOCK,
        mask_mod=same_sequence,
        seq_lengths=(n_tokens, n_tokens),
    )


def list_blocks(wanted_HQK: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(how many, which first) blocks of keys for each block of queries, int32 [1, H, Q(, K)]."""
    which = torch.argsort((~wanted_HQK).to(torch.int8), dim=-1, stable=True)
    return wanted_HQK.sum(-1, dtype=torch.int32)[None], which.to(torch.int32)[None]


@cache
def compiled_flex() -> Callable[..., torch.Tensor]:
    """FlexAttention as fused kernels, compiled at the first call."""
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=True)


@cache
def can_compile() -> bool:
    """Whether FlexAttention can be compiled for a GPU here; if not, a warning, once."""
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")
    lacking = "triton" if find_spec("triton") is None else "" if compiler else "a C compiler"
    if lacking:
        logger.warning(
            "%s is not installed: attention on the GPU runs one call per distinct length in "
            "float32, slower than FlexAttention; install it",
            lacking,
        )
    return not lacking
