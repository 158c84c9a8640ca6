"""Parts of the promoter networks: base codes in, and layers that do not see padding.

Sequences of a batch end where they end: convolutions read zeros beyond, as they do beyond the end
of a sequence alone, and norms, means and attention count a sequence's own places only. So what a
sequence gives does not depend on what it is batched with.

Shapes: B sequences, L places (bases at first), C channels, G groups of channels.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from genomelm_utils.sequences.alphabet import ALPHABET, IUPAC_SETS, N_BASES, encode

#: Fills rows beyond the end of a sequence; the number after the last base code.
PAD_CODE = len(ALPHABET)
#: What the network reads where a base is not definite: nothing, or a share of each base it may be.
AMBIGUOUS = ("zeros", "shares")
#: Channels per group of a group norm. Source: Reddy et al. 2023 (bioRxiv 2023.02.24.529941), code.
CHANNELS_PER_GROUP = 16

Lengths = torch.Tensor | None  # int64 [B]; None: all rows are as long as the batch is wide


def stack_codes(sequences: Sequence[str | np.ndarray]) -> torch.Tensor:
    """uint8 [B, L]: sequences below each other, filled up with `PAD_CODE` on the right.

    sequences: texts, or base codes of any lengths. Raises: ValueError for no sequence, an empty
        one, a letter that is no nucleotide, or a number that is no base code.
    """
    rows = [
        encode(one, f"sequence {i}") if isinstance(one, str) else np.asarray(one)
        for i, one in enumerate(sequences)
    ]
    if not rows:
        raise ValueError("no sequence, expected at least one")
    for i, row in enumerate(rows):
        if row.ndim != 1 or not len(row) or row.min() < 0 or row.max() >= PAD_CODE:
            raise ValueError(
                f"sequence {i} has shape {list(row.shape)} and values up to "
                f"{row.max() if row.size else 'none'}, expected base codes [L], 0 to "
                f"{PAD_CODE - 1}, at least one (sequences.alphabet.encode makes them)"
            )
    codes_BL = np.full((len(rows), max(map(len, rows))), PAD_CODE, dtype=np.uint8)
    for filled, row in zip(codes_BL, rows, strict=True):
        filled[: len(row)] = row
    return torch.from_numpy(codes_BL)


def find_lengths(codes_BL: torch.Tensor) -> Lengths:
    """int64 [B] bases of each row, or None when no row ends before the others.

    Raises: ValueError for another shape or type, an empty row, or padding inside of a sequence.
    """
    if codes_BL.ndim != 2 or codes_BL.is_floating_point() or not codes_BL.numel():
        raise ValueError(
            f"codes of shape {list(codes_BL.shape)}, {codes_BL.dtype}; expected whole numbers "
            "[sequences, bases], 0 to 14 (the network makes one-hot codes itself)"
        )
    is_base_BL = codes_BL != PAD_CODE
    if bool(is_base_BL.all()):
        return None
    lengths_B = is_base_BL.sum(1)
    inside_BL = place_mask(lengths_B, codes_BL.shape[1])
    if not bool((inside_BL == is_base_BL).all()) or not bool(lengths_B.all()):
        raise ValueError(
            "a row has padding before its end, or nothing else; expected the sequence first, then "
            f"code {PAD_CODE} (stack_codes does it)"
        )
    return lengths_B


def one_hot(
    codes_BL: torch.Tensor, ambiguous: str = "zeros", dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """[B, 4, L]: channels A, C, G, T, made where the codes are, from one byte per base.

    ambiguous: 'zeros': a base that is not definite is zeros (as N in the released code); 'shares':
    R is 1/2 A and 1/2 G, N a quarter of each. Padding is zeros.
    """
    if ambiguous == "shares":
        table = base_shares().to(codes_BL.device, dtype)
        return table[codes_BL.long()].transpose(1, 2)
    bases = torch.arange(N_BASES, device=codes_BL.device, dtype=codes_BL.dtype)
    return (codes_BL[:, None, :] == bases[:, None]).to(dtype)


def base_shares() -> torch.Tensor:
    """float32 [16, 4]: what each base code may be, in equal shares; zeros for padding."""
    sets = [[base in allowed for base in "ACGT"] for allowed in IUPAC_SETS.values()]
    shares = torch.tensor(sets, dtype=torch.float32)
    return torch.cat([shares / shares.sum(1, keepdim=True), torch.zeros(1, N_BASES)])


def place_mask(lengths_B: torch.Tensor, n_places: int) -> torch.Tensor:
    """bool [B, L]: places that belong to a sequence."""
    return torch.arange(n_places, device=lengths_B.device) < lengths_B[:, None]


def hide_padding(x_BCL: torch.Tensor, lengths_B: Lengths) -> torch.Tensor:
    """The same with zeros beyond the end of each sequence."""
    if lengths_B is None:
        return x_BCL
    return x_BCL.masked_fill(~place_mask(lengths_B, x_BCL.shape[-1])[:, None, :], 0)


def mean_places(x_BCL: torch.Tensor, lengths_B: Lengths) -> torch.Tensor:
    """[B, C]: the mean over a sequence's places."""
    if lengths_B is None:
        return x_BCL.mean(-1)
    return hide_padding(x_BCL, lengths_B).sum(-1) / lengths_B[:, None].to(x_BCL.dtype)


