"""LegNet: convolutions with squeeze and excitation whose squeezed channels also meet in pairs.

As Reddy et al. use it: four input channels, mean over places, no bins and no channel for the
strand. The published 64 -> 18 mapper, which they keep but do not use, is left out.

Sources: Penzar et al. 2023 (LegNet), Bioinformatics 39:btad457, and `autosome-ru/LegNet` (MIT
licence); Reddy et al. 2023 (bioRxiv 2023.02.24.529941), code.

Shapes: B sequences, L places, C channels, N squeezed channels, R rank, O outputs.
"""

from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from genomelm_utils.models.promoter_blocks import (
    BatchNorm,
    Lengths,
    hide_padding,
    mean_places,
    one_hot,
)
from genomelm_utils.sequences.alphabet import N_BASES

#: Standard deviation of the entries of a pair tensor at the start. Source: LegNet, `Bilinear`.
PAIR_STD = 0.00075
#: Share of the full number of parameters that a pair tensor is factorised to. Source: LegNet.
RANK_SHARE = 0.5


def pair_rank(n: int) -> int:
    """Rank R of an n x n x n/2 tensor: 410, 102, 26 for n = 64, 32, 16.

    So that R (n + n + n/2) is half of the tensor's own size. Source: LegNet's `Bilinear(rank=0.5)`;
    how tensorly reads such a share: as one of the number of parameters.
    """
    return max(1, round(RANK_SHARE * (n * n * (n // 2)) / (2 * n + n // 2)))


class Pairs(nn.Module):
    """All products of two inputs, weighted by a factorised tensor: [B, N] to [B, N / 2].

    y_o = bias_o + sum_r w_r (a_r . x)(b_r . x) c_{r,o}: two small products, no N x N x N/2 tensor.
    """

    def __init__(self, n: int) -> None:
        super().__init__()
        rank = pair_rank(n)
        self.bias = nn.Parameter(torch.empty(n // 2))
        self.weight = nn.Parameter(torch.empty(rank))
        self.a = nn.Parameter(torch.empty(n, rank))
        self.b = nn.Parameter(torch.empty(n, rank))
        self.c = nn.Parameter(torch.empty(n // 2, rank))

    def init_parameters(self) -> None:
        """Such that the entries of the whole tensor have the standard deviation `PAIR_STD`."""
        from transformers import initialization

        initialization.zeros_(self.bias)
        initialization.ones_(self.weight)
        # an entry sums R products of three factors
        std = (PAIR_STD / len(self.weight) ** 0.5) ** (1 / 3)
        for factor in (self.a, self.b, self.c):
            initialization.normal_(factor, std=std)

    def forward(self, x_BN: torch.Tensor) -> torch.Tensor:
        return ((x_BN @ self.a) * (x_BN @ self.b) * self.weight) @ self.c.T + self.bias


class SqueezeExcite(nn.Module):
    """A factor in (0, 1) for each channel, from the means of all channels and their products."""

    def __init__(self, n_narrow: int, n_channels: int, reduction: int) -> None:
        super().__init__()
        n = n_narrow // reduction
        self.squeeze = nn.Linear(n_channels, n)
        self.mix = nn.Linear(n, n)
        self.pairs = Pairs(n)
        self.excite = nn.Linear(n + n // 2, n_channels)

    def forward(self, x_BCL: torch.Tensor, lengths_B: Lengths) -> torch.Tensor:
        mixed_BN = self.mix(functional.silu(self.squeeze(mean_places(x_BCL, lengths_B))))
        both = torch.cat([mixed_BN, self.pairs(mixed_BN)], dim=1)
        scale_BC = torch.sigmoid(self.excite(functional.silu(both)))
        return x_BCL * scale_BC[:, :, None]


class ConvNormSilu(nn.Module):
    """Convolution without bias, batch norm, SiLU; as many places out as in."""

    def __init__(self, n_in: int, n_out: int, k: int, momentum: float, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv1d(n_in, n_out, k, padding="same", groups=groups, bias=False)
        self.norm = BatchNorm(n_out, momentum=momentum)

    def forward(self, x_BCL: torch.Tensor, lengths_B: Lengths) -> torch.Tensor:
        if self.conv.kernel_size[0] > 1:
            x_BCL = hide_padding(x_BCL, lengths_B)
        return functional.silu(self.norm(self.conv(x_BCL), lengths_B))


class LegNetStage(nn.Module):
    """p to s channels: widen, convolve in groups, excite, narrow; beside the input; resize."""

    def __init__(self, p: int, s: int, sizes: dict[str, Any]) -> None:
        super().__init__()
        wide, momentum = s * sizes["resize_factor"], sizes["momentum"]
        groups = wide // sizes["filters_per_group"]
        self.widen = ConvNormSilu(p, wide, 1, momentum)
        self.local = ConvNormSilu(wide, wide, sizes["k"], momentum, groups)
        self.excite = SqueezeExcite(p, wide, sizes["reduction"])
        self.narrow = ConvNormSilu(wide, p, 1, momentum)
        self.resize = ConvNormSilu(2 * p, s, sizes["k"], momentum)

    def forward(self, x_BCL: torch.Tensor, lengths_B: Lengths) -> torch.Tensor:
        y_BCL = self.local(self.widen(x_BCL, lengths_B), lengths_B)
        y_BCL = self.narrow(self.excite(y_BCL, lengths_B), lengths_B)
        return self.resize(torch.cat([x_BCL, y_BCL], dim=1), lengths_B)


class LegNet(nn.Module):
    """Codes to [B, D]: the mean over places, or, with `flatten`, all places of one length.

    sizes: channels of the stem and after each stage, k, resize_factor, filters_per_group,
    reduction, momentum, flatten.
    """

    min_length = 1

    def __init__(self, sizes: dict[str, Any], ambiguous: str, length_bp: int | None) -> None:
        super().__init__()
        channels = sizes["channels"]
        self.ambiguous, self.flatten = ambiguous, sizes["flatten"]
        self.stem = ConvNormSilu(N_BASES, channels[0], sizes["k"], sizes["momentum"])
        pairs = pairwise(channels)
        self.stages = nn.ModuleList(LegNetStage(p, s, sizes) for p, s in pairs)
        self.width = channels[-1] * (length_bp if self.flatten else 1)

    def forward(self, codes_BL: torch.Tensor, lengths_B: Lengths = None) -> torch.Tensor:
        x_BCL = one_hot(codes_BL, self.ambiguous, self.stem.conv.weight.dtype)
        x_BCL = self.stem(x_BCL, lengths_B)
        for stage in self.stages:
            x_BCL = stage(x_BCL, lengths_B)
        return x_BCL.flatten(1) if self.flatten else mean_places(x_BCL, lengths_B)
