"""What the command `species` does, but for `bin`: each writes tables and returns lines to print.

Shapes: S sequences, C species, D width.
"""

import argparse
import gzip
import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from genomelm_utils.command_outputs import (
    open_output,
    skipped_table,
    tell,
    tell_unlabelled,
)
from genomelm_utils.species.inputs import (
    EMBEDDED,
    Features,
    Maker,
    Truth,
    need_species,
    read_truth,
    write_features,
)

if TYPE_CHECKING:
    pass

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

    if path.suffix in EMBEDDED or (path.is_file() and first_byte(path) in b">@"):
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


def first_byte(path: Path) -> bytes:
    """What a plain or gzipped file begins with; a space when it is empty."""
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
