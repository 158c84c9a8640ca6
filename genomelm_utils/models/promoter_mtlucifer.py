"""MTLucifer: convolutions find short motifs, a transformer with a CLS token relates them.

Three forms: the final one, the one of the first preprint (no positions at all), and one whose
convolutions are residual blocks. Of the last block only the CLS token is computed: nothing else is
read.

Source: Reddy et al. 2023, bioRxiv 2023.02.24.529941, both versions, and their code.

Shapes: B sequences, L places, T tokens (L + 1), C channels, D width, H heads, E width of a head.
"""

from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from genomelm_utils.models.promoter_blocks import (
    CNNBlock,
    Lengths,
    ResidualBlock,
    one_hot,
    place_mask,
)
from genomelm_utils.sequences.alphabet import N_BASES

ROPE_THETA = 10_000.0  # Source: Su et al. 2021 (RoFormer), arXiv:2104.09864, section 3.2.2


def rotary_angles(n_tokens: int, head_width: int, device: torch.device) -> torch.Tensor:
    """float32 [T, E / 2]: angle of each position (0, 1, ...) and pair of dimensions."""
    pairs = torch.arange(0, head_width, 2, device=device, dtype=torch.float32)
    frequencies = ROPE_THETA ** (-pairs / head_width)
    return torch.arange(n_tokens, device=device, dtype=torch.float32)[:, None] * frequencies


def rotate(x_BHTE: torch.Tensor, angles_TE: torch.Tensor) -> torch.Tensor:
    """Dimensions 2i and 2i + 1 turned by the angle of their position, in float32."""
    cos, sin = angles_TE.cos(), angles_TE.sin()
    even, odd = x_BHTE.float().unflatten(-1, (-1, 2)).unbind(-1)
    turned = torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1)
    return turned.flatten(-2).to(x_BHTE.dtype)


class TransformerBlock(nn.Module):
    """Pre-norm attention with rotary positions, then a feed-forward layer four times as wide."""

    def __init__(self, width: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.n_heads, self.p = n_heads, dropout
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.norm2 = nn.LayerNorm(width)
        self.wide = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x_BTD: torch.Tensor,
        angles_TE: torch.Tensor,
        mask_B11T: torch.Tensor | None,
        n_queries: int | None = None,
    ) -> torch.Tensor:
        """All tokens, or the first `n_queries` of them, which still see all."""
        q, k, v = self.qkv(self.norm1(x_BTD)).chunk(3, dim=-1)
        q = q[:, :n_queries]
        q, k, v = (t.unflatten(-1, (self.n_heads, -1)).transpose(1, 2) for t in (q, k, v))
        seen_BHTE = functional.scaled_dot_product_attention(
            rotate(q, angles_TE[: q.shape[2]]),
            rotate(k, angles_TE),
            v,
            attn_mask=mask_B11T,
            dropout_p=self.p if self.training else 0.0,
        )
        x_BTD = x_BTD[:, :n_queries]
        x_BTD = x_BTD + self.dropout(self.out(seen_BHTE.transpose(1, 2).flatten(2)))
        wide_BTD = functional.gelu(self.wide(self.norm2(x_BTD)))
        return x_BTD + self.dropout(self.narrow(wide_BTD))


