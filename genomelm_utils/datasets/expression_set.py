"""Promoters with the expression of their genes in many tissues: the one object all of it shares.

On disk a set is a folder:

    genes.csv.gz   one promoter per row: the columns of `GENE_COLUMNS`, then any further ones
    tpm.npy        float32[S, T], expression, NaN where not measured
    set.json       format, tissues, unit, types of columns, hashes of the files; written last

Shape suffixes: S promoters, T tissues.
"""

import gzip
import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from genomelm_utils.sequences.fasta import suggest

FORMAT = 1
PARTS = ("train", "valid", "test")
NO_PART = ""  # of promoters that no split has dealt yet
NO_CLUSTER = -1  # of promoters that were not clustered
UNITS = ("TPM", "FPKM", "enrichment", "simulated")  # enrichment: RNA over DNA of a reporter assay
GENE_COLUMNS = ("gene_id", "line", "sequence", "gap_bp", "cluster", "part")
_TEXTS = ("gene_id", "line", "sequence", "part")
_FILES = ("genes.csv.gz", "tpm.npy")


@dataclass(frozen=True)
class ExpressionSet:
    """Promoters of genes of one or more lines, and how strongly each gene is expressed.

    genes: one row per promoter (a gene of a line), index 0..S-1: gene_id; line (cultivar or
    species); sequence, upper-case ACGTN from 5' to 3' with the TSS at its RIGHT end; gap_bp
    (Int64), bases between that end and the TSS, <NA> unknown, below 0 where the sequence reaches
    past the TSS (-5: its last base is +5, the fifth that is transcribed); cluster (int64) of
    similar promoters, NO_CLUSTER before clustering; part, one of PARTS, NO_PART before a split.
    Further columns are kept. tissues: names, in the order of the columns of tpm_ST. tpm_ST:
    float32[S, T], raw units of 0 or more, NaN = not measured. unit: of tpm_ST, one of UNITS.

    Raises ValueError naming the first row that breaks one of these rules.
    """

    genes: pd.DataFrame
    tissues: tuple[str, ...]
    tpm_ST: np.ndarray
    unit: str

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise ValueError(f"unit is {self.unit!r}, expected one of {', '.join(UNITS)}")
        _check_tissues(self.tissues)
        _check_genes(self.genes)
        _check_tpm(self.tpm_ST, self.genes, self.tissues)

    def __len__(self) -> int:
        return len(self.genes)

    @property
    def lengths_bp(self) -> np.ndarray:
        """Bases of every promoter, int64[S]."""
        return self.genes["sequence"].str.len().to_numpy(dtype=np.int64)

    def take(self, index: np.ndarray) -> "ExpressionSet":
        """The promoters at `index` (or where a mask is true), in that order."""
        index = np.asarray(index)
        index = np.flatnonzero(index) if index.dtype == bool else index.astype(np.int64)
        genes = self.genes.iloc[index].reset_index(drop=True)
        return replace(self, genes=genes, tpm_ST=self.tpm_ST[index])

    def select(self, part: str) -> "ExpressionSet":
        """The promoters of a part, in their order.

        Raises ValueError for a part that does not exist and for one without promoters.
        """
        if part not in PARTS:
            raise ValueError(f"part is {part!r}, expected one of {', '.join(PARTS)}")
        found = (self.genes["part"] == part).to_numpy()
        if not found.any():
            raise ValueError(
                f"no promoter of {len(self)} is in part {part!r} (parts here: "
                f"{', '.join(map(repr, sorted(self.genes['part'].unique())))}); split the set first"
            )
        return self.take(found)

    def select_tissues(self, names: list[str] | tuple[str, ...]) -> "ExpressionSet":
        """The same promoters with these tissues only, in the order given.

        Raises ValueError for a tissue that the set does not have, with the nearest name.
        """
        for name in names:
            if name not in self.tissues:
                raise ValueError(
                    f"no tissue {name!r}{suggest(name, self.tissues)}; tissues here: "
                    f"{', '.join(self.tissues)}"
                )
        columns = [self.tissues.index(name) for name in names]
        return replace(self, tissues=tuple(names), tpm_ST=self.tpm_ST[:, columns])

    def with_columns(self, columns: Mapping[str, object]) -> "ExpressionSet":
        """The same set with some columns of `genes` replaced or added, such as cluster and part."""
        return replace(self, genes=self.genes.assign(**columns))

    def save(self, folder: str | Path) -> None:
        """Write the set into a folder, equal sets to equal bytes; an older set there is replaced.

        set.json is written last, so a folder that has one is whole.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "set.json").unlink(missing_ok=True)
        text = self.genes.to_csv(index=False, lineterminator="\n")
        (folder / "genes.csv.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
        np.save(folder / "tpm.npy", self.tpm_ST)
        info = {
            "format": FORMAT,
            "unit": self.unit,
            "tissues": list(self.tissues),
            "types": {name: _type_of(self.genes[name]) for name in self.genes},
            "sha256": {name: _hash(folder / name) for name in _FILES},
        }
        (folder / "set.json").write_text(json.dumps(info, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> "ExpressionSet":
        """The set that `save` wrote into a folder.

        Raises FileNotFoundError or ValueError naming the file that is missing or damaged.
        """
        folder = Path(folder)
        if not (folder / "set.json").is_file():
            raise FileNotFoundError(f"{folder}: no set.json, expected a saved expression set")
        info = json.loads((folder / "set.json").read_text(encoding="utf-8"))
        if info.get("format") != FORMAT:
            raise ValueError(
                f"{folder / 'set.json'}: format {info.get('format')}, expected {FORMAT}"
            )
        for name in _FILES:
            if not (folder / name).is_file() or _hash(folder / name) != info["sha256"][name]:
                raise ValueError(f"{folder / name}: missing or damaged; make the set again")
        text = gzip.decompress((folder / "genes.csv.gz").read_bytes()).decode()
        types = info["types"]
        empty = {name: [""] for name, dtype in types.items() if dtype != "text"}
        genes = pd.read_csv(
            io.StringIO(text),
            dtype={name: str if dtype == "text" else dtype for name, dtype in types.items()},
            keep_default_na=False,
            na_values=empty,
        )
        tpm_ST = np.load(folder / "tpm.npy", allow_pickle=False)
        return cls(genes, tuple(info["tissues"]), tpm_ST, info["unit"])


def make_genes(
    gene_id: object,
    line: object,
    sequence: object,
    *,
    gap_bp: object = None,
    cluster: object = NO_CLUSTER,
    part: object = NO_PART,
) -> pd.DataFrame:
    """The table `genes` of a set, columns in order and of the right types.

    Each argument is one value per promoter, or one for all; gap_bp None = unknown everywhere.
    Sequences are upper-cased, and letters other than ACGTN become N (as read by models: any base).
    """
    genes = pd.DataFrame({"gene_id": gene_id, "line": line, "sequence": sequence})
    genes = genes.astype({"gene_id": str, "line": str})
    letters = genes["sequence"].astype(str).str.upper()
    genes["sequence"] = letters.str.replace("[RYSWKMBDHV]", "N", regex=True)
    genes["gap_bp"] = pd.array([pd.NA] * len(genes), "Int64") if gap_bp is None else gap_bp
    genes["gap_bp"] = genes["gap_bp"].astype("Int64")
    genes["cluster"] = cluster
    genes["part"] = part
    return genes.astype({"cluster": np.int64, "part": str})


# --- checks --------------------------------------------------------------------------------


def _check_tissues(tissues: tuple[str, ...]) -> None:
    if not isinstance(tissues, tuple) or not tissues:
        raise ValueError(f"tissues are {tissues!r}, expected a tuple of at least one name")
    doubled = pd.Series(tissues).loc[lambda names: names.duplicated()]
    if len(doubled):
        raise ValueError(f"tissue {doubled.iloc[0]!r} stands twice among {', '.join(tissues)}")


def _check_genes(genes: pd.DataFrame) -> None:
    missing = [name for name in GENE_COLUMNS if name not in genes]
    if missing:
        raise ValueError(
            f"genes lack the column {' and '.join(missing)}; found {', '.join(map(str, genes))}"
        )
    if not genes.index.equals(pd.RangeIndex(len(genes))):
        raise ValueError("genes have an index of their own, expected 0, 1, 2, ...: reset_index")
    for name in _TEXTS:
        wrong = ~genes[name].map(lambda value: isinstance(value, str)).astype(bool)
        if wrong.any():
            raise ValueError(f"{name} of {_name(genes, wrong)} is no text")
    if not pd.api.types.is_integer_dtype(genes["cluster"]) or genes["cluster"].isna().any():
        raise ValueError(f"cluster has type {genes['cluster'].dtype}, expected whole numbers")
    if str(genes["gap_bp"].dtype) != "Int64":
        raise ValueError(f"gap_bp has type {genes['gap_bp'].dtype}, expected Int64 (with <NA>)")
    rules = {
        f"part is none of {', '.join(PARTS)} and not empty": ~genes["part"].isin((*PARTS, NO_PART)),
        "the sequence is empty": genes["sequence"] == "",
        "the sequence holds other letters than upper-case A, C, G, T, N": ~genes[
            "sequence"
        ].str.fullmatch("[ACGTN]*"),
        "the gene stands twice in its line": genes.duplicated(["line", "gene_id"]),
    }
    for what, wrong in rules.items():
        if wrong.any():
            raise ValueError(f"{_name(genes, wrong)}: {what} ({int(wrong.sum())} such rows)")


def _check_tpm(tpm_ST: np.ndarray, genes: pd.DataFrame, tissues: tuple[str, ...]) -> None:
    if tpm_ST.shape != (len(genes), len(tissues)) or tpm_ST.dtype != np.float32:
        raise ValueError(
            f"tpm_ST is {tpm_ST.dtype}{list(tpm_ST.shape)}, expected float32"
            f"[{len(genes)} promoters, {len(tissues)} tissues]"
        )
    wrong_ST = (tpm_ST < 0) | np.isinf(tpm_ST)
    if wrong_ST.any():
        row, column = np.argwhere(wrong_ST)[0]
        raise ValueError(
            f"{_name(genes, wrong_ST.any(axis=1))}: {tpm_ST[row, column]} in {tissues[column]}, "
            f"expected raw units of 0 or more, or NaN ({int(wrong_ST.sum())} such values); "
            "is this table on a log scale?"
        )


def _name(genes: pd.DataFrame, wrong: pd.Series | np.ndarray) -> str:
    row = int(np.argmax(np.asarray(wrong, dtype=bool)))
    return f"row {row} ({genes['gene_id'].iloc[row]!r} of line {genes['line'].iloc[row]!r})"


def _type_of(column: pd.Series) -> str:
    is_text = pd.api.types.is_string_dtype(column) or column.dtype == object
    return "text" if is_text else str(column.dtype)


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
