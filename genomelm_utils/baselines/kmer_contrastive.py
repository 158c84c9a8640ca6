"""A small contrastive network on k-mer frequencies: what DNABERT-S must beat to be worth its cost.

4-mer frequencies -> linear 512 -> batch normalisation -> sigmoid -> dropout 0.2 -> linear 256. Two
windows of one genome are pulled together, windows of others pushed apart.
Source: Celikkanat, Masegosa & Nielsen, NeurIPS 2024 (arXiv:2411.02125), its non-linear model with
the Bernoulli loss, and the authors' public settings (k 4, Adam 1e-3, 200 negatives per pair).

Shapes: B pairs, K input words, D embedding width, S sequences.
"""

from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from genomelm_utils.baselines.tetranucleotide import canonical_codes, canonical_tnf, tnf
from genomelm_utils.datasets.species_pairs import NO_SPECIES, Pairs
from genomelm_utils.sequences.alphabet import N_BASES
from genomelm_utils.tasks.windows import Codes
from genomelm_utils.training.loop import FitResult, fit

PAIRS_PER_STEP = 201  # so that each pair meets the source's 200 negatives inside its batch
PEAK_LR = 1e-3
STEPS = 300  # on 20 bacterial genomes more steps did not serve species never seen
_ROWS_PER_FORWARD = 2**14
_NEAREST = 1e-6  # squared distance below which a negative's gradient is cut off


class PairSource(Protocol):
    """Anything with `.pairs(step, start, stop)`, pure in its arguments."""

    def pairs(self, step: int, start: int, stop: int) -> Pairs: ...


class KmerEncoderConfig(PretrainedConfig):
    """Word length, whether strands are folded, and the widths.

    canonical: count each word with its reverse complement (136 inputs for k = 4). The source counts
    the strand as written; folding makes the embedding the same for both, by construction.
    """

    model_type = "kmer_encoder"

    def __init__(
        self,
        k: int = 4,
        canonical: bool = True,
        hidden_size: int = 512,
        embedding_size: int = 256,
        dropout: float = 0.2,
        **kwargs: object,
    ) -> None:
        self.k, self.canonical = k, canonical
        self.hidden_size, self.embedding_size, self.dropout = hidden_size, embedding_size, dropout
        super().__init__(**kwargs)


class KmerEncoder(PreTrainedModel):
    """k-mer frequencies to embeddings: `encoder(freq_SK) -> [S, D]`; not L2-normalised."""

    config_class = KmerEncoderConfig
    main_input_name = "freq_SK"

    def __init__(self, config: KmerEncoderConfig) -> None:
        super().__init__(config)
        n_words = len(canonical_codes(config.k)) if config.canonical else N_BASES**config.k
        self.layers = nn.Sequential(
            nn.Linear(n_words, config.hidden_size),
            nn.BatchNorm1d(config.hidden_size),
            nn.Sigmoid(),
            nn.Dropout(config.dropout),
            nn.Linear(config.hidden_size, config.embedding_size),
        )
        self.post_init()

    def forward(self, freq_SK: torch.Tensor) -> torch.Tensor:
        """Embeddings [S, D] of rows of frequencies."""
        return self.layers(freq_SK)

    def count(self, codes: Codes) -> torch.Tensor:
        """The input of the network for these sequences: float32 [S, K]. Errors as `tnf`."""
        count = canonical_tnf if self.config.canonical else tnf
        return torch.from_numpy(count(codes, self.config.k))


class KmerPairTask(nn.Module):
    """The contrastive loss for `training.loop.fit`.

    A pair of windows is the same genome with probability exp(-squared distance). Negatives are the
    second windows of all other pairs in the batch, but not those of the same species (with
    thousands of genomes the source need not care, with twenty every batch is full of them).
    """

    def __init__(self, model: KmerEncoder) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, first_BK: torch.Tensor, second_BK: torch.Tensor, species_B: torch.Tensor
    ) -> tuple[torch.Tensor, int]:
        """(mean binary cross entropy over all pairs and negatives) * B, and B."""
        joined = self.model(torch.cat([first_BK, second_BK])).float()
        first_BD, second_BD = joined.chunk(2)
        other_BB = species_B[:, None] != species_B
        loss = bernoulli_loss(first_BD, second_BD, other_BB)
        return loss * len(first_BD), len(first_BD)


