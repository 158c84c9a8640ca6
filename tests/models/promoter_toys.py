"""Small promoter networks for tests: every architecture that needs no other file."""

import numpy as np
import torch
from torch import nn

from genomelm_utils.models.promoter_nets import PromoterNet, build_promoter_net

SMALL = {
    "MTLucifer": {"channels": [32, 48, 64], "n_layers": 2, "n_heads": 4},
    "MTLuciferFirst": {"channels": [32, 48, 64], "n_layers": 2, "n_heads": 4, "wide": 64},
    "MTLuciferWithResidualBlocks": {"channels": [32, 48, 64], "n_layers": 2, "n_heads": 4},
    "ResNet": {"channels": [32, 32, 48, 64], "width": 32},
    "LegNet": {"channels": [64, 32, 32, 16]},
    "Malinois": {"channels": [30, 20, 20], "width": 50},
    "MotifBasedFCN": {"dense": [16, 8]},
    "DNABERTRandomInit": {"preset": "micro"},
    "PureCNN": {"channels": [32, 32, 48, 48], "dense": [32, 32]},
    "PureCNNLarge": {"channels": [32, 32, 48, 48, 48, 48], "dense": [32, 32]},
    "MPRAnn": {"channels": [20, 20, 20, 10], "dense": [30, 20]},
    "LegNetOriginal": {"channels": [64, 32, 32, 16]},
}
ONE_LENGTH = ("PureCNN", "PureCNNLarge", "MPRAnn", "LegNetOriginal")
ANY_LENGTH = tuple(name for name in SMALL if name not in ONE_LENGTH)
MOTIFS = {
    "tata": np.eye(4)[[3, 0, 3, 0, 0, 0, 0]],
    "gata": np.array([[0.1, 0.1, 0.7, 0.1], *np.eye(4)[[0, 3, 0, 0, 2, 1]]]),
}


def small_net(name: str, heads: dict | None = None, **more) -> PromoterNet:
    """In evaluation mode; norms are not as at the start, and sequences make a difference."""
    more = {"length_bp": length_of(name), **SMALL[name], **more}
    motifs = MOTIFS if name.startswith("MotifBased") else None
    net = build_promoter_net(name, heads or {"a": ["x", "y"]}, motifs=motifs, **more)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.running_mean.uniform_(-0.5, 0.5, generator=generator)
                module.running_var.uniform_(0.5, 2, generator=generator)
            if isinstance(module, nn.BatchNorm1d | nn.GroupNorm):
                module.bias.uniform_(-0.5, 0.5, generator=generator)
            if isinstance(module, nn.Conv1d | nn.Linear):
                module.weight.mul_(2)
    return net.eval()


def length_of(name: str) -> int:
    """A length that the network can read."""
    return 160 if name == "PureCNNLarge" else 100


def random_rows(lengths: list[int], seed: int = 1) -> list[np.ndarray]:
    """Base codes with an N and two sites of the motifs."""
    rng = np.random.default_rng(seed)
    rows = [rng.integers(0, 4, n).astype(np.uint8) for n in lengths]
    for row in rows:
        row[len(row) // 3] = 14
        if len(row) > 40:
            row[2:9] = [3, 0, 3, 0, 0, 0, 0]
            row[20:27] = [2, 0, 3, 0, 0, 2, 1]
    return rows
