"""Published activity sets that are small enough to be at hand: vertebrates, fly, plants, E. coli.

Each loader takes `locate` (a file's name in data/registry.tsv -> its path) and gives an
`ActivitySet` with the column `group`: what must stay together in a split (tiles of one TSS, both
orientations of an element, promoters of one gene, places of one genome).
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from genomelm_utils.datasets.activity_task import ActivitySet, TaskSpec, make_set, read_columns

Locate = Callable[[str], Path]

_FOLDER = "expression"
FILES = {
    "tss_mpra": ("human_mouse_tss/tss_two_cell_types.tsv.gz",),
    "lentimpra": tuple(f"human_lentimpra/sample_{p}.tsv.gz" for p in ("train", "valid", "test")),
    "fly_starrseq": tuple(f"fly_starrseq/sample_{p}.tsv.gz" for p in ("train", "val", "test")),
    "plant_core": ("plant_core_promoters/leaf_protoplast_joined.tsv.gz",),
    "ecoli_mpra": ("ecoli/endo_tss_lb.tsv.gz",),
}
ADAPTOR_BP = 15  # at both ends. Source: Agarwal et al. 2025, Nature 639:411
ECOLI_BP = 150
#: Added before the logarithm: below it the assay of E. coli promoters does not tell differences
#: (a tenth of the weakest tenth of active promoters). Ours.
ECOLI_FLOOR = 0.1
ECOLI_BLOCK_BP = 10_000  # stretch of genome that stays together, longer than any overlap


def read_sample(name: str, locate: Locate, species: str = "") -> ActivitySet:
    """One of `FILES` with `group`; parts as the source gives them, else ''.

    species: of 'tss_mpra' ('human', 'mouse') and 'plant_core' ('At', 'Zm', 'Sb'): those rows only.
    Raises ValueError for an unknown name or species.
    """
    if name not in FILES:
        raise ValueError(f"unknown set {name!r}, expected one of {', '.join(FILES)}")
    paths = [Path(locate(f"{_FOLDER}/{file}")) for file in FILES[name]]
    data = _READERS[name](paths)
    if not species:
        return data
    if "species" not in data.columns or species not in set(data.columns["species"]):
        raise ValueError(f"{name} has no rows of species {species!r}")
    return data.take(np.flatnonzero(data.columns["species"].to_numpy() == species))


def _read_tss(paths: list[Path]) -> ActivitySet:
    """144-bp tiles at human and mouse TSSs in two cell types; log10 of the activity.

    Source: Mattioli et al. 2020, Genome Biol. 21:210.
    """
    columns = ["species", "tss_id", "chrom", "sequence", "HUES64_log10", "mESC_log10"]
    table = read_columns(paths[0], columns, "tiles at TSSs")
    whole = table["sequence"].notna() & table[columns[-2:]].notna().any(axis=1)
    kept = table[whole]
    spec = TaskSpec("tss_mpra", "regression", ("HUES64", "mESC"), masked=True, length_bp=144)
    rows = {"species": kept["species"], "chromosome": kept["chrom"], "group": kept["tss_id"]}
    skipped = {"no sequence or no value": int((~whole).sum())}
    return make_set(
        spec, kept["sequence"].tolist(), kept[columns[-2:]].to_numpy(), rows, skipped=skipped
    )


def _read_lenti(paths: list[Path]) -> ActivitySet:
    """Human lentiMPRA elements, adaptors cut off; both orientations of one are a group."""
    table = _stack_parts(paths, ["seq_id", "seq", "mean_value"], "a sample of lentiMPRA")
    inner = table["seq"].str.slice(ADAPTOR_BP, -ADAPTOR_BP)
    element = table["seq_id"].str.rstrip(":").str.removesuffix("_Reversed")
    spec = TaskSpec("lentimpra", "regression", ("activity",), length_bp=200)
    rows = {"group": element}
    return make_set(spec, inner.tolist(), table["mean_value"], rows, table["part"])


def _read_fly(paths: list[Path]) -> ActivitySet:
    """Fly enhancers with two promoters. Source: de Almeida et al. 2022, Nat. Genet. 54:613."""
    outputs = ["Dev_log2_enrichment", "Hk_log2_enrichment"]
    table = _stack_parts(paths, ["seqnames", "start", "Sequence", *outputs], "STARR-seq of fly")
    spec = TaskSpec("fly_starrseq", "regression", ("developmental", "housekeeping"), length_bp=249)
    # both strands of one place are two rows
    group = table["seqnames"] + ":" + (table["start"] // 1000).astype(str)
    rows = {"chromosome": table["seqnames"], "group": group}
    return make_set(spec, table["Sequence"].tolist(), table[outputs], rows, table["part"])


def _read_plant(paths: list[Path]) -> ActivitySet:
    """170-bp core promoters in tobacco leaf and maize protoplasts, log2; most in one only.

    Source: Jores et al. 2021, Nat. Plants 7:842.
    """
    table = read_columns(paths[0], ["sp", "gene", "sequence", "leaf", "proto"], "core promoters")
    spec = TaskSpec("plant_core", "regression", ("leaf", "proto"), masked=True, length_bp=170)
    rows = {"species": table["sp"], "group": table["gene"]}
    return make_set(spec, table["sequence"].tolist(), table[["leaf", "proto"]], rows)


def _read_ecoli(paths: list[Path]) -> ActivitySet:
    """150-bp genomic promoters of E. coli in LB, log2(max(expression, 0) + 0.1); neighbours
    are a group.

    Source: Urtecho et al. 2023 (bioRxiv 2020.01.04.894907).
    """
    names = ["sequence", "expression", "start", "end", "tss"]
    table = read_columns(paths[0], names, "promoters of E. coli", header=None, names=names)
    right = table["sequence"].str.len() == ECOLI_BP
    kept = table[right & table["expression"].notna()]
    # a few are below 0, where the background was subtracted
    value_S = np.log2(kept["expression"].to_numpy(np.float64).clip(min=0) + ECOLI_FLOOR)
    block = pd.to_numeric(kept["start"], errors="coerce").fillna(-1) // ECOLI_BLOCK_BP
    spec = TaskSpec("ecoli_mpra", "regression", ("LB",), length_bp=ECOLI_BP)
    skipped = {f"controls, not of {ECOLI_BP} bases": int((~right).sum())}
    rows = {"group": block.astype(int)}
    return make_set(spec, kept["sequence"].tolist(), value_S, rows, skipped=skipped)


def _stack_parts(paths: list[Path], columns: list[str], what: str) -> pd.DataFrame:
    tables = [
        read_columns(path, columns, what).assign(part=part)
        for path, part in zip(paths, ("train", "valid", "test"), strict=True)
    ]
    return pd.concat(tables, ignore_index=True)


_READERS: dict[str, Callable[[list[Path]], ActivitySet]] = {
    "tss_mpra": _read_tss,
    "lentimpra": _read_lenti,
    "fly_starrseq": _read_fly,
    "plant_core": _read_plant,
    "ecoli_mpra": _read_ecoli,
}
