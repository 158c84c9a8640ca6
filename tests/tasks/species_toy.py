"""Simulated species, a small tokenizer and a small encoder: contrastive training in seconds."""

from pathlib import Path

import numpy as np
import torch

from genomelm_utils.datasets.species import GenomeSet, open_genome_set, simulate_genome_set
from genomelm_utils.datasets.species_pairs import PairSampler
from genomelm_utils.models.alibi_bert import AlibiBertModel, alibi_config
from genomelm_utils.sequences.simulate_species import simulate_species
from genomelm_utils.tasks.species_training import Trained, curriculum, train_species
from genomelm_utils.tokenizers.bpe import load_bpe, train_bpe_on_store

VOCAB = 64
SETTINGS = {
    "phases": curriculum(6),
    "batch_pairs": 8,
    "peak_lr": 1e-3,
    "head_lr_factor": 3.0,
    "n_valid_pairs": 12,
    "eval_every": 2,
    "save_every": 2,
    "log_every": 1,
    "seed": 5,
    "progress": False,
}


def make_toy(folder: Path) -> Path:
    """The folder of genomes and tokenizer, made once."""
    simulated = simulate_species(np.random.default_rng(3), n_species=8, bases_per_species=20_000)
    genomes = simulate_genome_set(simulated, folder / "genomes", n_train=6, seed=0)
    train_bpe_on_store(genomes.store, VOCAB, 50_000).save_pretrained(folder / "tokenizer")
    return folder


class Toy:
    """What a training needs, opened from the folder of `make_toy`."""

    def __init__(self, folder: Path) -> None:
        self.genomes: GenomeSet = open_genome_set(folder / "genomes")
        self.tokenizer = load_bpe(folder / "tokenizer")

    def sampler(self, part: str = "train") -> PairSampler:
        return PairSampler(self.genomes, part, lengths_bp=(100, 150, 200), seed=1)

    def model(self, dropout: float = 0.0, seed: int = 0) -> AlibiBertModel:
        config = alibi_config(
            "micro",
            vocab_size=VOCAB,
            hidden_size=32,
            intermediate_size=32,
            hidden_dropout_prob=dropout,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return AlibiBertModel(config)

    def train(
        self, model: AlibiBertModel, folder: Path, pairs=None, valid=None, **changes
    ) -> Trained:
        settings = {**SETTINGS, **changes}
        return train_species(
            model,
            self.tokenizer,
            pairs or self.sampler(),
            valid or self.sampler("valid"),
            folder=folder,
            **settings,
        )


def weights_of(module: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in module.parameters()])
