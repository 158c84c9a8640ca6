"""TNF-VAE: a variational autoencoder on tetranucleotide frequencies, as VAMB has it.

Trained without labels on the very sequences that are embedded. Follows VAMB: input 103 projected
frequencies, each scaled to mean 0 and variance 1; two hidden layers (linear, leaky ReLU, batch
normalisation, no dropout); latent mean of 32 with noise of variance 1; squared error against the
prior's Kullback-Leibler divergence; Adam; long contigs weigh more; batch size doubled on the way.
Differs: no coverage (so squared error is all there is to reconstruct), and batches share an epoch
out evenly instead of leaving a small one at its end.
Source: Nissen et al. 2021 (doi 10.1038/s41587-020-00777-4) and the public code of VAMB 4, whose
defaults for a single sample are taken.

Shapes: B batch, S sequences, F features (103), Z latent.
"""

from itertools import pairwise

import numpy as np
import torch
from torch import nn

from genomelm_utils.baselines.tetranucleotide import tnf_k
from genomelm_utils.tasks.linear import standardise
from genomelm_utils.tasks.windows import Codes
from genomelm_utils.training.loop import fit
from genomelm_utils.training.prefetch import Batch, BatchFunction

LATENT = 32
HIDDEN = (256, 256)
BETA = 200.0  # the divergence is divided by LATENT * BETA
EPOCHS = 300
BATCH = 256
DOUBLE_AT = (25, 75, 150, 225)  # epochs at which the batch size doubles
PEAK_LR = 1e-3


class TnfVae(nn.Module):
    """Encoder, decoder and loss: `vae(features_BF, weights_B) -> (loss_sum, B)`."""

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.encoder = _hidden_layers(n_features, *HIDDEN)
        self.mean = nn.Linear(HIDDEN[-1], LATENT)
        self.decoder = _hidden_layers(LATENT, *reversed(HIDDEN))
        self.output = nn.Linear(HIDDEN[0], n_features)

    def encode(self, features_BF: torch.Tensor) -> torch.Tensor:
        """Latent means [B, Z]."""
        return self.mean(self.encoder(features_BF))

    def forward(
        self, features_BF: torch.Tensor, weights_B: torch.Tensor
    ) -> tuple[torch.Tensor, int]:
        """Weighted sum over the batch of squared error per feature and scaled divergence."""
        mean_BZ = self.encode(features_BF)
        latent_BZ = mean_BZ + torch.randn_like(mean_BZ)
        rebuilt_BF = self.output(self.decoder(latent_BZ))
        error_B = (rebuilt_BF - features_BF).square().mean(1)
        divergence_B = 0.5 * mean_BZ.square().sum(1) / (LATENT * BETA)
        return ((error_B + divergence_B) * weights_B).sum(), len(features_BF)


def tnf_vae_features(codes: Codes, *, seed: int = 0, epochs: int = EPOCHS) -> np.ndarray:
    """Latent means of a VAE trained on these sequences: float32 [S, 32].

    The same to the bit for the same sequences, seed and number of threads on a CPU. A row depends
    on all sequences given, so sets that are to be compared must be embedded together. Because its
    input is projected TNF, the strand hardly matters.

    Raises:
        ValueError: fewer than two sequences, or one without 4-mer frequencies (see `tnf`).
    """
    features_SF = tnf_k(codes)
    if len(features_SF) < 2:
        raise ValueError("a VAE on one sequence has nothing to learn, expected at least two")
    features_SF = torch.from_numpy(standardise(features_SF, features_SF)[0].astype(np.float32))
    weights_S = torch.from_numpy(length_weights(np.array([len(one) for one in codes])))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        vae = TnfVae(features_SF.shape[1])
    plan_E = plan_epochs(len(features_SF), epochs)
    steps = sum(plan_E)
    fit(
        vae,
        _deal_batches(features_SF, weights_S, plan_E, seed),
        steps=steps,
        peak_lr=PEAK_LR,
        schedule="constant",
        weight_decay=0.0,
        clip_norm=0.0,
        log_every=steps,
        seed=seed,
        precision="fp32",
        progress=False,
    )
    vae.eval()
    with torch.no_grad():
        return vae.encode(features_SF).numpy()


def length_weights(length_S: np.ndarray) -> np.ndarray:
    """Weight of each sequence in the loss, float32 [S], mean 1: log(length in bp) - 5, at least 2.

    Source: VAMB's `encode.py`.
    """
    weights_S = np.maximum(np.log(length_S) - 5.0, 2.0)
    return (weights_S / weights_S.mean()).astype(np.float32)


def plan_epochs(n_sequences: int, epochs: int) -> list[int]:
    """Number of batches in each epoch; at least one, each of at least two sequences."""
    bounds = [0, *[e for e in DOUBLE_AT if e < epochs], epochs]
    plan = []
    for doublings, (begin, end) in enumerate(pairwise(bounds)):
        plan += [max(1, n_sequences // (BATCH * 2**doublings))] * (end - begin)
    return plan


def _deal_batches(
    features_SF: torch.Tensor, weights_S: torch.Tensor, plan_E: list[int], seed: int
) -> BatchFunction:
    """Every sequence once per epoch, in an order drawn from (seed, epoch)."""
    first_step_E = np.cumsum([0, *plan_E])

    def make_batch(step: int, micro: int) -> Batch:
        epoch = int(np.searchsorted(first_step_E, step, side="right")) - 1
        order_S = np.random.default_rng([seed, epoch]).permutation(len(features_SF))
        rows_B = np.array_split(order_S, plan_E[epoch])[step - first_step_E[epoch]]
        return {
            "features_BF": features_SF[torch.from_numpy(rows_B)],
            "weights_B": weights_S[torch.from_numpy(rows_B)],
            "n_targets": len(rows_B),
        }

    return make_batch


def _hidden_layers(*widths: int) -> nn.Sequential:
    """Linear, leaky ReLU, batch normalisation, for each pair of neighbouring widths."""
    layers = []
    for n_in, n_out in pairwise(widths):
        layers += [nn.Linear(n_in, n_out), nn.LeakyReLU(), nn.BatchNorm1d(n_out)]
    return nn.Sequential(*layers)
