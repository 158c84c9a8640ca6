"""Simulated promoters of several plant lines whose expression is known to follow planted motifs.

Families of paralogs descend from random ancestors; every gene of a family gets motifs of its own at
known distances from the TSS, and every line a slightly mutated copy of the gene. Expression follows
the motifs that are still whole in the copy, plus noise: as much of it as is asked for.

Not simulated: untranslated regions, enhancers, interactions of motifs, selection.

Shape suffixes: S promoters, L bases of each, T tissues, M motifs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from genomelm_utils.sequences.alphabet import IUPAC_SETS, decode, reverse_complement
from genomelm_utils.sequences.background import draw_transitions, mutate, sample_background
from genomelm_utils.sequences.planting import Motif, plant_motif

TISSUES = ("endosperm", "leaf", "root", "tassel")
TRUTH_COLUMNS = ("row", "gene_id", "line", "motif", "distance_bp", "strand", "whole")
_CONCENTRATION = 10.0  # of the background's table, as in `simulate.simulate_genome`
# ln(TPM + 1) of published maize tables: median 8.5 TPM, variance 2.5.
_MEAN_LOG, _SD_LOG = 2.5, 1.2
# Of the noise, common to all tissues of a gene: tissues of maize are nearly one.
_SHARED_NOISE = 0.6


@dataclass(frozen=True)
class ExpressionMotif:
    """A planted word and what it does. effect: on ln(TPM + 1) in every tissue, in arbitrary units
    (only ratios count); in_tissue: further effects."""

    motif: Motif
    effect: float = 0.0
    in_tissue: dict[str, float] = field(default_factory=dict)


# Words, long enough that a background of 400 bases seldom holds one: TATA Joshi 1987, Nucleic
# Acids Res. 15:6643; G-box Williams et al. 1992, Plant Cell 4:485; two W-boxes TTGACC in a row
# (Rushton et al. 1996, EMBO J. 15:5690); endosperm box Forde et al. 1985, Nucleic Acids Res.
# 13:7327; GCC-box Ohme-Takagi & Shinshi 1995, Plant Cell 7:173. Places, shares and effects are
# chosen so that a few hundred genes show them and no motif overwrites another.
MOTIFS = (
    ExpressionMotif(Motif("TATA-box", "TCACTATATATAG", -38, -33, presence=0.5), 1.5),
    ExpressionMotif(
        Motif("G-box", "GCCACGTGGC", -95, -75, presence=0.4, either_strand=True), 0.4, {"leaf": 1.6}
    ),
    ExpressionMotif(
        Motif("W-boxes", "TTGACCTTGACC", -135, -115, presence=0.4, either_strand=True),
        0.4,
        {"root": 1.6},
    ),
    ExpressionMotif(
        Motif("endosperm-box", "TGTAAAGNNNTGAGTCA", -180, -160, presence=0.4),
        0.4,
        {"endosperm": 1.6},
    ),
    ExpressionMotif(
        Motif("GCC-box", "TAAGAGCCGCC", -62, -52, presence=0.4, either_strand=True), -1.2
    ),
)


@dataclass(frozen=True)
class SimulatedExpression:
    """Promoters of equal length that end at the TSS, and their truth.

    codes_SL: uint8. family_S: int64, family (paralogs in all lines). tpm_ST: float32, NaN where a
    line lacks a tissue. truth: one planted motif per row, columns of TRUTH_COLUMNS: distance_bp of
    its first base on the promoter's strand (the base before the TSS is -1), whole = still intact in
    this line's copy. effects_MT: what each motif adds to ln(TPM + 1) per tissue, float64[M, T].
    """

    gene_ids: list[str]
    lines: list[str]
    codes_SL: np.ndarray
    family_S: np.ndarray
    tissues: tuple[str, ...]
    tpm_ST: np.ndarray
    truth: pd.DataFrame
    effects_MT: np.ndarray
    motif_names: tuple[str, ...]

    @property
    def sequences(self) -> list[str]:
        """The promoters as text, 5' to 3'."""
        return [decode(row) for row in self.codes_SL]


def simulate_expression(
    rng: np.random.Generator,
    *,
    n_families: int = 240,
    max_paralogs: int = 3,
    n_lines: int = 3,
    length_bp: int = 400,
    tissues: Sequence[str] = TISSUES,
    motifs: Sequence[ExpressionMotif] = MOTIFS,
    signal_share: float = 0.8,
    paralog_divergence: float = 0.03,
    line_divergence: float = 0.003,
    n_missing: int = 0,
    gc: float = 0.45,
) -> SimulatedExpression:
    """Promoters of `n_lines` lines with expression in tissues.

    Families have 1 to `max_paralogs` genes. signal_share: share of the variance of ln(TPM + 1) that
    motifs explain in every tissue, 0 (none) to 1 (no noise); what stays is noise, drawn anew for
    every line, most of it common to all tissues. paralog_divergence: share of bases that differ
    from the family's ancestor (twice that between two paralogs). line_divergence: the same between
    a gene and its copy in a line; at the default a third of the copies are exact. n_missing: the
    last lines, in which the first tissue was not measured. gc: of the background, a Markov chain.

    Equal arguments and generator state give equal results. Raises ValueError for arguments out of
    range and motifs that do not fit into the promoter.
    """
    _check(n_families, max_paralogs, n_lines, length_bp, signal_share, n_missing, motifs, tissues)
    transitions = draw_transitions(rng, order=2, gc=gc, concentration=_CONCENTRATION)
    family_G = np.repeat(
        np.arange(n_families), rng.integers(1, max_paralogs, n_families, endpoint=True)
    )
    ancestors_FL = sample_background(transitions, (n_families, length_bp), rng)
    genes_GL = mutate(ancestors_FL[family_G], paralog_divergence, rng)
    planted = []
    for one in motifs:
        anchor_G = np.full(len(genes_GL), length_bp)
        planted.append(plant_motif(genes_GL, anchor_G, one.motif, 1.0, rng))
    codes_SL = mutate(np.tile(genes_GL, (n_lines, 1)), line_divergence, rng)
    gene_S = np.tile(np.arange(len(genes_GL)), n_lines)
    line_S = np.repeat(np.arange(n_lines), len(genes_GL))
    whole_SM = np.stack(
        [
            _is_whole(codes_SL, one.motif.consensus, *[part[gene_S] for part in where])
            for one, where in zip(motifs, planted, strict=True)
        ],
        axis=1,
    )
    effects_MT = np.array([[m.effect + m.in_tissue.get(t, 0.0) for t in tissues] for m in motifs])
    tpm_ST, scale_T = _express(whole_SM @ effects_MT, signal_share, rng)
    if n_missing:
        tpm_ST[line_S >= n_lines - n_missing, 0] = np.nan
    lines = [f"line{i + 1}" for i in line_S]
    gene_ids = [f"sim{i + 1:02d}g{g + 1:05d}" for i, g in zip(line_S, gene_S, strict=True)]
    names = tuple(one.motif.name for one in motifs)
    truth = _tell_truth(planted, names, gene_S, whole_SM, gene_ids, lines, length_bp)
    return SimulatedExpression(
        *(gene_ids, lines, codes_SL, family_G[gene_S], tuple(tissues), tpm_ST, truth),
        *(effects_MT * scale_T, names),
    )


def _check(
    n_families, max_paralogs, n_lines, length_bp, signal_share, n_missing, motifs, tissues
) -> None:
    if min(n_families, max_paralogs, n_lines) < 1 or not 0 <= n_missing <= n_lines:
        raise ValueError(
            f"n_families {n_families}, max_paralogs {max_paralogs}, n_lines {n_lines}, n_missing "
            f"{n_missing}: expected 1 or more, and n_missing from 0 to n_lines"
        )
    if not 0 <= signal_share <= 1:
        raise ValueError(f"signal_share is {signal_share}, expected a share from 0 to 1")
    for one in motifs:
        word = one.motif
        if word.first < -length_bp or word.last + len(word.consensus) > 0:
            raise ValueError(
                f"motif {word.name} stands from {word.first} to {word.last + len(word.consensus)} "
                f"of the TSS, expected inside of {-length_bp} to 0"
            )
        unknown = sorted(set(one.in_tissue) - set(tissues))
        if unknown:
            raise ValueError(
                f"motif {word.name} acts in {unknown[0]!r}; tissues are {', '.join(tissues)}"
            )


def _is_whole(codes_SL, consensus: str, present_S, start_S, reversed_S) -> np.ndarray:
    """Whether the planted word still matches its consensus, bool[S]."""
    window_SW = np.take_along_axis(codes_SL, start_S[:, None] + np.arange(len(consensus)), axis=1)
    window_SW[reversed_S] = reverse_complement(window_SW[reversed_S])
    allowed_WC = np.array([[base in IUPAC_SETS[letter] for base in "ACGT"] for letter in consensus])
    matches_SW = allowed_WC[np.arange(len(consensus)), np.minimum(window_SW, 3)] & (window_SW < 4)
    return present_S & matches_SW.all(axis=1)


def _express(sums_ST: np.ndarray, signal_share: float, rng) -> tuple[np.ndarray, np.ndarray]:
    """(TPM float32[S, T], units of ln(TPM + 1) per unit of effect, float64[T])."""
    n, n_tissues = sums_ST.shape
    sd_T = sums_ST.std(axis=0)
    scale_T = _SD_LOG * np.sqrt(signal_share) / np.where(sd_T > 0, sd_T, 1)
    noise_ST = np.sqrt(_SHARED_NOISE) * rng.standard_normal((n, 1))
    noise_ST = noise_ST + np.sqrt(1 - _SHARED_NOISE) * rng.standard_normal((n, n_tissues))
    log_ST = _MEAN_LOG + (sums_ST - sums_ST.mean(axis=0)) * scale_T
    log_ST += _SD_LOG * np.sqrt(1 - signal_share) * noise_ST
    return np.expm1(np.maximum(log_ST, 0)).astype(np.float32), scale_T


def _tell_truth(planted, names, gene_S, whole_SM, gene_ids, lines, length_bp: int) -> pd.DataFrame:
    tables = []
    for m, (present_G, start_G, reversed_G) in enumerate(planted):
        rows = np.flatnonzero(present_G[gene_S])
        tables.append(
            pd.DataFrame(
                {
                    "row": rows,
                    "gene_id": np.array(gene_ids, dtype=object)[rows],
                    "line": np.array(lines, dtype=object)[rows],
                    "motif": names[m],
                    "distance_bp": start_G[gene_S[rows]] - length_bp,
                    "strand": np.where(reversed_G[gene_S[rows]], "-", "+"),
                    "whole": whole_SM[rows, m],
                }
            )
        )
    truth = pd.concat(tables, ignore_index=True)[list(TRUTH_COLUMNS)]
    return truth.sort_values(["row", "distance_bp"], ignore_index=True)
