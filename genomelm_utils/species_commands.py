"""What the command `species` does, but for `bin`: each writes tables and returns lines to print.

Shapes: S sequences, C species, D width.
"""

import argparse
import gzip
import importlib
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from genomelm_utils.species_inputs import (
    EMBEDDED,
    Features,
    Maker,
    Truth,
    need_species,
    read_truth,
    write_features,
)
from genomelm_utils.species_outputs import (
    SHOWN,
    open_output,
    skipped_table,
    tell,
    tell_unlabelled,
)

if TYPE_CHECKING:
    from tqdm import tqdm

    from genomelm_utils.datasets.species import GenomeSet
    from genomelm_utils.datasets.species_pairs import Pairs, PairSampler

LEVEL, N_RESAMPLES = 0.95, 2000


def embed(given: argparse.Namespace) -> list[str]:
    """One row of numbers per sequence, with names: .npy or .parquet."""
    if given.out.suffix not in EMBEDDED:
        raise ValueError(f"--out is {given.out}, expected a name that ends in .npy or .parquet")
    if given.out.suffix == ".parquet":
        importlib.import_module("pyarrow")  # is it there? Better asked now than at the end
    with open_output(given.out) as output:
        features = Maker(given).of_file(given.input, given.min_bp)
        write_features(output, features)
        output.write_skipped(features.skipped)
        shape = {"n_sequences": len(features), "width": features.values.shape[1]}
        output.write_settings(given, **shape)
    return [f"{given.out}: {len(features)} sequences x {shape['width']} numbers"]


# --- clusters ------------------------------------------------------------------------------


def cluster(given: argparse.Namespace) -> list[str]:
    """The cluster of every sequence, and how well clusters agree with the truth if there is one."""
    from genomelm_utils.evaluation.clustering import kmeans
    from genomelm_utils.evaluation.feature_rows import unit_rows

    if given.k is None and given.truth is None:
        raise ValueError("give --k, the number of clusters (or --truth, to take that of species)")
    if given.k is not None and given.k < 1:
        raise ValueError(f"--k is {given.k}, expected 1 or more clusters")
    truth = read_truth(given.truth)
    with open_output(given.out) as output:
        features = Maker(given).of_file(given.input, given.min_bp)
        table = pd.DataFrame({"name": features.names, "n_bases": features.n_bases})
        known_S, k = np.zeros(len(features), bool), given.k
        if truth is not None:
            table["species"], known_S = truth.of(features.names)
            species = need_species(table["species"][known_S], given.truth)
            if len(species) == known_S.sum():
                raise ValueError(
                    f"{given.truth}: {len(species)} sequences of {len(species)} species, one of "
                    "each: nothing can be together, so nothing can be scored; leave out --truth"
                )
            k = k or len(species)
        found_S = kmeans(unit_rows(features.values), k, given.seed)
        table["cluster"] = pd.factorize(found_S)[0] + 1  # numbered as they first appear
        scores, lines = {}, [f"{given.out}: {len(features)} sequences in {k} clusters"]
        if known_S.any():
            scores = score_clusters(table[known_S], given.seed)
            lines += [f"{name}\t{value:.4f}" for name, value in scores.items()]
            tell_unlabelled(known_S, given.truth)
        output.write_table(table)
        output.write_skipped(features.skipped)
        output.write_settings(given, k=k, n_sequences=len(features), scores=scores)
    return lines


def score_clusters(table: pd.DataFrame, seed: int) -> dict[str, float]:
    """ARI with its interval over species (other species of this kind), NMI, homogeneity and
    completeness of the clusters in a table with the columns species and cluster."""
    from sklearn import metrics

    from genomelm_utils.evaluation.clustering import draw_weights, percentile_limits, resampled_ari
    from genomelm_utils.evaluation.feature_rows import label_codes

    codes_S, _ = label_codes(table["species"].to_numpy(dtype=str))
    clusters_S = pd.factorize(table["cluster"])[0]
    weights_RU = draw_weights(codes_S, "species", N_RESAMPLES, np.random.default_rng(seed))
    low, high = percentile_limits(
        resampled_ari(codes_S, clusters_S[None], weights_RU, "species")[:, 0], LEVEL
    )
    return {
        "ari": float(metrics.adjusted_rand_score(codes_S, clusters_S)),
        "ari_low": low,
        "ari_high": high,
        "nmi": float(metrics.normalized_mutual_info_score(codes_S, clusters_S)),
        "homogeneity": float(metrics.homogeneity_score(codes_S, clusters_S)),
        "completeness": float(metrics.completeness_score(codes_S, clusters_S)),
    }


