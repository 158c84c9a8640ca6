"""What `species eval` does: one table of how well features tell known species apart.

Shapes: S sequences, P halves of contigs, D width.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from genomelm_utils.command_outputs import open_output, tell
from genomelm_utils.species.binning import MAX_HALVES
from genomelm_utils.species.inputs import EMBEDDED, Maker, read_truth

if TYPE_CHECKING:
    from genomelm_utils.datasets.species_contigs import Contigs
    from genomelm_utils.tasks.species_benchmark import Clustering, SpeciesBins
    from genomelm_utils.tasks.species_sets import Embedded

N_SEEDS = 5  # Source: DNABERT-S, seeds 0 to 4 of K-means and of few-shot draws
COLUMNS = ["method", "measure", "at", "unit", "value", "low", "high", "n"]
MODEL = "model"  # what a method is called that is a folder


def evaluate(given: argparse.Namespace) -> list[str]:
    """Clustering (ARI, NMI), few-shot macro-F1 and binning of a model or of 4-mer features, with
    95 % intervals, beside canonical TNF.

    Columns: method, measure, at (shots, or the F1 that counts as recovered), unit (what the
    interval is over), value, low, high, n. Sequences left out are counted and named.
    """
    maker = Maker(given)
    maker.check(given.input)
    with open_output(given.out) as output:
        contigs = read_labelled(given, maker)
        table = score_methods(given, embed_methods(given, maker, contigs), contigs)
        output.write_table(table.round(6))
        output.write_skipped(contigs.skipped)
        n_species = len(set(contigs.species))
        output.write_settings(given, n_sequences=len(contigs), n_species=n_species)
    head = f"{given.out}: {len(contigs)} sequences of {n_species} species"
    return [head, *describe_table(table)]


def score_methods(
    given: argparse.Namespace, embedded: "Embedded", contigs: "Contigs"
) -> pd.DataFrame:
    """The table; what cannot be scored is told."""
    from genomelm_utils.tasks import species_benchmark as benchmark

    both = embedded.features, contigs.species
    clustering = benchmark.cluster_methods(*both, n_seeds=N_SEEDS, seed=given.seed)
    shots, fewshot = usable_shots(contigs.species, given.shots), pd.DataFrame()
    if shots:
        found = benchmark.classify_methods(*both, shots=shots, n_seeds=N_SEEDS)
        fewshot = found.table
        if len(found.skipped):
            tell(f"few-shot: {len(found.skipped)} species have too few sequences")
    options = {"min_bp": given.bin_min_bp, "min_bin_size": given.min_bin_size}
    bins = benchmark.bin_methods(embedded, contigs, **options, seed=given.seed)
    if bins.why_not:
        tell(bins.why_not)
    parts = [tidy_clusters(clustering), tidy_shots(fewshot), tidy_bins(bins)]
    return pd.concat([part for part in parts if len(part)], ignore_index=True)[COLUMNS]


def read_labelled(given: argparse.Namespace, maker: Maker) -> "Contigs":
    """The sequences with a species, at least two of each; others are skipped by name."""
    from genomelm_utils.datasets.species_contigs import Contigs, read_labelled_tsv

    if given.input.suffix in EMBEDDED:
        raise ValueError(
            f"{given.input} holds embeddings: eval embeds halves of contigs too, so give sequences"
        )
    truth = read_truth(given.truth)
    if truth is None:
        if _is_sequences(given.input):
            raise ValueError(
                f"{given.input} has no species: give --truth, a table with contig and species"
            )
        contigs = read_labelled_tsv(given.input)
        contigs = contigs.drop(contigs.lengths < given.min_bp, f"shorter than {given.min_bp} bp")
    else:
        from genomelm_utils.sequences.stream import RecordStream

        stream = RecordStream(given.input, min_bp=given.min_bp)
        blocks = [(block.names, [one.copy() for one in block.codes]) for block in stream]
        names, codes = ([x for block in blocks for x in block[i]] for i in (0, 1))
        if not names:
            raise ValueError(f"{given.input}: no sequence of {given.min_bp} bp or more")
        species_S, known_S = truth.of(names)
        contigs = Contigs(names, codes, species_S.tolist(), [""] * len(names), stream.skipped)
        contigs = contigs.drop(~known_S, f"not in {truth.path.name}")
    contigs = contigs.drop(~maker.usable(contigs.codes), "no 4 definite bases in a row")
    return contigs.drop_rare()


def _is_sequences(path: Path) -> bool:
    from genomelm_utils.species.commands import first_byte

    return path.is_file() and first_byte(path) in b">@"


def embed_methods(given: argparse.Namespace, maker: Maker, contigs: "Contigs") -> "Embedded":
    """What is scored and canonical TNF, of the sequences and of halves of those that are binned."""
    from genomelm_utils.baselines.species_features import species_features
    from genomelm_utils.baselines.species_methods import REFERENCE
    from genomelm_utils.tasks.species_sets import Embedded, draw_halves

    first, second = draw_halves(contigs, given.bin_min_bp, MAX_HALVES, given.seed)
    pieces, n = [*contigs.codes, *first, *second], len(contigs)
    made = {given.features or MODEL: maker.of_codes(pieces)}
    if REFERENCE not in made:
        made[REFERENCE] = species_features(REFERENCE, pieces)
    end = n + len(first)
    return Embedded(
        {name: values[:n] for name, values in made.items()},
        {name: (values[n:end], values[end:]) for name, values in made.items()},
    )


def usable_shots(species: list[str], shots: list[int]) -> list[int]:
    """The numbers of shots for which two species or more have a sequence left to test."""
    counts = pd.Series(species).value_counts()
    usable = [n for n in sorted(set(shots)) if (counts > n).sum() >= 2]
    left = sorted(set(shots) - set(usable))
    if left:
        tell(
            f"few-shot: {', '.join(map(str, left))} shots left out, fewer than two species have "
            "more sequences than that"
        )
    return usable


# --- the table -----------------------------------------------------------------------------


def tidy_clusters(clustering: "Clustering") -> pd.DataFrame:
    """ARI over seeds, contigs and species; NMI over seeds; ARI minus that of canonical TNF."""
    from genomelm_utils.evaluation.statistics import interval_table

    ari = clustering.ari.rename(columns={"mean": "value"}).assign(measure="ari")
    nmi = interval_table(clustering.scores, by=["method"], value="nmi", draw="seed")
    nmi = nmi.rename(columns={"mean": "value"}).assign(measure="nmi", unit="seed")
    paired = clustering.paired.rename(columns={"difference": "value"})
    paired = paired.assign(measure="ari_minus_canonical_tnf")
    return _place(pd.concat([part for part in (ari, nmi, paired) if len(part)]))


def tidy_shots(table: pd.DataFrame) -> pd.DataFrame:
    """Macro-F1 for every number of shots."""
    if not len(table):
        return table
    table = table.rename(columns={"mean": "value", "shots": "at"})
    return _place(table.assign(measure="macro_f1", unit="seed"))


def tidy_bins(bins: "SpeciesBins") -> pd.DataFrame:
    """Share of species recovered above each F1, with its interval; mean F1; gamma; bins."""
    if bins.why_not:
        return pd.DataFrame()
    curve = bins.recovered.rename(
        columns={"threshold": "at", "share": "value", "n_species": "n"}
    ).assign(measure="recovered_share", unit="species")
    names = {"f1": "bin_f1", "gamma": "gamma", "n_bins": "n_bins"}
    single = [
        bins.table[["method"]].assign(
            measure=measure, value=bins.table[column].astype(float), n=bins.table["n_contigs"]
        )
        for column, measure in names.items()
    ]
    return _place(pd.concat([curve, *single]))


def _place(table: pd.DataFrame) -> pd.DataFrame:
    return table.reindex(columns=COLUMNS).reset_index(drop=True)


def describe_table(table: pd.DataFrame) -> list[str]:
    """Lines to print: the figure of each measure that speaks of other species, by method."""
    lines = []
    for row in table.itertuples():
        if row.measure == "ari" and row.unit != "species":
            continue
        if row.measure == "recovered_share" and row.at != 0.5:
            continue
        at = "" if np.isnan(row.at) else f"\tat {row.at:g}"
        limits = "" if np.isnan(row.low) else f" [{row.low:.4f}, {row.high:.4f}] over {row.unit}"
        lines.append(f"{row.method}\t{row.measure}{at}\t{row.value:.4f}{limits}")
    return lines