class GroupNorm(nn.GroupNorm):
    """Group norm whose mean and variance are those of a sequence's own places."""

    def __init__(self, n_channels: int) -> None:
        if n_channels % CHANNELS_PER_GROUP:
            raise ValueError(
                f"{n_channels} channels, expected a multiple of {CHANNELS_PER_GROUP}: the norm "
                "works on groups of so many"
            )
        super().__init__(n_channels // CHANNELS_PER_GROUP, n_channels)

    def forward(self, x_BCL: torch.Tensor, lengths_B: Lengths = None) -> torch.Tensor:
        if lengths_B is None:
            return super().forward(x_BCL)
        # in float32 even under autocast, as the norm of torch itself
        x = x_BCL.float().unflatten(1, (self.num_groups, -1))
        kept = place_mask(lengths_B, x.shape[-1])[:, None, None, :]
        n = (lengths_B * x.shape[2]).view(-1, 1, 1, 1)
        mean = (x * kept).sum((2, 3), keepdim=True) / n
        variance = ((x - mean) * kept).square().sum((2, 3), keepdim=True) / n
        normed = ((x - mean) * (variance + self.eps).rsqrt()).flatten(1, 2)
        return (normed * self.weight[:, None] + self.bias[:, None]).to(x_BCL.dtype)


class BatchNorm(nn.BatchNorm1d):
    """Batch norm that learns from places of sequences, not from padding."""

    def forward(self, x_BCL: torch.Tensor, lengths_B: Lengths = None) -> torch.Tensor:
        if lengths_B is None or not self.training:
            return super().forward(x_BCL)
        x = x_BCL.float()
        kept_B1L = place_mask(lengths_B, x.shape[-1])[:, None, :]
        n = lengths_B.sum()
        mean_C = (x * kept_B1L).sum((0, 2)) / n
        centred = x - mean_C[:, None]
        variance_C = (centred * kept_B1L).square().sum((0, 2)) / n
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean_C.detach(), self.momentum)
            unbiased_C = variance_C.detach() * n / (n - 1).clamp(min=1)
            self.running_var.lerp_(unbiased_C, self.momentum)
        normed = centred * (variance_C + self.eps).rsqrt()[:, None]
        return (normed * self.weight[:, None] + self.bias[:, None]).to(x_BCL.dtype)


class CNNBlock(nn.Module):
    """Convolution, activation, norm, dropout: [B, C, L] and lengths in and out.

    padding: 'same', or places of zeros at each end (1 shortens by k - 3). first: as in the first
    preprint, with ReLU and batch norm in place of exact GELU and group norm.
    Source: Reddy et al. 2023, code of both versions of the preprint.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        k: int,
        padding: str | int = "same",
        dropout: float = 0.1,
        *,
        first: bool = False,
    ) -> None:
        super().__init__()
        # an even kernel reaches one base further to the right, as torch's own 'same'
        same = ((k - 1) // 2, k // 2)
        self.ends = same if padding == "same" else (padding, padding)
        self.lost = k - 1 - sum(self.ends)
        self.conv = nn.Conv1d(n_in, n_out, k)
        self.activation = nn.ReLU() if first else nn.GELU()
        self.norm = BatchNorm(n_out) if first else GroupNorm(n_out)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BCL: torch.Tensor, lengths_B: Lengths) -> tuple[torch.Tensor, Lengths]:
        padded_BCL = functional.pad(hide_padding(x_BCL, lengths_B), self.ends)
        x_BCL = self.activation(self.conv(padded_BCL))
        lengths_B = None if lengths_B is None else lengths_B - self.lost
        return self.dropout(self.norm(x_BCL, lengths_B)), lengths_B


class ResidualBlock(nn.Module):
    """Two convolutions around which the input is added: [B, C, L] and lengths in and out.

    Half as many places (rounded up) come out when the number of channels changes.
    Source: Reddy et al. 2023, code.
    """

    def __init__(self, n_in: int, n_out: int, k: int = 5) -> None:
        super().__init__()
        self.stride = 1 if n_in == n_out else 2
        self.conv1 = nn.Conv1d(n_in, n_out, k, stride=self.stride, padding=k // 2, bias=False)
        self.norm1 = GroupNorm(n_out)
        self.conv2 = nn.Conv1d(n_out, n_out, k, padding="same", bias=False)
        self.norm2 = GroupNorm(n_out)
        self.shortcut = None
        if n_in != n_out:
            self.shortcut = nn.Conv1d(n_in, n_out, 1, stride=self.stride, bias=False)

    def forward(self, x_BCL: torch.Tensor, lengths_B: Lengths) -> tuple[torch.Tensor, Lengths]:
        x_BCL = hide_padding(x_BCL, lengths_B)
        if lengths_B is not None:
            lengths_B = (lengths_B - 1) // self.stride + 1
        kept_BCL = x_BCL if self.shortcut is None else self.shortcut(x_BCL)
        y_BCL = functional.relu(self.norm1(self.conv1(x_BCL), lengths_B))
        y_BCL = self.conv2(hide_padding(y_BCL, lengths_B)) + kept_BCL
        return functional.relu(self.norm2(y_BCL, lengths_B)), lengths_B
