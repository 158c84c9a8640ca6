"""Stage 11: which sequences are searched, with what, which motifs are known, which words ranked."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from genomelm_utils.motifs.compare import match_motifs
from genomelm_utils.motifs.control import as_records, shuffle_records
from genomelm_utils.motifs.formats import read_motifs
from genomelm_utils.motifs.motif import Discovery, Motif, motif_from_consensus
from genomelm_utils.motifs.records import SearchSet, collect
from genomelm_utils.motifs.search import choose_engine, discover
from genomelm_utils.sequences.alphabet import decode
from genomelm_utils.sequences.planting import PROMOTER_MOTIFS
from genomelm_utils.sequences.simulate_motifs import PEAK_MOTIFS, simulate_peaks

if TYPE_CHECKING:  # a run is handed in: only its type is named here
    from genomelm_utils.pipeline.context import Run

#: Random words among which planted motifs have to be recognised; Tomtom's p-values want 50 known
#: motifs or more. 6 to 15 bases, as known motifs have. Chosen.
N_DECOYS, DECOY_BP = 60, (6, 16)
TOPS = (50, 100, 200, 500, 1000)
TABLES = (".tsv", ".csv")


@dataclass(frozen=True)
class MotifStudy:
    """data: what is searched; shuffled: the same, shuffled; truth: planted sites (motif, index,
    start, end, strand), None where they are not known."""

    data: SearchSet
    shuffled: SearchSet
    truth: pd.DataFrame | None

    @property
    def lengths_bp(self) -> np.ndarray:
        """int64 [S]."""
        return np.diff(self.data.starts)


def open_sequences(run: "Run") -> MotifStudy:
    """What a run of notebook 11 searches: its file of sequences, or simulated ones.

    A name with .tsv or .csv is a table of labelled sequences (the published few-shot sets), of
    which all rows count; anything else FASTA or FASTQ. Sequences are numbered from 0 in their
    order, without those that cannot hold a motif.
    """
    params = run.params
    rng = np.random.default_rng(run.seed)
    truth = None
    if params["sequences"]:
        data = read_sequences(run.data(params["sequences"]))
    else:
        peaks = simulate_peaks(rng, params["n_simulated"])
        data, truth = collect(list(peaks.codes_SL)), peaks.truth
    data = take_first(data, params["max_sequences"] or len(data))
    if truth is not None:
        truth = truth[truth["index"] < len(data)].reset_index(drop=True)
    return MotifStudy(data, shuffle_records(data, rng), truth)


def read_sequences(path: Path) -> SearchSet:
    """The sequences of a table, or of a FASTA or FASTQ file; see `open_sequences`."""
    if path.name.removesuffix(".gz").endswith(TABLES):
        from genomelm_utils.datasets.labelled import read_labelled

        table = read_labelled(path, need_labels=False)
        return collect(list(table.codes))
    return collect(path)


def take_first(data: SearchSet, n: int) -> SearchSet:
    """The first n sequences, numbered from 0."""
    n = min(n, len(data))
    starts = data.starts[: n + 1]
    codes, index = data.codes[: starts[-1]], np.arange(n)
    return replace(data, names=data.names[:n], codes=codes, starts=starts, index=index)


def sequence_summary(study: MotifStudy) -> pd.DataFrame:
    """quantity, value: sequences, left out, bases, their lengths, GC, N and planted sites."""
    codes, lengths = study.data.codes, study.lengths_bp
    definite = codes[codes < 4]
    rows = [
        ("sequences", len(study.data)),
        ("left out", len(study.data.skipped)),
        ("bases", len(codes)),
        ("shortest, bp", lengths.min()),
        ("median, bp", np.median(lengths)),
        ("longest, bp", lengths.max()),
        ("share of G and C", np.isin(definite, (1, 2)).mean()),
        ("share of N and other letters", 1 - len(definite) / len(codes)),
    ]
    if study.truth is not None:
        rows += [(f"planted {k}", n) for k, n in study.truth["motif"].value_counts().items()]
    table = pd.DataFrame(rows, columns=["quantity", "value"])
    return table.astype({"value": float})


def search_both(study: MotifStudy, wanted: str, **options: Any) -> tuple[Discovery, Discovery, str]:
    """(what `discover` finds, what it finds in the shuffled sequences, sentences on the engine).

    Where rGADEM is wanted and missing, the native engine searches, and the sentences say so.
    """
    engine, why = choose_engine(wanted)
    found, control = (
        discover(as_records(data), engine=engine, **options)
        for data in (study.data, study.shuffled)
    )
    told = [f"Engine: {found.engine}.", why, *(f"{note}." for note in found.notes)]
    return found, control, " ".join(one[0].upper() + one[1:] for one in told if one)


def known_motifs(run: "Run") -> list[Motif]:
    """Motifs to compare with: those of the run's files, or what is planted, among random words."""
    if run.params["known"]:
        motifs = [motif for file in run.params["known"] for motif in read_motifs(run.data(file))]
        return unique_names(motifs)
    planted = [motif_from_consensus(one.name, one.consensus) for one in PEAK_MOTIFS]
    return planted + random_motifs(np.random.default_rng(run.seed), N_DECOYS)


