"""The sequences and the embeddings of a run of notebook 10.

Sequences are of species that nothing was trained on. Every method embeds the same ones, and halves
of the long ones beside them, from which binning takes its threshold.

Shapes: S sequences, P halves, D width of a method's features.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from genomelm_utils.baselines.kmer_contrastive import train_kmer_encoder
from genomelm_utils.baselines.kmer_vectors import train_kmer_vectors
from genomelm_utils.baselines.species_features import species_features
from genomelm_utils.baselines.species_methods import (
    FUSED,
    REFERENCE,
    SPECIES_BASELINES,
    is_main,
)
from genomelm_utils.baselines.tetranucleotide import find_countable
from genomelm_utils.datasets.species import GenomeSet, open_genome_set
from genomelm_utils.datasets.species_contigs import (
    Contigs,
    cut_contigs,
    read_contigs,
    read_labelled_tsv,
    read_species_reads,
)
from genomelm_utils.datasets.species_pairs import PairSampler
from genomelm_utils.evaluation.binning_threshold import split_halves
from genomelm_utils.evaluation.feature_fusion import fuse_features
from genomelm_utils.sequences.genome import open_store
from genomelm_utils.tasks.embedding_cache import embed_cached, hash_tokenizer, hash_weights
from genomelm_utils.tasks.embedding_models import load_encoder
from genomelm_utils.training.device import choose_device

if TYPE_CHECKING:  # a run is handed in: only its type is named here
    from genomelm_utils.pipeline.context import Run

logger = logging.getLogger(__name__)

#: Name of a method -> where its encoder lies in a run of notebook 09.
ROLES = {
    "trained": "checkpoints/final",
    "mlm": "checkpoints/mlm",
    "untrained": "checkpoints/untrained",
}
OPTIONAL_ROLES = ("mlm",)
PUBLISHED = "DNABERT-S"  # a folder of this name is the method `published`
ALL = "*"
N_FILES = {"cut": 0, "files": 2, "reads": 1, "table": 1}

Features = dict[str, np.ndarray]


# --- sequences -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Sequences:
    """What is evaluated, and what was left out.

    contigs: the sequences used, at most `max_bp` long. counts: a row per species with what was
    found and used. genomes: the set that tells which species were trained on.
    """

    contigs: Contigs
    counts: pd.DataFrame
    genomes: GenomeSet

    @property
    def skipped(self) -> pd.DataFrame:
        """Sequences left out by name: name, reason. Species trained on are in `counts`."""
        return self.contigs.skipped


def open_sequences(run: "Run") -> Sequences:
    """The sequences that a run of notebook 10 asks for, of species that were not trained on.

    Sequences of trained species are not used (see `is_trained`), longer ones cut to `max_bp`, those
    without four definite bases in a row left out, and at most `max_per_species` of each species
    drawn; species with one sequence are left out last.
    Errors: ValueError when fewer than two species remain, or for the wrong number of files.
    """
    wanted = run.params
    genomes = open_genome_set(run.parent("data").path("species"))
    found = _find_sequences(run, genomes)
    trained = genomes.table["species"][genomes.table["part"] == "train"].unique().tolist()
    seen_S = np.array([is_trained(name, trained) for name in found.species])
    if seen_S.all():
        raise ValueError(
            f"all {len(found)} sequences are of species that were trained on; name sequences of "
            f"others, such as the genome set's test species "
            f"({', '.join(sorted(set(genomes.table['species']) - set(trained)))})"
        )
    used = found.take(~seen_S)
    used = replace(used, codes=[codes[: wanted["max_bp"]] for codes in used.codes])
    used = _drop_uncountable(used)
    used = _limit(used, wanted["max_per_species"], run.seed).drop_rare()
    return Sequences(used, _count_species(found, used, genomes, trained), genomes)


def _find_sequences(run: "Run", genomes: GenomeSet) -> Contigs:
    kind, names = run.params["contigs_from"], run.params["files"]
    if len(names) != N_FILES[kind]:
        raise ValueError(
            f"contigs_from is {kind!r}, which takes {N_FILES[kind]} files, but `files` names "
            f"{len(names)} ({', '.join(names) or 'none'})"
        )
    if kind == "cut":
        options = {name: run.params[name] for name in ("n_per_genome", "length_bp", "spread")}
        length_bp = options["length_bp"]
        limits = {"min_bp": -(-length_bp // 4), "max_bp": max(run.params["max_bp"], length_bp)}
        return cut_contigs(genomes, "test", **options, **limits, seed=run.seed)
    if kind == "files":
        tables = [name for name in names if ".tsv" in Path(name).suffixes]
        if len(tables) != 1:
            raise ValueError(
                f"files are {' and '.join(names)}: {len(tables)} end in .tsv or .tsv.gz, expected "
                "a FASTA file and one table with the columns contig and species"
            )
        fasta = next(name for name in names if name not in tables)
        return read_contigs(run.data(fasta), run.data(tables[0]))
    read = read_species_reads if kind == "reads" else read_labelled_tsv
    return read(run.data(names[0]))


def is_trained(species: str, trained: list[str]) -> bool:
    """Whether a name means one of the species trained on, or a strain of it.

    `E_coli` and `E. coli` mean every species of that initial and epithet.
    """
    words = _words(species)
    known = [_words(name) for name in trained]
    if len(words) > 1 and len(words[0]) == 1:
        known = [[name[0][0], *name[1:]] for name in known]
    return any(words[: len(name)] == name for name in known)


def _words(species: str) -> list[str]:
    return species.replace("_", " ").replace(". ", " ").split()


def _drop_uncountable(contigs: Contigs) -> Contigs:
    kept_S, lost = find_countable(contigs.codes, contigs.names)
    reasons = np.full(len(contigs), "", dtype=object)
    reasons[~kept_S] = lost["reason"]
    return contigs.drop(~kept_S, reasons)


def _limit(contigs: Contigs, most: int, seed: int) -> Contigs:
    """At most this many sequences of a species, drawn with the seed, in their order; 0 = all."""
    if not most:
        return contigs
    order_S = np.random.default_rng(seed).permutation(len(contigs))
    drawn = pd.Series(np.array(contigs.species)[order_S], index=order_S).groupby(
        np.array(contigs.species)[order_S]
    )
    return contigs.take(np.sort(drawn.head(most).index.to_numpy()))


def _count_species(
    found: Contigs, used: Contigs, genomes: GenomeSet, trained: list[str]
) -> pd.DataFrame:
    """A row per species: species, seen (in training), n_found, n_used, and of those used total_bp,
    shortest_bp, median_bp, longest_bp, gc, relatives (species of its genus trained on)."""
    relatives = dict(zip(genomes.table["species"], genomes.table["relatives"], strict=True))
    rows = []
    for species in sorted(set(found.species)):
        part = used.take(np.array(used.species) == species)
        row = {
            "species": species,
            "seen": is_trained(species, trained),
            "n_found": found.species.count(species),
            "n_used": len(part),
        }
        if len(part):
            joined, lengths = np.concatenate(part.codes), part.lengths
            row |= {
                "total_bp": lengths.sum(),
                "shortest_bp": lengths.min(),
                "median_bp": np.median(lengths),
                "longest_bp": lengths.max(),
                "gc": np.isin(joined, (1, 2)).sum() / (joined < 4).sum(),
            }
        rows.append(row | {"relatives": relatives.get(species, "")})
    whole = ["total_bp", "shortest_bp", "longest_bp"]
    return pd.DataFrame(rows).astype(dict.fromkeys(whole, "Int64"))


def describe_sequences(sequences: Sequences) -> str:
    """Sentences: how many sequences of how many species, their lengths, and what was left out."""
    counts, lengths = sequences.counts, sequences.contigs.lengths
    left = counts[counts["n_used"] == 0]
    n_seen = int(left["seen"].sum())
    text = (
        f"{len(lengths):,} sequences of {(counts['n_used'] > 0).sum()} species that were not "
        f"trained on, {lengths.min():,} to {lengths.max():,} bp (median {np.median(lengths):,.0f})."
    )
    if n_seen:
        text += f" {n_seen} species ({left.loc[left['seen'], 'n_found'].sum():,} sequences) were."
    related = int(((counts["n_used"] > 0) & (counts["relatives"].fillna("") != "")).sum())
    if related:
        text += f" {related} of the species have a relative of their genus in training."
    return text + f" {len(sequences.skipped)} sequences were left out by name."


# --- methods -------------------------------------------------------------------------------


def open_models(run: "Run") -> dict[str, Path]:
    """Method -> folder of its encoder: runs of 09, then folders of published checkpoints.

    With one run methods are `trained`, `mlm` (where it was made) and `untrained`; with several, the
    run's name stands in front, unless all runs have the same encoder there, which is then taken
    once. Errors: ValueError where two methods have one name.
    """
    parents = run.parents("models")
    folders: list[tuple[str, Path]] = []
    for role, place in ROLES.items():
        found = {
            parent.run: parent.path(place)
            for parent in parents
            if role not in OPTIONAL_ROLES or (parent.dir / place).is_dir()
        }
        if len(parents) == 1 or (len(found) == len(parents) and _are_same(found.values())):
            folders += [(role, path) for path in list(found.values())[:1]]
        else:
            folders += [(f"{name}-{role}", path) for name, path in found.items()]
    for name in run.params["checkpoints"]:
        folder = Path(name).name
        method = "published" if folder.lower() == PUBLISHED.lower() else folder
        folders.append((method, run.data(name)))
    names = [name for name, _ in folders]
    names += [name + FUSED for name in names if run.params["fuse_tnf"] and is_main(name)]
    if len({*names, *SPECIES_BASELINES}) < len(names) + len(SPECIES_BASELINES):
        raise ValueError(f"two methods have one name ({', '.join(names)}); rename a folder or run")
    return dict(folders)


def _are_same(folders: Iterable[Path]) -> bool:
    """Whether all folders hold the same encoder with the same tokenizer."""
    loaded = map(load_encoder, folders)
    return len({(hash_weights(model), hash_tokenizer(tokens)) for model, tokens in loaded}) == 1


# --- embeddings ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Embedded:
    """Features of all methods: language models first, then baselines, in float32.

    features: method -> [S, D]. halves: method -> first and second halves, [P, D] each, of contigs
    that are long enough to be binned. 2,500 sequences with 768 numbers take 8 MiB.
    """

    features: Features
    halves: dict[str, tuple[np.ndarray, np.ndarray]]


def embed_all(run: "Run", sequences: Sequences) -> Embedded:
    """Sequences and halves embedded by every method of the run.

    Encoders read both strands or one (`strands`), on CUDA where there is one; their embeddings are
    kept in `checkpoints/embeddings`. 4-mer vectors and the contrastive 4-mer network learn from the
    training genomes alone. TNF-VAE is trained here, without labels, on the sequences it embeds
    (and their halves), as its authors use it. Canonical TNF is always there: all else is compared
    with it. With `fuse_tnf` each encoder trained on pairs, or published, is there once more beside
    TNF-K, as `<method>+tnf_k`: see `fuse_rows`.
    """
    contigs, n = sequences.contigs, len(sequences.contigs)
    min_bp, most = run.params["bin_min_bp"], run.params["max_halves"]
    first, second = draw_halves(contigs, min_bp, most, run.seed)
    pieces = [*contigs.codes, *first, *second]
    makers: dict[str, Callable[[], np.ndarray]] = {}
    for method, folder in open_models(run).items():
        makers[method] = lambda folder=folder: _embed(run, folder, pieces)
    asked = run.params["baselines"]
    for name in dict.fromkeys([REFERENCE, *(SPECIES_BASELINES if ALL in asked else asked)]):
        makers[name] = lambda name=name: _count(run, name, pieces, sequences.genomes)
    made = {}
    for method, make in makers.items():
        logger.info("embedding %d sequences: %s", len(pieces), method)
        made[method] = make()
    if run.params["fuse_tnf"]:
        made = add_fused(made, species_features("tnf_k", pieces))
    features = {method: values[:n] for method, values in made.items()}
    end = n + len(first)
    halves = {method: (values[n:end], values[end:]) for method, values in made.items()}
    return Embedded(features, halves)


def add_fused(features: Features, counted_SK: np.ndarray) -> Features:
    """The same methods, with `<method>+tnf_k` behind each encoder trained on pairs or published."""
    found = {}
    for method, values_SD in features.items():
        found[method] = values_SD
        if is_main(method):
            found[method + FUSED] = fuse_rows(values_SD, counted_SK)
    return found


def fuse_rows(first_SD: np.ndarray, second_SK: np.ndarray) -> np.ndarray:
    """Unit rows of both side by side, float32 [S, D + K]: late fusion, nothing is trained.

    The cosine of two rows is the mean of their two cosines, so that neither width nor scale weighs.
    Errors: ValueError for rows that are all zero.
    Source: DCVBin and other hybrids, which put a language model's vectors beside 4-mer frequencies.
    """
    return fuse_features([first_SD, second_SK])


def draw_halves(
    contigs: Contigs, min_bp: int, most: int, seed: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """First and second halves of contigs of at least `min_bp`; of more than `most`, some drawn."""
    long = np.flatnonzero(contigs.lengths >= min_bp)
    drawn = np.sort(np.random.default_rng(seed).permutation(long)[:most])
    first, second, _ = split_halves([contigs.codes[i] for i in drawn.tolist()], min_half_bp=4)
    if not first:
        return [], []
    usable_P = find_countable(first)[0] & find_countable(second)[0]
    kept = np.flatnonzero(usable_P).tolist()
    return [first[i] for i in kept], [second[i] for i in kept]


def _embed(run: "Run", folder: Path, pieces: list[np.ndarray]) -> np.ndarray:
    model, tokenizer = load_encoder(folder)
    kept = run.path("checkpoints/embeddings")
    device, _ = choose_device()
    return embed_cached(
        kept, model, tokenizer, pieces, strands=run.params["strands"], device=device, progress=False
    )


def _count(run: "Run", name: str, pieces: list[np.ndarray], genomes: GenomeSet) -> np.ndarray:
    """Features of one baseline, trained on the training genomes where it has to be."""
    given = {}
    if name == "kmer_vectors":
        store = open_store(run.parent("data").path("store"))
        given["vectors_KD"] = train_kmer_vectors(np.asarray(store.codes), store.runs)
    if name == "kmer_contrastive":
        lengths, steps = run.params["kmer_window_bp"], run.params["kmer_steps"]
        pairs = PairSampler(genomes, "train", lengths_bp=lengths, seed=run.seed)
        given["encoder"] = train_kmer_encoder(pairs, steps=steps, seed=run.seed)[0]
    return species_features(name, pieces, seed=run.seed, **given)
