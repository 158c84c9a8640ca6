"""What `species bin` puts beside the features of sequences: 4-mer composition and coverage.

Shapes: S sequences, D width, P contigs whose halves are compared, N samples.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from genomelm_utils.species.inputs import EMBEDDED, Features, Maker

if TYPE_CHECKING:
    from genomelm_utils.datasets.contig_coverage import Coverage

TNF_K = "tnf_k"
COVERAGE_WEIGHT = 1.0  # as much as each other block; ours
BLOCK_ROWS = 8192


class Fusion:
    """Features of a file with what was asked for beside them; alone they stay as they are.

    Errors, before anything is computed: those of `datasets.contig_coverage.read_coverage`;
    ValueError for options that do not go together, or a table that names none of the contigs.
    """

    def __init__(self, given: argparse.Namespace, maker: Maker) -> None:
        self.given, self.maker = given, maker
        self.coverage: Coverage | None = None
        if given.coverage is None and given.coverage_weight is not None:
            raise ValueError("--coverage-weight is of --coverage, which is not given")
        self.weight = COVERAGE_WEIGHT if given.coverage_weight is None else given.coverage_weight
        if not (np.isfinite(self.weight) and self.weight > 0):
            raise ValueError(f"--coverage-weight is {self.weight:g}, expected a number above 0")
        if given.fuse_tnf and given.input.suffix in EMBEDDED:
            raise ValueError(f"{given.input} holds no sequences: --fuse-tnf needs FASTA")
        if given.fuse_tnf and given.features:
            raise ValueError(
                f"--fuse-tnf puts 4-mer composition beside a model's embeddings, but --features "
                f"{given.features} is composition already; leave one out"
            )
        if given.coverage is not None:
            from genomelm_utils.datasets.contig_coverage import read_coverage

            self.coverage = read_coverage(given.coverage)
            maker.check(given.input)
            self._expect_names(given.input)

    def of_file(self, path: Path, min_bp: int) -> Features:
        """Features of every record; those that have no composition or coverage are skipped."""
        features = self.maker.of_file(path, min_bp)
        blocks, weights = [features.values], [1.0]
        if self.given.fuse_tnf:
            counted = self._counter.of_file(path, min_bp)
            row_of = {name: row for row, name in enumerate(counted.names)}
            kept_S = np.array([name in row_of for name in features.names])
            features = features.keep(kept_S, "no 4 definite bases in a row")
            rows = [row_of[name] for name in features.names]
            blocks, weights = [features.values, counted.take(np.array(rows)).values], [1.0, 1.0]
        if self.coverage is not None:
            depth_SN, known_S = self.coverage.of(features.names)
            features = features.keep(known_S, f"not in {self.coverage.path.name}")
            from genomelm_utils.evaluation.feature_fusion import coverage_rows

            counted = [block if known_S.all() else block[known_S] for block in blocks[1:]]
            blocks = [features.values, *counted, coverage_rows(depth_SN)]
            weights = [*weights, self.weight]
        return features if len(blocks) == 1 else _fuse_on_disk(features, blocks, weights)

    def of_halves(
        self,
        first: Sequence[np.ndarray],
        second: Sequence[np.ndarray],
        features: Features,
        rows_P: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Features of first and second halves of the contigs that are these rows of the features.

        Both halves of a contig have its coverage, which would look more alike than that of two
        contigs of a genome ever is. So the second half gets the coverage of the other contig that
        is most like it by sequence.
        """
        from genomelm_utils.evaluation.feature_fusion import fuse_features

        halves = [[self.maker.of_codes(one)] for one in (first, second)]
        if self.given.fuse_tnf:
            for blocks, codes in zip(halves, (first, second), strict=True):
                blocks.append(self._counter.of_codes(codes))
        width = sum(block.shape[1] for block in halves[0])
        weights = [1.0] * len(halves[0])
        if self.coverage is not None:
            others_P = find_nearest(features.values[:, :width], rows_P)
            halves[0].append(features.values[rows_P, width:])
            halves[1].append(features.values[others_P, width:])
            weights.append(self.weight)
        if len(weights) == 1:
            return halves[0][0], halves[1][0]
        return fuse_features(halves[0], weights), fuse_features(halves[1], weights)

    @cached_property
    def _counter(self) -> Maker:
        return Maker(argparse.Namespace(**vars(self.given) | {"model": None, "features": TNF_K}))

    def _expect_names(self, path: Path) -> None:
        """ValueError when no record is in the table: better asked now than after embedding."""
        from genomelm_utils.sequences.stream import iter_records

        if path.suffix in EMBEDDED:
            return
        assert self.coverage is not None
        known, names = set(self.coverage.contigs), []
        for block in iter_records(path, min_bp=self.given.min_bp):
            names += block.names[:1]
            if any(name in known for name in block.names):
                return
        if names:
            self.coverage.of(names)


def find_nearest(values_SD: np.ndarray, rows_P: np.ndarray) -> np.ndarray:
    """For each of these rows the other row with the greatest cosine, int64 [P]."""
    from genomelm_utils.evaluation.feature_rows import unit_rows

    asked_PD = unit_rows(values_SD[rows_P])
    best_P, nearest_P = np.full(len(rows_P), -np.inf), np.zeros(len(rows_P), dtype=np.int64)
    for begin in range(0, len(values_SD), BLOCK_ROWS):
        cosine_PB = asked_PD @ unit_rows(values_SD[begin : begin + BLOCK_ROWS]).T
        own = np.flatnonzero((rows_P >= begin) & (rows_P < begin + cosine_PB.shape[1]))
        cosine_PB[own, rows_P[own] - begin] = -np.inf
        place_P = cosine_PB.argmax(1)
        found_P = cosine_PB[np.arange(len(rows_P)), place_P]
        better = found_P > best_P
        best_P[better], nearest_P[better] = found_P[better], begin + place_P[better]
    return nearest_P


def _fuse_on_disk(
    features: Features, blocks: Sequence[np.ndarray], weights: Sequence[float]
) -> Features:
    """As embeddings do, fused features stay on disk, in a temporary file that goes at the end."""
    from genomelm_utils.evaluation.feature_fusion import fuse_features

    shape = (len(features), sum(block.shape[1] for block in blocks))
    with TemporaryDirectory(prefix="genomelm-species-") as folder:
        out = np.lib.format.open_memmap(Path(folder) / "fused.npy", "w+", np.float32, shape)
        fuse_features(blocks, weights, out)
        return replace(features, values=out)
