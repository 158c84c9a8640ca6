"""What stands on a promoter network's embedding: a head with one output for each measured cell.

Shapes: B sequences, D width of the embedding, C outputs, G layers side by side, H hidden.
"""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import nn

MLP_WIDTH = 512  # Source: Reddy et al. 2023, code, MTLFinalPredictor (there, but not used)
#: Source: boda2, the published Malinois: branched_channels, branched_dropout_p.
BRANCH_WIDTH, BRANCH_DROPOUT = 140, 0.5757


class GroupedLinear(nn.Module):
    """G linear layers side by side: [B, D] (the same for all) or [B, G, D] to [B, G, H]."""

    def __init__(self, n_groups: int, n_in: int, n_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_groups, n_in, n_out))
        self.bias = nn.Parameter(torch.empty(n_groups, n_out))

    def init_parameters(self) -> None:
        """As `nn.Linear`: uniform within 1 / sqrt(inputs)."""
        from transformers import initialization

        bound = self.weight.shape[1] ** -0.5
        initialization.uniform_(self.weight, -bound, bound)
        initialization.uniform_(self.bias, -bound, bound)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pattern = "bd,gdh->bgh" if x.ndim == 2 else "bgd,gdh->bgh"
        return torch.einsum(pattern, x, self.weight) + self.bias


class BranchedHead(nn.Module):
    """[B, D] to [B, C]: three layers and an output for each of C, ReLU and dropout between."""

    def __init__(self, width: int, n_outputs: int) -> None:
        super().__init__()
        widths = [width, BRANCH_WIDTH, BRANCH_WIDTH, BRANCH_WIDTH]
        pairs = pairwise(widths)
        self.layers = nn.ModuleList(GroupedLinear(n_outputs, a, b) for a, b in pairs)
        self.output = GroupedLinear(n_outputs, BRANCH_WIDTH, 1)
        self.dropout = nn.Dropout(BRANCH_DROPOUT)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for i, layer in enumerate(self.layers):
            x = layer(x)
            # Source: boda2, BranchedLinear: nothing after the last of them
            x = self.dropout(torch.relu(x)) if i < len(self.layers) - 1 else x
        return self.output(x)[..., 0]


class MlpHead(nn.Module):
    """[B, D] to [B, C]: a common norm, then three layers with GELU between for each output."""

    def __init__(self, width: int, n_outputs: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.first = GroupedLinear(n_outputs, width, MLP_WIDTH)
        self.second = GroupedLinear(n_outputs, MLP_WIDTH, MLP_WIDTH)
        self.output = GroupedLinear(n_outputs, MLP_WIDTH, 1)
        self.activation = nn.GELU()

    def forward(self, x_BD: torch.Tensor) -> torch.Tensor:
        x = self.activation(self.first(self.norm(x_BD)))
        return self.output(self.activation(self.second(x)))[..., 0]


HEADS: dict[str, Callable[[int, int], nn.Module]] = {
    "linear": nn.Linear,
    "mlp": MlpHead,
    "branched": BranchedHead,
}
