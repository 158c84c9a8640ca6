"""What `species train` does: an encoder of one's own genomes, split by species.

The settings are those of the small profile, or with `--start` those of the published training with
corrections; what is derived from which option is told before the first step.
"""

import argparse
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from genomelm_utils.command_outputs import check_new_folder, describe_run, tell
from genomelm_utils.species.genomes import find_species
from genomelm_utils.species.options import DEFAULT_PRESET

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from genomelm_utils.datasets.species import GenomeSet
    from genomelm_utils.datasets.species_contigs import Contigs
    from genomelm_utils.models.alibi_bert import AlibiBertModel
    from genomelm_utils.tasks.species_training import Trained

RECORD = "training.json"
# ours, as in params/small.yaml and the defaults of notebook 09
VOCAB_SIZE, VOCAB_BASES = 512, 10_000_000
VALID_BATCHES, N_EVALUATIONS = 9, 8
MIN_PAIRS = 16
MAX_PAIRS = 48  # Source: DNABERT-S, run.sh: --train_batch_size 48
CHUNK_PAIRS = 12  # pairs of 10 kb that fit into 80 GB, as in params/paper.yaml
TEST_CONTIGS, TEST_SPREAD = 30, 0.15  # per genome held out, as in notebook 10
FROM_RANDOM = {
    "peak_lr": 0.003,
    "layer_lr_factor": 0.03,
    "head_lr_factor": 1.0,
    "head_dim": 0,
    "temperature": 0.2,
    "schedule": "linear",
    "monitor": "accuracy",
}
# Source: DNABERT-S, run.sh: --lr, --lr_scale, --feat_dim, --temperature; the schedule is ours
FROM_START = {
    "peak_lr": 3e-6,
    "layer_lr_factor": 1.0,
    "head_lr_factor": 100.0,
    "head_dim": 128,
    "temperature": 0.05,
    "schedule": "cosine",
    "monitor": "loss",
}


class Choice(NamedTuple):
    """A setting and where it comes from."""

    value: Any
    why: str


def train(given: argparse.Namespace) -> list[str]:
    """A model folder with its tokenizer, records of the training, and contigs of held-out species.

    Until it is complete all lies in `.<out>.training` beside it, from where a stopped training goes
    on. Raises: ValueError for a folder that is there, fewer than two species to train on, genomes
    without room; as `datasets.species.build_genome_set` and `tasks.species_training.train_species`.
    """
    from genomelm_utils.training.checkpoint import write_folder

    check_new_folder(given.out)
    if given.start is not None and (given.tokenizer is not None or given.preset is not None):
        raise ValueError(
            "--start brings its own network and tokenizer: leave out --tokenizer and --preset"
        )
    species = find_species(given.genomes, given.species_table)
    work = given.out.with_name(f".{given.out.name}.training")
    genomes = split_genomes(given, species, work / "genomes")
    plan = plan_training(given, genomes)
    for name, choice in plan.items():
        tell(f"{name}: {choice.value} ({choice.why})")
    held_out = cut_held_out(genomes, plan["lengths_bp"].value, given.seed)
    trained = fit_encoder(given, genomes, plan, work)
    with write_folder(given.out) as partial:
        shutil.copytree(trained.final, partial, dirs_exist_ok=True)
        write_records(given, partial, plan, genomes, trained, held_out)
    shutil.rmtree(work)
    return describe_training(given, genomes, trained)


def fit_encoder(
    given: argparse.Namespace, genomes: "GenomeSet", plan: dict[str, Choice], work: Path
) -> "Trained":
    """The training itself; only windows to train on have sequencing errors."""
    from genomelm_utils.datasets import species_pairs
    from genomelm_utils.tasks.species_training import train_species

    tokenizer = open_tokenizer(given, genomes)
    model = open_encoder(given, plan, len(tokenizer))
    options = {"lengths_bp": plan["lengths_bp"].value, "seed": given.seed}
    rates = {"train": given.error_rate, "valid": 0.0}
    train_pairs, valid_pairs = (
        species_pairs.PairSampler(genomes, part, **options, error_rate=rate)
        for part, rate in rates.items()
    )
    settings = {"folder": work, "seed": given.seed, **fit_options(plan)}
    try:
        return train_species(model, tokenizer, train_pairs, valid_pairs, **settings)
    except FloatingPointError as error:
        raise ValueError(f"{error}; remove {work} and take another --seed") from error


