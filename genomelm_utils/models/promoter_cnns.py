"""Convolutional networks of promoters without attention: PureCNN, ResNet, MPRAnn, Malinois.

PureCNN and MPRAnn flatten places, so a network is for one length; ResNet averages over them.

Sources: Reddy et al. 2023 (bioRxiv 2023.02.24.529941), code; MPRAnn: Agarwal et al. 2025, Nature
639:411; Malinois: Gosai et al. 2024, Nature 634:1211, and boda2 (MIT licence), `BassetBranched`.

Shapes: B sequences, L places, C channels, D width.
"""

from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from genomelm_utils.models.promoter_blocks import (
    PAD_CODE,
    BatchNorm,
    CNNBlock,
    Lengths,
    ResidualBlock,
    mean_places,
    one_hot,
)
from genomelm_utils.sequences.alphabet import N_BASES, encode

#: What flanks an insert in the plasmid of the massively parallel assay that Malinois learns from.
#: Source: boda2 (MIT licence), `boda/common/constants.py`.
MPRA_UPSTREAM = (
    "ACGAAAATGTTGGATGCTCATACTCGTCCTTTTTCAATATTATTGAAGCATTTATCAGGGTTACTAGTACGTCTCTCAAGGATAAGTAAGTAATATTA"
    "AGGTACGGGAGGTATTGGACAGGCCGCAATAAAATATCTTTATTTTCATTACATCTGTGTGTTGGTTTTTTGTGTGAATCGATAGTACTAACATACGC"
    "TCTCCATCAAAACAAAACGAAACAAAACAAACTAGCAAAATAGGCTGTCCCCAGTGCAAGTGCAGGTGCCAGAACATTTCTCTGGCCTAACTGGCCGC"
    "TTGACG"
)
MPRA_DOWNSTREAM = (
    "CACTGCGGCTCCTGCGATCTAACTGGCCGGTACCTGAGCTCGCTAGCCTCGAGGATATCAAGATCTGGCCTCGGCGGCCAAGCTTAGACACTAGAGGG"
    "TATATAATGGAAGCTCGACTTCCAGCTTGGCAATCCGGTACTGTTGGTAAAGCCACCATGGTGAGCAAGGGCGAGGAGCTGTTCACCGGGGTGGTGCC"
    "CATCCTGGTCGAGCTGGACGGCGACGTAAACGGCCACAAGTTCAGCGTGTCCGGCGAGGGCGAGGGCGATGCCACCTACGGCAAGCTGACCCTGAAGT"
    "TCATCT"
)
FLANKS = ("corrected", "reference")