# --- species -------------------------------------------------------------------------------


def classify(given: argparse.Namespace) -> list[str]:
    """The species of every sequence to predict, with the probability of each species known.

    Source of the classifier and its settings: `evaluation.species_classification`.
    """
    from genomelm_utils.evaluation.species_classification import C
    from genomelm_utils.tasks.linear import logistic_probs, standardise

    if given.shots is not None and given.shots < 1:
        raise ValueError(f"--shots is {given.shots}, expected 1 or more sequences per species")
    maker = Maker(given)
    maker.check(given.predict)
    truth, test = read_truth(given.truth), read_truth(given.predict_truth)
    with open_output(given.out) as output:
        train, species = read_training(given.train, truth, maker)
        train, species = draw_shots(train, species, given.shots, given.seed)
        known = need_species(species, given.train)
        predict = maker.of_file(given.predict, given.min_bp)
        if train.values.shape[1] != predict.values.shape[1]:
            raise ValueError(
                f"{given.train} has {train.values.shape[1]} numbers per sequence and "
                f"{given.predict} {predict.values.shape[1]}: make both in the same way"
            )
        rows_SD = standardise(np.asarray(train.values, np.float64), np.asarray(predict.values))
        labels_S = np.searchsorted(known, species)
        probs_SC = logistic_probs(rows_SD[0], labels_S, rows_SD[1], C)
        table = pd.DataFrame({"name": predict.names, "n_bases": predict.n_bases})
        table["species"] = np.array(known, dtype=object)[probs_SC.argmax(1)]
        table["probability"] = probs_SC.max(1)
        wide = pd.concat([table, pd.DataFrame(probs_SC, columns=known)], axis=1)
        output.write_table(wide.round(6))
        skipped = pd.concat([train.skipped, predict.skipped], ignore_index=True).drop_duplicates()
        output.write_skipped(skipped)
        n_train = {name: species.count(name) for name in known}
        lines = [f"{given.out}: {len(predict)} sequences, {len(known)} species known"]
        trained = train.names if given.predict.resolve() == given.train.resolve() else []
        scores = score_predictions(test, table, trained) if test else {}
        lines += [f"{name}\t{value:.4g}" for name, value in scores.items()]
        output.write_settings(given, n_train=n_train, n_predicted=len(predict), scores=scores)
    return lines


def read_training(path: Path, truth: Truth | None, maker: Maker) -> tuple[Features, list[str]]:
    """Features and species of the labelled sequences, of any of the three forms of `--train`."""
    if truth is None:
        return _read_labelled(path, maker)
    features = maker.of_file(path, 1)
    species_S, known_S = truth.of(features.names)
    if not known_S.all():  # no fault of the records: they may be there to be predicted
        tell(f"{(~known_S).sum()} of {len(known_S)} sequences of {path} are not in {truth.path}")
    return features.take(np.flatnonzero(known_S)), species_S[known_S].tolist()


def _read_labelled(path: Path, maker: Maker) -> tuple[Features, list[str]]:
    from genomelm_utils.datasets.species_contigs import read_labelled_tsv

    if path.suffix in EMBEDDED or (path.is_file() and _first_byte(path) in b">@"):
        raise ValueError(f"{path} has no species: give --truth, a table with contig and species")
    maker.check(path)
    contigs = read_labelled_tsv(path)
    usable_S = maker.usable(contigs.codes)
    lost = [contigs.names[i] for i in np.flatnonzero(~usable_S)]
    contigs = contigs.take(usable_S)
    if not len(contigs):
        raise ValueError(f"{path}: no sequence has four definite bases in a row")
    short = skipped_table(lost, "no 4 definite bases in a row")
    skipped = pd.concat([contigs.skipped, short], ignore_index=True)
    values_SD = maker.of_codes(contigs.codes)
    return Features(contigs.names, contigs.lengths, values_SD, skipped), contigs.species


def _first_byte(path: Path) -> bytes:
    from genomelm_utils.sequences.fasta import is_gzip

    with gzip.open(path) if is_gzip(path) else path.open("rb") as file:
        return file.read(1) or b" "


