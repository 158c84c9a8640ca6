"""The published tasks of promoter activity read from one folder of raw files.

    fluorescence/Raw_Promoter_Counts.csv, final_list_of_all_promoter_sequences_fixed.tsv
    rnaseq/tss.tsv, Roadmap.tsv, LL100.tsv, CCLE.csv, CCLE_lines.csv
    chipseq/metadata.tsv, <file accession>.bed.gz
    sharpr/train.hdf5, valid.hdf5, test.hdf5
    sure/<genome>.tsv.gz
    lentimpra/large_scale_positions.xlsx, large_scale_exps.xlsx, designed_sequences.xlsx,
        designed_sequences_exps.xlsx
    starrseq/K562.bed, HepG2.bed  (also .bed.gz)
    malinois/<cell>/*.tsv, *.fasta  (also .gz): element quantifications and references
    hg38.fa(.gz), hg19.fa(.gz)  for what is cut from a genome (hg19: SuRE)

None of it is downloaded: the sources are several, some without an open address.
"""

from pathlib import Path

import pandas as pd

from genomelm_utils.datasets import (
    assay_chipseq,
    assay_lenti,
    assay_mpra,
    assay_rnaseq,
    assay_sure,
)
from genomelm_utils.datasets.activity_splits import split_set
from genomelm_utils.datasets.activity_task import ActivitySet, Fetch
from genomelm_utils.datasets.assay_fluorescence import CELLS, read_fluorescence
from genomelm_utils.datasets.promoter_assays import expand_tasks
from genomelm_utils.sequences.genome import build_store, open_store


def read_assays(
    names: list[str], folder: str | Path, cache: str | Path, *, seed: int = 97
) -> dict[str, ActivitySet]:
    """Sets by name ('RNASeq' is three, SuRE four: one per genome), with parts and overlaps.

    cache: a folder for genomes in one byte per base. seed: of splits and draws.
    Raises FileNotFoundError that names the file, and what the loaders raise.
    """
    found: dict[str, ActivitySet] = {}
    for name in expand_tasks(names):
        for one in _read(name, Path(folder), Path(cache), seed):
            found[name if one.spec.name.startswith("Fluorescence") else one.spec.name] = one
    return found


def _read(name: str, raw: Path, cache: Path, seed: int) -> list[ActivitySet]:
    if name.startswith("FluorescenceData"):
        return [_read_sorted(name, raw / "fluorescence", seed)]
    if name in assay_rnaseq.SOURCES:
        files = raw / "rnaseq"
        suffix = "csv" if name == "CCLE" else "tsv"
        lines = files / "CCLE_lines.csv" if name == "CCLE" else None
        table, by = assay_rnaseq.read_expression(name, files / f"{name}.{suffix}", lines)
        genes = assay_rnaseq.read_tss(files / "tss.tsv")
        return [assay_rnaseq.expression_set(name, table, by, genes, _genome(raw, cache, "hg38"))]
    if name == "ENCODETFChIPSeq":
        tracks = assay_chipseq.read_tracks(raw / "chipseq" / "metadata.tsv")
        peaks = {
            row.track: assay_chipseq.read_peaks(_present(raw / "chipseq" / f"{row.file}.bed.gz"))
            for row in tracks.itertuples()
        }
        return [assay_chipseq.chipseq_set(peaks, _genome(raw, cache, "hg38"), seed=seed)]
    if name == "Sharpr_MPRA":
        parts = ("train", "valid", "test")
        return [assay_mpra.read_sharpr({p: raw / "sharpr" / f"{p}.hdf5" for p in parts})]
    if name.startswith("SuRE"):
        kind, fetch = name.removeprefix("SuRE_"), _genome(raw, cache, "hg19")
        return [
            assay_sure.sure_set(g, _read_fragments(raw, g), fetch, kind=kind, seed=seed)
            for g in assay_sure.GENOMES
        ]
    if name == "lentiMPRA":
        return [assay_lenti.lenti_set(*assay_lenti.read_lenti(raw / "lentimpra"), seed=seed)]
    if name == "STARRSeq":
        cells = assay_mpra.STARR_CELLS
        files = {c: _some(raw / "starrseq", f"{c}.bed*", "peaks of STARRpeaker") for c in cells}
        peaks = {cell: assay_mpra.read_starr(found[0]) for cell, found in files.items()}
        return [assay_mpra.starr_set(peaks, _genome(raw, cache, "hg38"))]
    cells = assay_mpra.MALINOIS_CELLS
    folders = {c: raw / "malinois" / c for c in cells}
    tables = {c: _some(f, "*.tsv*", "element quantifications") for c, f in folders.items()}
    bases = {c: _some(f, "*.fasta*", "element references") for c, f in folders.items()}
    _, _, n = name.partition("_subsampled_")  # rows measured in all cells, so many of them
    counts = assay_mpra.read_malinois(tables, bases)
    return [assay_mpra.malinois_set(counts, n_subsample=int(n or 0), seed=seed)]


def _read_sorted(name: str, files: Path, seed: int) -> ActivitySet:
    last = name.removeprefix("FluorescenceData").removeprefix("_")
    labels = {"DE": "specificity", "classification": "classes"}.get(last, "activity")
    data = read_fluorescence(
        files / "Raw_Promoter_Counts.csv",
        files / "final_list_of_all_promoter_sequences_fixed.tsv",
        labels=labels,
        cells=[last] if last in CELLS else list(CELLS),
    )
    return split_set(data, "stratum", seed=seed, column="cell_specific_class")


def _read_fragments(raw: Path, genome: str) -> pd.DataFrame:
    return assay_sure.read_sure(raw / "sure" / f"{genome}.tsv.gz")


def _genome(raw: Path, cache: Path, name: str) -> Fetch:
    """Base codes of regions of a genome, packed into `cache` on first use."""
    place = cache / name
    if (place / "store.json").is_file():
        return open_store(place).fetch
    for ending in (".fa", ".fa.gz"):
        if (raw / f"{name}{ending}").is_file():
            return build_store(raw / f"{name}{ending}", place).fetch
    raise FileNotFoundError(f"{raw / name}.fa (or .fa.gz): no such file, expected the genome")


def _present(path: Path) -> Path:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; see the layout in `assay_folder`")
    return path


def _some(folder: Path, pattern: str, what: str) -> list[Path]:
    found = sorted(folder.glob(pattern))
    if not found:
        raise FileNotFoundError(f"{folder}: no {pattern}, expected {what}; see `assay_folder`")
    return found