class MTLucifer(nn.Module):
    """Codes to the CLS token [B, D], of any length.

    sizes: channels (the last is the width), n_layers, n_heads, dropout; k of the convolutions, or,
    with `residual`, k of the first (the others have 5). There is no norm after the last block.
    """

    min_length = 1

    def __init__(self, sizes: dict[str, Any], ambiguous: str) -> None:
        super().__init__()
        channels, dropout = sizes["channels"], sizes["dropout"]
        self.ambiguous, self.width = ambiguous, channels[-1]
        stem = [CNNBlock(N_BASES, channels[0], sizes["k"], dropout=dropout)]
        if sizes["residual"]:
            # the first block keeps the number of places, the others halve it
            pairs = zip([channels[0], *channels[:-1]], channels, strict=True)
            stem += [ResidualBlock(n_in, n_out) for n_in, n_out in pairs]
        else:
            pairs = pairwise(channels)
            stem += [CNNBlock(a, b, sizes["k"], dropout=dropout) for a, b in pairs]
        self.cls = nn.Parameter(torch.empty(1, 1, self.width))
        self.stem = nn.ModuleList(stem)
        self.head_width = self.width // sizes["n_heads"]
        if self.width % sizes["n_heads"] or self.head_width % 2:
            raise ValueError(
                f"width {self.width} in {sizes['n_heads']} heads, expected heads of an even width"
            )
        self.blocks = nn.ModuleList(
            TransformerBlock(self.width, sizes["n_heads"], dropout)
            for _ in range(sizes["n_layers"])
        )

    def init_parameters(self) -> None:
        """CLS from N(0, 0.02)."""
        from transformers import initialization

        initialization.normal_(self.cls, std=0.02)

    def convolve(self, codes_BL: torch.Tensor, lengths_B: Lengths) -> tuple[torch.Tensor, Lengths]:
        """[B, C, L] before the transformer, and lengths."""
        x_BCL = one_hot(codes_BL, self.ambiguous, self.cls.dtype)
        for block in self.stem:
            x_BCL, lengths_B = block(x_BCL, lengths_B)
        return x_BCL, lengths_B

    def forward(self, codes_BL: torch.Tensor, lengths_B: Lengths = None) -> torch.Tensor:
        x_BCL, lengths_B = self.convolve(codes_BL, lengths_B)
        x_BTD = put_cls_first(self.cls, x_BCL)
        mask_B11T = None
        if lengths_B is not None:
            mask_B11T = place_mask(lengths_B + 1, x_BTD.shape[1])[:, None, None, :]
        angles_TE = rotary_angles(x_BTD.shape[1], self.head_width, x_BTD.device)
        last = len(self.blocks) - 1
        for i, block in enumerate(self.blocks):
            x_BTD = block(x_BTD, angles_TE, mask_B11T, 1 if i == last else None)
        return x_BTD[:, 0]


class FirstMTLucifer(nn.Module):
    """The network of the first preprint: codes to the CLS token [B, D].

    Convolutions with ReLU and batch norm shorten a sequence by 6 places; the encoder is torch's
    own (post-norm, ReLU) and knows no positions: only the convolutions tell order.
    """

    min_length = 7

    def __init__(self, sizes: dict[str, Any], ambiguous: str) -> None:
        super().__init__()
        channels, dropout = sizes["channels"], sizes["dropout"]
        self.ambiguous, self.width = ambiguous, channels[-1]
        pairs = zip([N_BASES, *channels[:-1]], channels, strict=True)
        self.stem = nn.ModuleList(
            CNNBlock(n_in, n_out, sizes["k"], padding=1, dropout=dropout, first=True)
            for n_in, n_out in pairs
        )
        self.cls = nn.Parameter(torch.empty(1, 1, self.width))
        layer = nn.TransformerEncoderLayer(
            self.width, sizes["n_heads"], sizes["wide"], dropout, batch_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, sizes["n_layers"], enable_nested_tensor=False)

    def init_parameters(self) -> None:
        """CLS from N(0, 1)."""
        from transformers import initialization

        initialization.normal_(self.cls, std=1.0)

    def forward(self, codes_BL: torch.Tensor, lengths_B: Lengths = None) -> torch.Tensor:
        x_BCL = one_hot(codes_BL, self.ambiguous, self.cls.dtype)
        for block in self.stem:
            x_BCL, lengths_B = block(x_BCL, lengths_B)
        x_BTD = put_cls_first(self.cls, x_BCL)
        padding_BT = None if lengths_B is None else ~place_mask(lengths_B + 1, x_BTD.shape[1])
        return self.encoder(x_BTD, src_key_padding_mask=padding_BT)[:, 0]


def put_cls_first(cls_11D: torch.Tensor, x_BCL: torch.Tensor) -> torch.Tensor:
    """Tokens [B, L + 1, D]: the CLS vector, then the places."""
    x_BLD = x_BCL.transpose(1, 2)
    return torch.cat([cls_11D.to(x_BLD.dtype).expand(len(x_BLD), -1, -1), x_BLD], dim=1)
