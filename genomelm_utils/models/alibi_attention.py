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

import torch

from genomelm_utils.models.alibi_locality import LOCAL_FROM, attend_equal, measure_reach

logger = logging.getLogger(__name__)

BLOCK = 128  # tokens of a FlexAttention block; its default


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


@dataclass
class Packing:
    """Where the tokens of a padded batch lie once the padding is gone, shortest row first.

    Attributes: lengths: tokens of each packed sequence, ascending. row_N, position_N: the row and
    the column each packed token comes from. start_B: where each row of the batch starts in the
    pack. n_rows, width: shape of the padded batch. blocks: where sequences lie in FlexAttention's
    blocks, found when needed.
    """

    lengths: list[int]
    row_N: torch.Tensor
    position_N: torch.Tensor
    start_B: torch.Tensor
    n_rows: int
    width: int
    blocks: "SequenceBlocks | None" = field(default=None, repr=False)

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


def attend_packed(
    qkv_N3HE: torch.Tensor,
    packing: Packing,
    slopes_H: torch.Tensor,
    flex: Callable[..., torch.Tensor],
) -> torch.Tensor:
    """Attention of the whole pack in one FlexAttention call, [N, D]. The way of a GPU.

    Blocks in which no query shares a sequence with a key are not computed, nor, where a sequence is
    long, those beyond the reach of their head (`alibi_locality.measure_reach`).
    """
    if packing.blocks is None:
        packing.blocks = SequenceBlocks(packing.lengths, slopes_H.device)
    if packing.lengths[-1] < LOCAL_FROM:
        mask = packing.blocks.mask(None)
    else:
        mask = packing.blocks.mask(measure_reach(*qkv_N3HE.unbind(1)[:2], slopes_H))

    def add_bias(score, batch, head, query, key):
        return score - slopes_H[head] * (query - key).abs()

    q_HNE, k_HNE, v_HNE = (part[None] for part in qkv_N3HE.permute(1, 2, 0, 3).unbind(0))
    out = flex(q_HNE, k_HNE, v_HNE, score_mod=add_bias, block_mask=mask)
    return out[0].transpose(0, 1).flatten(1)


class SequenceBlocks:
    """FlexAttention's blocks of sequences that lie one after the other.

    A block of queries needs one run of neighbouring blocks of keys, and those that lie in its own
    sequence altogether are a run inside it; so masks are made from the ends of runs, without
    sorting, without waiting for the device, and nothing of size N^2 is ever made.
    lengths: tokens of each sequence, in the order of the pack.
    """

    def __init__(self, lengths: Sequence[int], device: torch.device) -> None:
        counts = torch.tensor(lengths, device=device)
        self.document_N = torch.repeat_interleave(torch.arange(len(lengths), device=device), counts)
        n_tokens = len(self.document_N)
        ends = torch.arange(BLOCK, n_tokens + BLOCK, BLOCK, device=device).clamp(max=n_tokens) - 1
        first_Q, last_Q = self.document_N[::BLOCK].contiguous(), self.document_N[ends]
        self.number_Q = torch.arange(len(first_Q), dtype=torch.int32, device=device)
        self.touching_Q = find_runs(last_Q, first_Q, first_Q, last_Q)
        begin_Q, end_Q = find_runs(first_Q, first_Q, last_Q, last_Q)
        self.inside_Q = begin_Q, torch.where(first_Q == last_Q, end_Q, 0)
        self.whole = None

    def mask(self, reach_H: torch.Tensor | None):
        """The BlockMask of all blocks, or only of those within these reaches (tokens)."""
        n_blocks = len(self.number_Q)
        if reach_H is not None:
            return self.build(torch.ceil(reach_H / BLOCK).clamp(max=n_blocks).int())
        if self.whole is None:
            self.whole = self.build(self.number_Q.new_full((1,), n_blocks))
        return self.whole

    def build(self, blocks_H: torch.Tensor):
        """The BlockMask of blocks at most so many numbers apart; H may be 1, for all heads."""
        from torch.nn.attention.flex_attention import BlockMask

        document_N = self.document_N

        def same_sequence(batch, head, query, key):
            return document_N[query] == document_N[key]

        near = self.number_Q - blocks_H[:, None], self.number_Q + blocks_H[:, None] + 1
        begin_HQ, end_HQ = clip_run(self.touching_Q, near)
        own_begin_HQ, own_end_HQ = clip_run(self.inside_Q, near)
        n_own_HQ = own_end_HQ - own_begin_HQ
        index_HQK = begin_HQ[..., None] + self.number_Q
        passed_HQK = index_HQK >= own_begin_HQ[..., None]
        lists = (
            end_HQ - begin_HQ - n_own_HQ,
            index_HQK + torch.where(passed_HQK, n_own_HQ[..., None], 0),
            n_own_HQ,
            own_begin_HQ[..., None] + self.number_Q,
        )
        lists = [part.clamp(max=len(self.number_Q) - at % 2)[None] for at, part in enumerate(lists)]
        # whoever is near enough is so both ways: the blocks of queries of a key are the same
        return BlockMask(
            (len(document_N), len(document_N)), *lists, *lists, (BLOCK, BLOCK), same_sequence
        )


def find_runs(
    past_Q: torch.Tensor, low_Q: torch.Tensor, from_Q: torch.Tensor, high_Q: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Runs of blocks k with past[k] >= low and from[k] <= high (both ascend): begins and ends."""
    begin_Q = torch.searchsorted(past_Q, low_Q, out_int32=True)
    return begin_Q, torch.searchsorted(from_Q, high_Q, right=True, out_int32=True)


def clip_run(
    run_Q: tuple[torch.Tensor, torch.Tensor], limits_HQ: tuple[torch.Tensor, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Begin and end of the part of a run within the limits; end = begin where there is none."""
    begin_HQ = torch.maximum(run_Q[0], limits_HQ[0])
    return begin_HQ, torch.maximum(torch.minimum(run_Q[1], limits_HQ[1]), begin_HQ)


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
