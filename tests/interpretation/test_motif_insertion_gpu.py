"""Insertion on a CUDA device: draws and effects as on a CPU. Needs no more than torch and numpy."""

import numpy as np
import pytest
import torch
from torch import nn

from genomelm_utils.interpretation.motif_draws import shuffle_motifs
from genomelm_utils.interpretation.motif_insertion import inserted_sequences, motif_effects
from genomelm_utils.models.motif_scan import MotifScanner
from genomelm_utils.models.promoter_blocks import stack_codes
from genomelm_utils.models.promoter_nets import build_promoter_net
from genomelm_utils.sequences.alphabet import encode

GATA = np.eye(4)[encode("AGATAAGATC")]
MOTIFS = {"m": GATA * 0.6 + 0.1, "n": GATA[::-1] * 0.6 + 0.1}

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


class Counter(nn.Module):
    """Counts a motif: whole numbers, which no rounding moves."""

    def __init__(self) -> None:
        super().__init__()
        self.scanner = MotifScanner.from_motifs({"gata": GATA})
        self.weight = nn.Parameter(torch.ones(1, 2))

    def forward(self, codes_BL: torch.Tensor) -> torch.Tensor:
        return self.scanner(codes_BL) @ self.weight


def backgrounds(n: int, length: int = 80) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 4, (n, length)).astype(np.uint8)


def test_a_gpu_draws_the_same() -> None:
    codes = backgrounds(20)
    cpu = motif_effects(Counter(), codes, MOTIFS, copies=3, replicates=2)
    gpu = motif_effects(Counter().cuda(), codes, MOTIFS, copies=3, replicates=2)
    assert np.allclose(cpu.effects_MSC, gpu.effects_MSC, atol=1e-5)
    here = stack_codes(list(codes))
    one, other = (inserted_sequences(at, MOTIFS, "m") for at in (here, here.cuda()))
    assert torch.equal(one, other.cpu())


def test_a_network_s_effects_are_those_of_the_cpu() -> None:
    network = build_promoter_net("LegNetMini", {"task": ["a", "b"]}, seed=1)
    motifs = {**MOTIFS, **shuffle_motifs(MOTIFS)}
    cpu = motif_effects(network, backgrounds(30), motifs, copies=2, replicates=2)
    network = network.cuda()
    gpu = motif_effects(network, backgrounds(30), motifs, copies=2, replicates=2)
    half = motif_effects(network, backgrounds(30), motifs, copies=2, replicates=2, precision="bf16")
    spread = cpu.effects_MSC.std()
    assert np.abs(cpu.effects_MSC - gpu.effects_MSC).max() < 0.02 * spread
    assert np.abs(cpu.effects_MSC.mean(1) - half.effects_MSC.mean(1)).max() < spread
    assert half.settings["precision"] == "bf16"