class PureCNN(nn.Module):
    """Codes of one length to [B, D].

    sizes: channels of the convolutions; pools: width of the max pool after every second one; dense:
    widths of the layer after flattening and of the output.
    """

    def __init__(self, sizes: dict[str, Any], ambiguous: str, length_bp: int) -> None:
        super().__init__()
        self.ambiguous, self.width = ambiguous, sizes["dense"][1]
        channels, pools, n_places = [N_BASES, *sizes["channels"]], sizes["pools"], length_bp
        self.blocks, self.pools = nn.ModuleList(), pools
        for i, (n_in, n_out) in enumerate(pairwise(channels)):
            block = CNNBlock(n_in, n_out, sizes["k"], padding=1, dropout=sizes["dropout"])
            self.blocks.append(block)
            n_places -= block.lost
            if i % 2:
                n_places = max(n_places, 0) // pools[i // 2]
        check_places(n_places, length_bp)
        self.n_places = n_places
        self.linear1 = nn.Linear(channels[-1] * n_places, sizes["dense"][0])
        self.linear2 = nn.Linear(*sizes["dense"])

    def convolve(self, codes_BL: torch.Tensor) -> torch.Tensor:
        """[B, C, places] before flattening."""
        x_BCL = one_hot(codes_BL, self.ambiguous, self.linear1.weight.dtype)
        for i, block in enumerate(self.blocks):
            x_BCL, _ = block(x_BCL, None)
            if i % 2:
                x_BCL = functional.max_pool1d(x_BCL, self.pools[i // 2])
        return x_BCL

    def forward(self, codes_BL: torch.Tensor, lengths_B: Lengths = None) -> torch.Tensor:
        flat_BD = flatten_places(self.convolve(codes_BL))
        return self.linear2(functional.relu(self.linear1(flat_BD)))


class ResNet(nn.Module):
    """Codes of any length to [B, D]: residual blocks, the mean over places, a linear layer.

    sizes: channels of the first convolution, then of each block; width.
    """

    min_length = 3

    def __init__(self, sizes: dict[str, Any], ambiguous: str) -> None:
        super().__init__()
        channels = sizes["channels"]
        self.ambiguous, self.width, self.k = ambiguous, sizes["width"], sizes["k"]
        self.first = nn.Conv1d(N_BASES, channels[0], self.k, padding=1, bias=False)
        pairs = pairwise(channels)
        self.blocks = nn.ModuleList(ResidualBlock(n_in, n_out, self.k) for n_in, n_out in pairs)
        self.linear = nn.Linear(channels[-1], self.width)

    def convolve(self, codes_BL: torch.Tensor, lengths_B: Lengths) -> tuple[torch.Tensor, Lengths]:
        """[B, C, places] before the mean, and lengths."""
        x_BCL = self.first(one_hot(codes_BL, self.ambiguous, self.first.weight.dtype))
        lengths_B = None if lengths_B is None else lengths_B - (self.k - 3)
        for block in self.blocks:
            x_BCL, lengths_B = block(x_BCL, lengths_B)
        return x_BCL, lengths_B

    def forward(self, codes_BL: torch.Tensor, lengths_B: Lengths = None) -> torch.Tensor:
        return self.linear(mean_places(*self.convolve(codes_BL, lengths_B)))


class MPRAnn(nn.Module):
    """Codes of one length to [B, 200]: four convolutions, then two sigmoid layers.

    The activations of the last three convolutions are a softmax over channels, as published.
    """

    def __init__(self, sizes: dict[str, Any], ambiguous: str, length_bp: int) -> None:
        super().__init__()
        self.ambiguous = ambiguous
        channels, ks, dense = sizes["channels"], sizes["ks"], sizes["dense"]
        self.width = dense[1]
        pairs = zip([N_BASES, *channels[:-1]], channels, ks, strict=True)
        self.convs = nn.ModuleList(nn.Conv1d(n_in, n_out, k) for n_in, n_out, k in pairs)
        self.norms = nn.ModuleList(BatchNorm(n) for n in channels)
        n_places = max(length_bp - (ks[0] - 1) - (ks[1] - 1), 0) // 2 - (ks[2] - 1) - (ks[3] - 1)
        check_places(n_places, length_bp)
        self.linear1 = nn.Linear(channels[-1] * n_places, dense[0])
        self.linear2 = nn.Linear(*dense)
        self.drop_places, self.drop_dense = nn.Dropout(0.1), nn.Dropout(0.3)

    def forward(self, codes_BL: torch.Tensor, lengths_B: Lengths = None) -> torch.Tensor:
        x_BCL = one_hot(codes_BL, self.ambiguous, self.linear1.weight.dtype)
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            x_BCL = conv(x_BCL)
            x_BCL = norm(functional.relu(x_BCL) if i == 0 else x_BCL.softmax(1))
            if i == 1:
                x_BCL = self.drop_places(functional.max_pool1d(x_BCL, 2))
        flat_BD = flatten_places(self.drop_places(x_BCL))
        dense_BD = self.drop_dense(torch.sigmoid(self.linear1(flat_BD)))
        return torch.sigmoid(self.linear2(dense_BD))


class Malinois(nn.Module):
    """Codes of up to 600 bases to [B, 1000]; each sequence stands in the middle of 600.

    What stands beside it: the plasmid's own bases (`flanks: corrected`, as Malinois was made;
    `upstream` and `downstream` name another plasmid's), or zeros ('reference', as Reddy et al.
    do). Its head is 'branched': three layers for each output.
    """

    min_length = 1

    def __init__(self, sizes: dict[str, Any], ambiguous: str) -> None:
        super().__init__()
        channels, ks, self.input_bp = sizes["channels"], sizes["ks"], sizes["input_bp"]
        self.ambiguous, self.width, self.max_length = ambiguous, sizes["width"], self.input_bp
        if sizes["flanks"] not in FLANKS:
            raise ValueError(f"flanks is {sizes['flanks']!r}, expected {' or '.join(FLANKS)}")
        around = [""] * 2
        if sizes["flanks"] == "corrected":
            around = [sizes["upstream"] or MPRA_UPSTREAM, sizes["downstream"] or MPRA_DOWNSTREAM]
        # plain arrays, not buffers: they belong to the configuration, not to the weights
        self.flanks = [encode(text, "flank") for text in around]
        pairs = zip([N_BASES, *channels[:-1]], channels, ks, strict=True)
        self.convs = nn.ModuleList(
            nn.Conv1d(n_in, n_out, k, padding="same") for n_in, n_out, k in pairs
        )
        self.norms = nn.ModuleList(BatchNorm(n) for n in channels)
        n_places = (self.input_bp // 3 // 4 + 2) // 4
        self.linear = nn.Linear(channels[-1] * n_places, self.width)
        self.norm = BatchNorm(self.width)
        self.dropout = nn.Dropout(sizes["dropout"])

    def place(self, codes_BL: torch.Tensor, lengths_B: Lengths) -> torch.Tensor:
        """uint8 [B, 600]: each sequence in the middle (the left side is the shorter), flanked."""
        n_rows, width = codes_BL.shape
        if lengths_B is None:
            lengths_B = torch.full((n_rows,), width, device=codes_BL.device)
        left_B1 = (self.input_bp - lengths_B[:, None]) // 2
        source_BL = torch.arange(self.input_bp, device=codes_BL.device) - left_B1
        up, down = (torch.from_numpy(f).to(codes_BL.device, codes_BL.dtype) for f in self.flanks)
        line = torch.cat([codes_BL.new_full((1,), PAD_CODE), up, down])
        index_BL = torch.where(source_BL < 0, source_BL + len(up) + 1, 0).clamp(min=0)
        beyond_BL = source_BL - lengths_B[:, None]
        is_down_BL = (beyond_BL >= 0) & (beyond_BL < len(down))
        index_BL = torch.where(is_down_BL, beyond_BL + len(up) + 1, index_BL)
        inside_BL = (source_BL >= 0) & (beyond_BL < 0)
        own_BL = codes_BL.gather(1, source_BL.clamp(0, width - 1))
        return torch.where(inside_BL, own_BL, line[index_BL])

    def convolve(self, codes_BL: torch.Tensor, lengths_B: Lengths = None) -> torch.Tensor:
        """[B, 2600], before the dense layer."""
        placed_BL = self.place(codes_BL, lengths_B)
        x_BCL = one_hot(placed_BL, self.ambiguous, self.linear.weight.dtype)
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            x_BCL = functional.relu(norm(conv(x_BCL)))
            x_BCL = functional.pad(x_BCL, (1, 1)) if i == 2 else x_BCL
            x_BCL = functional.max_pool1d(x_BCL, 3 if i == 0 else 4)
        return x_BCL.flatten(1)

    def forward(self, codes_BL: torch.Tensor, lengths_B: Lengths = None) -> torch.Tensor:
        dense_BD = self.linear(self.convolve(codes_BL, lengths_B))
        return self.dropout(functional.relu(self.norm(dense_BD)))


def flatten_places(x_BCL: torch.Tensor) -> torch.Tensor:
    """[B, L x C]: all channels of the first place, then those of the next."""
    return x_BCL.transpose(1, 2).flatten(1)


def check_places(n_places: int, length_bp: int) -> None:
    """ValueError when nothing is left of a sequence after the convolutions."""
    if n_places < 1:
        raise ValueError(
            f"length_bp {length_bp} is too short: no place is left after the convolutions and "
            "pools; give a longer one or a network for any length (MTLucifer, LegNet, ResNet)"
        )