def draw_shots(
    train: Features, species: list[str], shots: int | None, seed: int
) -> tuple[Features, list[str]]:
    """At most `shots` sequences of each species, drawn with the seed; None takes all."""
    if shots is None:
        return train, species
    tell_few_shots(species, shots)
    order = np.random.default_rng(seed).permutation(len(species))
    rank = pd.Series(species)[order].groupby(np.array(species)[order]).cumcount()
    rows = np.sort(rank.index[rank < shots].to_numpy())
    return train.take(rows), [species[i] for i in rows]


def tell_few_shots(species: list[str], shots: int) -> None:
    """How many sequences were used, where species have fewer than were asked for."""
    counts = pd.Series(species).value_counts()
    few = counts[counts < shots]
    if len(few):
        tell(
            f"{len(few)} of {len(counts)} species have fewer than {shots} sequences to train on: "
            f"{few.min()} to {few.max()} were used"
        )


def score_predictions(
    truth: Truth, table: pd.DataFrame, trained: Sequence[str]
) -> dict[str, float]:
    """Accuracy and macro-F1 over sequences with a known species that were not trained on.

    Species that were not in the training count as wrong; macro-F1 is over all true species.
    """
    from genomelm_utils.evaluation.feature_rows import label_codes
    from genomelm_utils.evaluation.metrics import confusion_matrix, macro_scores

    truth_S, known_S = truth.of(table["name"].tolist())
    tell_unlabelled(known_S, truth.path)
    scored_S = known_S & ~table["name"].isin(trained).to_numpy()
    if not scored_S.any():
        raise ValueError(f"every sequence in {truth.path} was trained on: nothing to test")
    both = np.concatenate([truth_S[scored_S], table["species"][scored_S]]).astype(str)
    codes, names = label_codes(both)
    true_S, predicted_S = np.split(codes, 2)
    confusion_CC = confusion_matrix(true_S, predicted_S, len(names))
    return {
        "n_scored": int(scored_S.sum()),
        "accuracy": float((true_S == predicted_S).mean()),
        "macro_f1": float(macro_scores(confusion_CC)[2] * len(names) / len(np.unique(true_S))),
    }


# --- pairs ---------------------------------------------------------------------------------


def make_pairs(given: argparse.Namespace) -> list[str]:
    """Pairs of windows of one genome, in the published CSV format; or what such a file holds."""
    from tqdm.auto import tqdm

    from genomelm_utils.datasets.species_pair_files import write_pairs_csv

    if given.check is not None:
        if given.genomes or given.out is not None or given.species_table is not None:
            raise ValueError("--check makes nothing: leave out genomes, --species-table and --out")
        return check_pairs(given.check)
    if not given.genomes or given.out is None:
        raise ValueError("give the FASTA files of the genomes and --out (or --check FILE)")
    species = find_species(given.genomes, given.species_table)
    with open_output(given.out) as output, TemporaryDirectory(prefix="genomelm-species-") as folder:
        genomes, skipped = read_genomes(given.genomes, species, Path(folder) / "store")
        sampler = open_sampler(genomes, given)
        with tqdm(total=given.n, unit="pair", desc="pairs", disable=None) as bar:
            write_pairs_csv(output.path(), _Watched(sampler, bar), given.n)
        skipped = pd.concat([skipped, sampler.skipped], ignore_index=True)
        output.write_skipped(skipped)
        used = genomes.table[~genomes.table["genome"].isin(sampler.skipped["name"])]
        used = used[~used["genome"].isin(_without_bases(genomes))]
        output.write_settings(
            given, species_of_genome=dict(zip(used["genome"], used["species"], strict=True))
        )
    n_species = used["species"].nunique()
    return [f"{given.out}: {given.n} pairs of {len(used)} genomes, {n_species} species"]


def open_sampler(genomes: "GenomeSet", given: argparse.Namespace) -> "PairSampler":
    """A sampler with the options given; ValueError when no genome has room for two windows."""
    from genomelm_utils.datasets.species_pairs import PairSampler

    options = {name: getattr(given, name) for name in ("seed", "strands", "balance")}
    try:
        return PairSampler(genomes, "train", lengths_bp=given.lengths_bp, **options)
    except ValueError as error:  # it names the folder and the part, which are none of the user's
        shortest = min(given.lengths_bp)
        if f"room for two windows of {shortest} bp" not in str(error):
            raise
        raise ValueError(
            f"none of the {len(genomes.table)} genomes has room for two windows of {shortest} bp "
            "without ambiguous bases; give shorter --lengths-bp"
        ) from error