# --- before --------------------------------------------------------------------------------


def split_genomes(given: argparse.Namespace, species: list[str], folder: Path) -> "GenomeSet":
    """The genomes, whole species for training or held out; two at least to train on."""
    from genomelm_utils.datasets.species import build_genome_set

    n = len(given.genomes)
    if len(set(species)) < 3:
        raise ValueError(
            f"{n} genomes of {len(set(species))} species: expected at least three, two to tell "
            "apart and one that is held out; give more genomes, or --table with their species"
        )
    n_train = min(max(round((1 - given.test_share) * n), 2), n - 1)
    table = pd.DataFrame({"file": [path.name for path in given.genomes], "species": species})
    genomes = build_genome_set(given.genomes, table, folder, n_train=n_train, seed=given.seed)
    trained = genomes.table.loc[genomes.table["part"] == "train", "species"].unique()
    if len(trained) < 2:
        raise ValueError(
            f"only {trained[0]!r} would be trained on, because species stay whole: expected two or "
            "more; take a smaller --test-share, or another --seed"
        )
    return genomes


def plan_training(given: argparse.Namespace, genomes: "GenomeSet") -> dict[str, Choice]:
    """Every setting that is not given, and which option it comes from."""
    parts = genomes.table.groupby("part")["species"].nunique()
    n_species, started = int(parts["train"]), given.start is not None
    per_batch = max(-(-MIN_PAIRS // n_species), 1) * n_species if n_species < MAX_PAIRS else 0
    batch_pairs = min(per_batch or MAX_PAIRS, MAX_PAIRS)
    every = max(given.steps // N_EVALUATIONS, 1)
    lengths = tuple(given.lengths_bp or ([10_000] if started else [2000]))
    objective = "curriculum" if started and given.steps >= 3 else "weighted_simclr"
    kind = "as published" if started else "as in the small profile"
    from_start = "from --start" if started else "from random weights, without --start"
    chosen = {
        "species": Choice(
            f"{n_species} to train on, {parts['test']} held out", f"--test-share {given.test_share}"
        ),
        "steps": Choice(given.steps, "--steps"),
        "lengths_bp": Choice(lengths, "--lengths-bp" if given.lengths_bp else from_start),
        "batch_pairs": Choice(
            batch_pairs,
            f"every species equally often, {MIN_PAIRS} to {MAX_PAIRS}: {n_species} species",
        ),
        "chunk_pairs": Choice(
            max(n for n in range(1, CHUNK_PAIRS + 1) if batch_pairs % n == 0) if started else 0,
            "divides batch_pairs, for the memory of a GPU" if started else "all at once",
        ),
        "valid_pairs": Choice(VALID_BATCHES * batch_pairs, f"{VALID_BATCHES} batches"),
        "eval_every": Choice(every, f"--steps / {N_EVALUATIONS}"),
        "objective": Choice(objective, from_start),
    }
    if not started:
        chosen["preset"] = Choice(given.preset or DEFAULT_PRESET, "--preset")
    settings = FROM_START if started else FROM_RANDOM
    return chosen | {
        name: Choice(value, f"{from_start}, {kind}") for name, value in settings.items()
    }


def fit_options(plan: dict[str, Choice]) -> dict[str, Any]:
    """The plan as arguments of `train_species`."""
    from genomelm_utils.tasks.species_pretraining import make_phases

    names = ("batch_pairs", "chunk_pairs", "eval_every", *FROM_RANDOM)
    return {
        **{name: plan[name].value for name in names},
        "save_every": plan["eval_every"].value,
        "n_valid_pairs": plan["valid_pairs"].value,
        "phases": make_phases(plan["objective"].value, plan["steps"].value),
    }


def cut_held_out(genomes: "GenomeSet", lengths_bp: tuple[int, ...], seed: int) -> "Contigs":
    """Contigs of the species that are not trained on, about as long as the windows."""
    from genomelm_utils.datasets.species_contigs import cut_contigs

    length_bp = sorted(lengths_bp)[len(lengths_bp) // 2]
    limits = {"min_bp": -(-length_bp // 4), "max_bp": 4 * length_bp}
    options = {"n_per_genome": TEST_CONTIGS, "length_bp": length_bp, "spread": TEST_SPREAD}
    return cut_contigs(genomes, "test", **options, **limits, seed=seed)


def open_tokenizer(given: argparse.Namespace, genomes: "GenomeSet") -> "PreTrainedTokenizerFast":
    """That of `--start` or `--tokenizer`, or one trained on the training species."""
    from genomelm_utils.tokenizers.bpe import load_bpe, train_bpe_on_store

    folder = given.start or given.tokenizer
    if folder is not None:
        return load_bpe(folder)
    runs = genomes.regions("train")[0]
    return train_bpe_on_store(genomes.store, VOCAB_SIZE, VOCAB_BASES, given.seed, runs=runs)


def open_encoder(
    given: argparse.Namespace, plan: dict[str, Choice], vocab_size: int
) -> "AlibiBertModel":
    """The network of `--start`, or one of random weights that begins near its tokens' mean."""
    from genomelm_utils.tasks.species_pretraining import build_encoder

    random = (
        {"dropout": 0.1, "layer_scale": 1.0}
        if given.start
        else {"dropout": 0.0, "layer_scale": 0.1}
    )
    preset = "" if given.start else plan["preset"].value
    return build_encoder(given.start, preset, vocab_size, seed=given.seed, **random)


# --- after ---------------------------------------------------------------------------------


def write_records(
    given: argparse.Namespace,
    folder: Path,
    plan: dict[str, Choice],
    genomes: "GenomeSet",
    trained: "Trained",
    held_out: "Contigs",
) -> None:
    """Tables and settings beside the model: history, phases, genomes, contigs held out."""
    from genomelm_utils.sequences.fasta import write_fasta
    from genomelm_utils.tasks.species_pretraining import tidy_training

    history, phases = tidy_training(trained)
    truth = pd.DataFrame({"contig": held_out.names, "species": held_out.species})
    tables = {"history": history, "phases": phases, "genomes": genomes.table, "test": truth}
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.tsv", sep="\t", index=False, lineterminator="\n")
    write_fasta(folder / "test.fa.gz", held_out.names, held_out.codes)
    chosen = {name: {"value": one.value, "why": one.why} for name, one in plan.items()}
    record = describe_run(given, chosen=chosen)
    (folder / RECORD).write_text(record)


def describe_training(
    given: argparse.Namespace, genomes: "GenomeSet", trained: "Trained"
) -> list[str]:
    """Lines to print: what was trained on, what was learned, how to test it."""
    by_part = dict(list(genomes.table.groupby("part")))
    first, last = trained.phases.iloc[0], trained.phases.iloc[-1]
    n_held = by_part["test"]["species"].nunique()
    lines = [
        f"{given.out}: trained on {len(by_part['train'])} genomes of "
        f"{by_part['train']['species'].nunique()} species, {n_held} species held out",
        f"retrieval\t{first['start_accuracy']:.4f} before, {last['best_accuracy']:.4f} after, on "
        "validation windows of the species trained on",
    ]
    if n_held > 1:
        fasta, truth = given.out / "test.fa.gz", given.out / "test.tsv"
        lines.append(f"test it with\teval {fasta} --truth {truth} --model {given.out} --out ...")
    return lines
