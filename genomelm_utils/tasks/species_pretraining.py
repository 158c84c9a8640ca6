"""A run of species-aware training from genomes to tables: the pieces notebook 09 is made of."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from genomelm_utils.models.alibi_bert import AlibiBertModel, alibi_config
from genomelm_utils.models.alibi_layers import Dropout
from genomelm_utils.models.alibi_loading import load_alibi
from genomelm_utils.pretraining.token_bits import token_baselines, token_bits
from genomelm_utils.tasks.contrastive_batches import MANIFOLD, PairSource
from genomelm_utils.tasks.species_training import Phase, Trained, curriculum
from genomelm_utils.tokenizers.bpe import N_SPECIAL, load_bpe, token_bases, tokenize_codes
from genomelm_utils.training.checkpoint import hide_bars, write_folder
from genomelm_utils.training.history import TIMING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from genomelm_utils.datasets.species import GenomeSet
    from genomelm_utils.datasets.species_pairs import PairSampler
    from genomelm_utils.pretraining.token_bits import FrozenTokens
    from genomelm_utils.tasks.token_mlm import PretrainedTokens

CURRICULUM = "curriculum"
SHOWN_PAIRS = 200


def make_phases(
    objective: str, steps: int, mix_layer: int = MANIFOLD, first_steps: int = 0
) -> tuple[Phase, ...]:
    """The phases of a training: the paper's curriculum, or one objective all the way.

    first_steps: of a curriculum's first phase, 0 = a third.
    Raises: ValueError for `first_steps` with one objective, which has no second phase.
    """
    if objective == CURRICULUM:
        return curriculum(steps, mix_layer, first_steps)
    if first_steps:
        raise ValueError(
            f"first_steps is {first_steps}, expected 0: objective {objective} has one phase"
        )
    return (Phase(objective, steps, mix_layer),)


def open_pairs(
    genomes: "GenomeSet",
    pairs_file: Path | None,
    folder: Path,
    *,
    lengths_bp: tuple[int, ...],
    batch_pairs: int,
    seed: int,
    error_rate: float = 0.0,
) -> PairSource:
    """Training pairs: windows of the training genomes, or a file in the published format.

    The file is read once into `folder`, as base codes. error_rate: of windows, see `PairSampler`.
    Raises: ValueError for a file and an error rate; as `read_pairs_csv` and `PairSampler`.
    """
    from genomelm_utils.datasets.species_pair_files import read_pairs_csv
    from genomelm_utils.datasets.species_pairs import PairSampler

    if pairs_file is not None:
        if error_rate:
            raise ValueError(
                f"error_rate is {error_rate}, expected 0 with a pairs_file ({pairs_file}): errors "
                "are for windows cut from genomes; make the file with --error-rate"
            )
        return read_pairs_csv(pairs_file, folder, seed=seed, pairs_per_step=batch_pairs)
    return PairSampler(genomes, "train", lengths_bp=lengths_bp, seed=seed, error_rate=error_rate)


def show_pairs(sampler: "PairSampler", n: int = SHOWN_PAIRS) -> pd.DataFrame:
    """Where the first pairs lie, one row each: genome, start, length and strand of both windows.

    Starts are 0-based in the joined genomes.
    """
    places = sampler.places(0, 0, n)
    table = sampler.genomes.table.iloc[places.genome_B][["genome", "species"]]
    columns = {}
    for i, name in enumerate(("first", "second")):
        columns |= {
            f"{name}_start": places.start_B2[:, i],
            f"{name}_bp": places.length_B2[:, i],
            f"{name}_strand": np.where(places.minus_B2[:, i], "-", "+"),
        }
    return table.reset_index(drop=True).assign(**columns)


def describe_tokens(
    tokenizer: "PreTrainedTokenizerFast", pairs: PairSource, n: int = SHOWN_PAIRS
) -> pd.DataFrame:
    """Length in bases and in tokens of the first windows: columns length_bp, n_tokens."""
    windows = pairs.pairs(0, 0, n).first
    ids = tokenize_codes(tokenizer, windows)
    return pd.DataFrame(
        {
            "length_bp": [len(codes) for codes in windows],
            "n_tokens": [int((row >= N_SPECIAL).sum()) for row in ids],
        }
    )


def build_encoder(
    start: Path | None,
    preset: str,
    vocab_size: int,
    *,
    dropout: float,
    seed: int,
    layer_scale: float = 1.0,
) -> AlibiBertModel:
    """The encoder that training starts from: of a folder (`start`), or with random weights.

    layer_scale: factor on the layers' random weight matrices. With a small one the network begins
    as the mean of its token embeddings, from which few steps lead further than from layers that
    mix tokens at random.
    Raises: ValueError when the folder's model has another vocabulary than the tokenizer.
    """
    if start is None:
        config = alibi_config(preset, vocab_size=vocab_size, hidden_dropout_prob=dropout)
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.default_generator.manual_seed(seed)
            model = AlibiBertModel(config).eval()
            for weight in model.encoder.parameters():
                if weight.dim() == 2:
                    weight *= layer_scale
        return model
    model = load_alibi(start, "encoder")
    if model.config.vocab_size != vocab_size:
        raise ValueError(
            f"{start} has a vocabulary of {model.config.vocab_size} tokens, the tokenizer has "
            f"{vocab_size}; take the tokenizer that the model was trained with"
        )
    model.config.hidden_dropout_prob = dropout
    for module in model.modules():
        if isinstance(module, Dropout):
            module.p = dropout
    return model


def save_encoder(model: AlibiBertModel, tokenizer: "PreTrainedTokenizerFast", folder: Path) -> Path:
    """Write model and tokenizer in Hugging Face format, complete or not at all."""
    with write_folder(folder) as partial, hide_bars():
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
    return folder


def tidy_training(trained: Trained) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(history, phases) of a training without timings, which belong into no table.

    Timings stay in the `history.csv` of each phase's checkpoints.
    """
    objective = trained.phases[["phase", "objective"]]
    history = trained.history.merge(objective, on="phase")
    return (
        history.drop(columns=[name for name in TIMING if name in history]),
        trained.phases.drop(columns="wall_s"),
    )


def keep_mlm(final: Path, folder: Path) -> Path:
    """Save the encoder of a pretrained masked language model, with its tokenizer; the folder."""
    return save_encoder(load_alibi(final, "encoder"), load_bpe(final), folder)


def tidy_mlm(
    masked: "PretrainedTokens",
    frozen: Sequence["FrozenTokens"],
    tokenizer: "PreTrainedTokenizerFast",
    pairs: PairSource,
) -> pd.DataFrame:
    """Bits per base of the masked language model beside guessing and token frequencies.

    Frequencies are counted on training windows only. See `pretraining.token_bits` for what these
    bits can be compared with.
    """
    windows = pairs.pairs(0, 0, SHOWN_PAIRS).first
    ids = np.concatenate(tokenize_codes(tokenizer, windows))
    counts_V = np.bincount(ids, minlength=len(tokenizer))
    bases_V = token_bases(tokenizer)
    network = {"baseline": "masked language model", **token_bits(masked.model, frozen, bases_V)}
    return pd.concat(
        [pd.DataFrame([network]), token_baselines(counts_V, frozen, bases_V)], ignore_index=True
    )