def _without_bases(genomes: "GenomeSet") -> list[str]:
    n_definite = np.bincount(
        genomes.genome_of_record,
        genomes.store.records["n_definite"],
        minlength=len(genomes.table),
    )
    return genomes.table.loc[n_definite == 0, "genome"].tolist()


def find_species(genomes: Sequence[Path], table: Path | None) -> list[str]:
    """The species of every genome file: from the table, or without one each file's own name."""
    from genomelm_utils.datasets.species import genome_name, read_species_table
    from genomelm_utils.sequences.fasta import suggest

    for path in genomes:
        if not path.is_file():
            what = "a folder, give its FASTA files" if path.is_dir() else "no such file"
            raise FileNotFoundError(f"{path}: {what}; expected the FASTA file of a genome")
    doubled = pd.Series([genome_name(path) for path in genomes]).loc[lambda s: s.duplicated()]
    if len(doubled):
        raise ValueError(f"two genome files are named {doubled.iloc[0]!r}; rename one of them")
    if table is None:
        return [genome_name(path) for path in genomes]
    rows = read_species_table(table)
    species_of = {Path(f).name: s for f, s in zip(rows["file"], rows["species"], strict=True)}
    unknown = [path.name for path in genomes if path.name not in species_of]
    if unknown:
        shown = ", ".join(unknown[:SHOWN]) + (", ..." if len(unknown) > SHOWN else "")
        raise ValueError(
            f"{table}: {len(unknown)} genome files have no row: {shown}"
            f"{suggest(unknown[0], species_of)}"
        )
    return [species_of[path.name] for path in genomes]


def read_genomes(
    files: Sequence[Path], species: Sequence[str], folder: Path
) -> tuple["GenomeSet", pd.DataFrame]:
    """All genomes as one training part (nothing is kept for validation), and records left out."""
    from genomelm_utils.datasets.species import GenomeSet, genome_name
    from genomelm_utils.sequences.genome import build_store

    store = build_store(files, folder)
    sources = store.info["sources"]
    genome_of_record = np.repeat(np.arange(len(files)), [one["n_records"] for one in sources])
    n_bases = np.bincount(genome_of_record, store.records["length"], minlength=len(files))
    names = [genome_name(path) for path in files]
    table = pd.DataFrame({"genome": names, "species": species, "part": "train"})
    table["n_bases"] = n_bases.astype(np.int64)
    lost = [name for one in sources for name in one["skipped"]]
    genomes = GenomeSet(folder, store, table, genome_of_record, valid_share=0.0)
    unknown = _without_bases(genomes)
    if len(unknown) == len(files):
        raise ValueError(
            f"{files[0]}{' and the other genomes' if len(files) > 1 else ''}: no definite base "
            "(A, C, G or T), expected a genome"
        )
    skipped = [
        skipped_table(lost, "empty record"),
        skipped_table(unknown, "no definite base (N only)"),
    ]
    return genomes, pd.concat(skipped, ignore_index=True)


class _Watched:
    """A sampler that moves a progress bar."""

    def __init__(self, sampler: "PairSampler", bar: "tqdm") -> None:
        self.sampler, self.bar = sampler, bar

    def pairs(self, step: int, start: int, stop: int) -> "Pairs":
        """Those of the sampler."""
        pairs = self.sampler.pairs(step, start, stop)
        self.bar.update(stop - start)
        return pairs


def check_pairs(path: Path) -> list[str]:
    """How many pairs a CSV file holds and how long they are, read as training reads them."""
    from genomelm_utils.datasets.species_pair_files import read_pairs_csv

    with TemporaryDirectory(prefix="genomelm-species-") as folder:
        pairs = read_pairs_csv(path, folder)
        lengths_bp = np.diff(pairs.starts)
        skipped = pairs.skipped
        n_pairs = len(pairs)
    for name, reason in skipped.head(SHOWN).to_numpy():
        tell(f"{path}, {name}: {reason}, left out")
    return [
        f"{path}: {n_pairs} pairs, {len(skipped)} lines left out",
        f"bases\t{lengths_bp.sum()}",
        f"length_bp\t{lengths_bp.min()} to {lengths_bp.max()}, median {np.median(lengths_bp):.0f}",
    ]