def unique_names(motifs: Sequence[Motif]) -> list[Motif]:
    """The motifs; of a name that comes again (two files) the later ones get `_2`, `_3`, ..."""
    seen: dict[str, int] = {}
    out = []
    for motif in motifs:
        seen[motif.name] = seen.get(motif.name, 0) + 1
        number = seen[motif.name]
        out.append(motif if number == 1 else replace(motif, name=f"{motif.name}_{number}"))
    return out


def random_motifs(rng: np.random.Generator, n: int) -> list[Motif]:
    """Motifs of random words, `random_1` and so on."""
    words = [decode(rng.integers(0, 4, k).astype(np.uint8)) for k in rng.integers(*DECOY_BP, n)]
    return [motif_from_consensus(f"random_{i}", word) for i, word in enumerate(words, start=1)]


def match_found(found: Discovery, known: Sequence[Motif], n_best: int) -> pd.DataFrame:
    """`match_motifs` with the column `rank` (1: best of its motif); no rows for nothing found."""
    if not found.motifs:
        return match_motifs(known[:1], known, 1).iloc[:0].assign(rank=1)
    table = match_motifs(found.motifs, known, n_best)
    return table.assign(rank=table.groupby("motif", sort=False).cumcount() + 1)


def best_pairs(
    found: Discovery, known: Sequence[Motif], matches: pd.DataFrame, q_value: float, n: int
) -> list[tuple[Motif, Motif, pd.Series]]:
    """(found, known, row of the match) of the first n motifs whose best match has that q-value."""
    by_name = {motif.name: motif for motif in [*known, *found.motifs]}
    best = matches[(matches["rank"] == 1) & (matches["q_value"] <= q_value)].head(n)
    return [(by_name[row["motif"]], by_name[row["known"]], row) for _, row in best.iterrows()]


def motifs_to_scan(
    found: Discovery, pairs: Sequence[tuple[Motif, Motif, pd.Series]]
) -> tuple[list[Motif], list[str]]:
    """(the found motifs and the known ones that they match, each once; `found` or `known`)."""
    matched = {known.name: known for _, known, _ in pairs}
    motifs = [*found.motifs, *matched.values()]
    return motifs, ["found"] * len(found.motifs) + ["known"] * len(matched)


def word_rankings(run: "Run") -> dict[str, pd.Series]:
    """name -> scores by word: the run's ranking in both forms, the published one as it is and by
    the corrected formula on its own counts (if named), and as a baseline the counts alone."""
    from genomelm_utils.pretraining import ranking_tables

    parent = run.parent("ranking")
    tables = {"corrected": parent.table("ranking"), "reference": parent.table("ranking_reference")}
    if run.params["published"]:
        k = parent.params["k"]
        tables |= ranking_tables.read_published(run.data(run.params["published"]), k)
    scores = {name: one.set_index("ngram")[ranking_tables.SCORE] for name, one in tables.items()}
    return scores | {"counts alone": tables["corrected"].set_index("ngram")["count"].astype(float)}


def conserved_motifs(run: "Run", known: Sequence[Motif]) -> list[Motif]:
    """Motifs that the ranked words are held against: the known ones, or, where those are simulated,
    what is planted into the simulated genome that the words were counted in."""
    if run.params["known"]:
        return list(known)
    return [motif_from_consensus(one.name, one.consensus) for one in PROMOTER_MOTIFS]


def top_matched(rankings: dict[str, pd.Series], matches: pd.DataFrame, n: int = 10) -> pd.DataFrame:
    """The first n words of each ranking with the motifs that they match: ranking, rank, ngram,
    n_motifs, motifs."""
    by_word = matches.set_index("ngram")
    parts = []
    for name, scores in rankings.items():
        words = scores.sort_values(ascending=False, kind="stable").index[:n]
        part = by_word.loc[words].reset_index()
        parts.append(part.assign(ranking=name, rank=range(1, len(words) + 1)))
    table = pd.concat(parts, ignore_index=True)
    return table[["ranking", "rank", "ngram", "n_motifs", "motifs"]]
