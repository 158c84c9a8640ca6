"""What `species bin` does: contigs into bins, a FASTA of each, and scores where the truth is known.

Shapes: S sequences, P halves of contigs.
"""

import argparse
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from genomelm_utils.command_outputs import (
    BINS,
    MATCHES,
    SUFFIXES,
    Output,
    open_output,
    tell_unlabelled,
)
from genomelm_utils.species.fusion import Fusion
from genomelm_utils.species.inputs import (
    EMBEDDED,
    Features,
    Maker,
    Truth,
    read_truth,
)

if TYPE_CHECKING:
    from genomelm_utils.evaluation.binning_threshold import Threshold
    from genomelm_utils.sequences.stream import Block

#: Contigs that gamma is taken from. With 500 of the 1,555 real test contigs it was within 0.005 of
#: that of all (five draws, two kinds of features), mean F1 over species within 0.012.
MAX_HALVES = 500
UNBINNED = "unbinned"


def bin_file(given: argparse.Namespace) -> list[str]:
    """The bin of every contig, a table of the bins, a FASTA of each, and scores with a truth."""
    from genomelm_utils.evaluation.binning import bin_contigs, check_options

    folder = given.fasta_out
    if folder is not None:
        check_fasta_folder(folder, given.out)
    if given.input.suffix in EMBEDDED and (given.gamma == "auto" or folder is not None):
        raise ValueError(
            f"{given.input} holds no sequences: --gamma auto and --fasta-out need FASTA; give "
            "--gamma a number"
        )
    names = ("min_bin_size", "max_bins", "neighbours", "recall")
    options = {name: getattr(given, name) for name in names}
    gamma = 0.5 if given.gamma == "auto" else given.gamma
    check_options(gamma, "fixed", **options, block_rows=1)  # before hours of embedding
    truth = read_truth(given.truth)
    with _gone_after_an_error(folder), open_output(given.out) as output:
        fusion = Fusion(given, Maker(given))
        features = fusion.of_file(given.input, given.min_bp)
        gamma, why = find_gamma(given, fusion, features)
        binning = bin_contigs(features.values, gamma, **options, seed=given.seed)
        table = pd.DataFrame({"name": features.names, "n_bases": features.n_bases})
        table["bin"] = name_bins(binning.labels, binning.n_bins)
        bins, scores = describe_bins(truth, table, binning.labels, output)
        output.write_table(table)
        output.write_table(bins, BINS)
        output.write_skipped(features.skipped)
        found = {"gamma": gamma, "gamma_from": why, "n_bins": binning.n_bins}
        found |= {"neighbours_found": binning.neighbours, "width": features.values.shape[1]}
        output.write_settings(given, **found, n_sequences=len(features), scores=scores)
        if folder is not None:
            write_bin_fastas(given, table, folder)
    n_binned = int((binning.labels > 0).sum())
    lines = [
        f"{given.out}: {binning.n_bins} bins hold {n_binned} of {len(features)} contigs",
        f"gamma\t{gamma:.4f}\t{why}",
    ]
    if binning.neighbours.startswith("approximate"):
        lines.append("neighbours\t" + binning.neighbours.replace(": ", "\t", 1))
    return lines + [f"{name}\t{value:.4g}" for name, value in scores.items()]