def bernoulli_loss(
    first_BD: torch.Tensor, second_BD: torch.Tensor, other_BB: torch.Tensor
) -> torch.Tensor:
    """Mean of -log p over pairs and -log(1 - p) over negatives, with p = exp(-squared distance).

    other_BB: where first i and second j are a negative. Source: Celikkanat et al. 2024.
    """
    near_B = (first_BD - second_BD).square().sum(1)
    norms_BB = first_BD.square().sum(1)[:, None] + second_BD.square().sum(1)
    far_BB = (norms_BB - 2 * first_BD @ second_BD.T).clamp_min(_NEAREST)
    surprise_BB = -torch.log(-torch.expm1(-far_BB))
    total = near_B.sum() + surprise_BB.masked_fill(~other_BB, 0.0).sum()
    return total / (len(first_BD) + other_BB.sum())


def train_kmer_encoder(
    pairs: PairSource,
    *,
    steps: int = STEPS,
    pairs_per_step: int = PAIRS_PER_STEP,
    k: int = 4,
    canonical: bool = True,
    seed: int = 0,
    folder: Path | None = None,
    progress: bool = False,
) -> tuple[KmerEncoder, FitResult]:
    """The trained network, in evaluation mode, and the history of its training.

    Args:
        pairs: such as `datasets.species_pairs.PairSampler` or `PairFile`; in the latter, without
            species, all other pairs of a batch are negatives. Windows as long as what will be
            embedded serve best: short ones have noisier frequencies.
        steps, pairs_per_step: the source makes 3000 updates of 10,000 pairs.
        folder: history and checkpoint (a Hugging Face folder that `load_kmer_encoder` reads).

    Raises:
        ValueError: a batch of one species only (nothing to push apart), or a window without k-mers.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = KmerEncoder(KmerEncoderConfig(k=k, canonical=canonical))

    def make_batch(step: int, micro: int) -> dict[str, torch.Tensor | int]:
        return _count_pairs(encoder, pairs.pairs(step, 0, pairs_per_step), step)

    result = fit(
        KmerPairTask(encoder),
        make_batch,
        steps=steps,
        peak_lr=PEAK_LR,
        schedule="constant",
        weight_decay=0.0,
        clip_norm=0.0,
        log_every=max(1, steps // 20),
        folder=folder,
        seed=seed,
        precision="fp32",
        progress=progress,
    )
    return encoder.eval(), result


def _count_pairs(encoder: KmerEncoder, pairs: Pairs, step: int) -> dict[str, torch.Tensor | int]:
    """A batch for `KmerPairTask`. Where the species is not known, each pair is one of its own."""
    own_B = -2 - np.arange(len(pairs.species))
    species_B = np.where(pairs.species == NO_SPECIES, own_B, pairs.species).astype(np.int64)
    if len(np.unique(species_B)) < 2:
        raise ValueError(
            f"step {step}: all {len(species_B)} pairs are of one species, expected at least two "
            "species to push apart; give more genomes or more pairs per step"
        )
    return {
        "first_BK": encoder.count(pairs.first),
        "second_BK": encoder.count(pairs.second),
        "species_B": torch.from_numpy(species_B),
        "n_targets": len(species_B),
    }


def embed_kmers(encoder: KmerEncoder, codes: Codes) -> np.ndarray:
    """Embeddings of sequences of any lengths: float32 [S, D]. The encoder's mode is left as it was.

    Errors: `ValueError` for a sequence without k-mer frequencies (see `tnf`).
    """
    was_training = encoder.training
    encoder.eval()
    parts = []
    with torch.no_grad():
        for begin in range(0, max(len(codes), 1), _ROWS_PER_FORWARD):
            freq_SK = encoder.count(codes[begin : begin + _ROWS_PER_FORWARD])
            parts.append(encoder(freq_SK.to(encoder.device)).cpu())
    encoder.train(was_training)
    return torch.cat(parts).numpy()


def load_kmer_encoder(folder: str | Path) -> KmerEncoder:
    """A saved network in evaluation mode. Errors: OSError where there is none."""
    return KmerEncoder.from_pretrained(folder).eval()