def check_fasta_folder(folder: Path, out: Path) -> None:
    """ValueError when the folder holds something, or it and the result are in each other's way."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"--fasta-out {folder} is not empty; name a new folder")
    results = [out.with_name(out.name + suffix).resolve() for suffix in SUFFIXES if out.name]
    inner = folder.resolve()
    if inner in results or out.resolve() in inner.parents or inner in out.resolve().parents:
        raise ValueError(
            f"--fasta-out {folder} and --out {out} are in each other's way; name a folder for the "
            "bins alone"
        )


@contextmanager
def _gone_after_an_error(folder: Path | None) -> Iterator[None]:
    """The folder of bins, new or empty so far, does not stand without the table of the bins."""
    was_there = folder is not None and folder.exists()
    try:
        yield
    except BaseException:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
            if was_there:
                folder.mkdir()
        raise


def find_gamma(given: argparse.Namespace, fusion: Fusion, features: Features) -> "Threshold":
    """The similarity at which contigs share a bin: the number given, or from halves of contigs."""
    from genomelm_utils.evaluation.binning_threshold import (
        MIN_PAIRS,
        Threshold,
        split_halves,
        split_threshold,
    )

    if given.gamma != "auto":
        return Threshold(given.gamma, "given")
    min_half_bp = max(given.min_bp // 2, 1)
    rng = np.random.default_rng(given.seed)
    long = np.flatnonzero(features.n_bases // 2 >= min_half_bp)
    drawn = np.sort(rng.permutation(long)[:MAX_HALVES])
    codes = read_codes(given.input, given.min_bp, {features.names[i] for i in drawn})
    first, second, rows = split_halves(codes, min_half_bp)
    usable_P = fusion.maker.usable(first) & fusion.maker.usable(second)
    if usable_P.sum() < MIN_PAIRS:
        raise ValueError(
            f"{given.input}: gamma is taken from at least {MIN_PAIRS} contigs of "
            f"{2 * min_half_bp} bp or more, found {usable_P.sum()}; give --gamma a number"
        )
    halves = [[one[i] for i in np.flatnonzero(usable_P)] for one in (first, second)]
    return split_threshold(*fusion.of_halves(*halves, features, drawn[rows][usable_P]), rng)


def read_codes(path: Path, min_bp: int, names: set[str]) -> list[np.ndarray]:
    """Base codes of some records of a file, in its order."""
    blocks = _read_again(path, min_bp)
    pairs = (pair for block in blocks for pair in zip(block.names, block.codes, strict=True))
    return [codes.copy() for name, codes in pairs if name in names]


def _read_again(path: Path, min_bp: int) -> "Iterator[Block]":
    from genomelm_utils.sequences.stream import iter_records

    return iter_records(path, min_bp=min_bp)


def name_bins(labels_S: np.ndarray, n_bins: int) -> list[str]:
    """`bin_001`, ... for every label, or `unbinned` for -1."""
    width = max(3, len(str(n_bins)))
    return [f"bin_{label:0{width}d}" if label > 0 else UNBINNED for label in labels_S.tolist()]


def describe_bins(
    truth: Truth | None, table: pd.DataFrame, labels_S: np.ndarray, output: Output
) -> tuple[pd.DataFrame, dict[str, float]]:
    """A row per bin, and with a truth what is in it and the scores; `<out>.species.tsv` then.

    Adds the column species to `table`. Contigs too short to be binned are in no score.
    """
    from genomelm_utils.evaluation.binning_scores import honest_scores, reference_scores

    binned = table[table["bin"] != UNBINNED]
    bins = binned.groupby("bin", as_index=False).agg(
        n_contigs=("name", "size"), total_bp=("n_bases", "sum")
    )
    if truth is None:
        return bins, {}
    table["species"], known_S = truth.of(table["name"].tolist())
    tell_unlabelled(known_S, truth.path)
    species, lengths = table["species"][known_S].to_numpy(dtype=str), table["n_bases"][known_S]
    honest = honest_scores(species, labels_S[known_S], lengths)
    f1_binned_only = reference_scores(species, labels_S[known_S])["f1"].mean()
    names = name_bins(honest.bins["bin"].to_numpy(), len(bins))
    columns = ["bin", "species", "purity", "contamination", "completeness"]
    bins = bins.merge(honest.bins.assign(bin=names)[columns], on="bin", how="left")
    matched = honest.species.assign(bin=name_bins(honest.species["bin"].to_numpy(), len(bins)))
    output.write_table(matched.round(6), MATCHES)
    return bins.round(6), honest.summary | {"f1_binned_only": float(f1_binned_only)}


def write_bin_fastas(given: argparse.Namespace, table: pd.DataFrame, folder: Path) -> None:
    """One FASTA per bin and `unbinned.fa`, in a folder that appears when all are written."""
    from genomelm_utils.sequences.alphabet import DECODE_TABLE

    bin_of = dict(zip(table["name"], table["bin"], strict=True))
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as made:
        made_in = Path(made) / folder.name
        made_in.mkdir()
        for block in _read_again(given.input, given.min_bp):
            texts: dict[str, list[bytes]] = {}
            for name, codes in zip(block.names, block.codes, strict=True):
                if name in bin_of:
                    record = f">{name}\n".encode() + DECODE_TABLE[codes].tobytes() + b"\n"
                    texts.setdefault(bin_of[name], []).append(record)
            for bin_name, records in texts.items():
                with (made_in / f"{bin_name}.fa").open("ab") as file:
                    file.write(b"".join(records))
        made_in.replace(folder)
