"""Small sets, genomes and published files for tests of activity tasks."""

import numpy as np
import pandas as pd

from genomelm_utils.datasets import assay_lenti
from genomelm_utils.datasets.activity_task import ActivitySet, TaskSpec, make_set


def toy_genome(length: int = 3000, seed: int = 1, chromosomes=("1", "2", "4", "7")):
    """(fetch, base codes by chromosome): ValueError beyond an end, as the real one."""
    rng = np.random.default_rng(seed)
    codes = {f"chr{c}": rng.integers(0, 4, length, dtype=np.uint8) for c in chromosomes}

    def fetch(name: str, start: int, end: int) -> np.ndarray:
        if name not in codes or start < 0 or end > len(codes[name]):
            raise ValueError(f"{name}:{start}-{end} is not in the genome")
        return codes[name][start:end].copy()

    return fetch, codes


def toy_set(
    n: int = 60, *, name: str = "toy", kind: str = "regression", outputs=("a", "b"), seed: int = 0,
    length: int = 40, classes=(), **spec,
) -> ActivitySet:  # fmt: skip
    """Random sequences whose first label is their GC share; 60 % train, 20 % valid, 20 % test."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 4, (n, length), dtype=np.uint8)
    gc_S = ((codes == 1) | (codes == 2)).mean(1)
    labels_ST = np.stack([gc_S * (t + 1) for t in range(len(outputs))], axis=1)
    if kind == "multilabel":
        labels_ST = labels_ST > np.median(labels_ST, axis=0)
    elif classes:
        labels_ST = np.floor(gc_S * len(classes) * 0.999)[:, None].repeat(len(outputs), 1)
    parts = np.array(["train"] * 3 + ["valid"] + ["test"], dtype=object)[np.arange(n) % 5]
    made = TaskSpec(name, kind, tuple(outputs), classes=tuple(classes), **spec)
    return make_set(made, list(codes), labels_ST, part_S=parts)


SAMPLES = [f"{cell}{r}_{gate}" for cell in "JKT" for r in (1, 2) for gate in ("P4", "P7")]


def write_fluorescence(folder):
    rng = np.random.default_rng(0)
    texts = ["".join(row) for row in rng.choice(list("ACGT"), (6, 250))]
    counts = pd.DataFrame(rng.integers(5, 50, (6, 12)), columns=SAMPLES)
    counts.insert(0, "sequence", texts)
    for name in "JKT":
        counts[f"{name}_sum"] = 20
    counts["cum_sum"] = 0
    counts.loc[5, "T_sum"] = 4
    designs = pd.DataFrame(
        {
            "sequence": texts[:4],
            "class": ["ClassI", "ClassI", "ClassII", "ClassIII"],
            "final_provenance": [
                "g ~ x ~ 1.5 ~ y ~ upregulated in THP1; rest",
                "g ~ x ~ 1.5 ~ y ~ a gene",
                "K562 ~ tile ~ 4",
                "g ~ synthetic",
            ],
        }
    )
    counts.to_csv(folder / "counts.csv", index=False)
    designs.to_csv(folder / "designs.tsv", sep="\t", index=False)
    return counts, designs


def write_lenti(folder, rng):
    """The four workbooks as published: WTC11's chromosomes are numbers, its names lack '_F'."""
    folder.mkdir(parents=True, exist_ok=True)
    inner = ["".join(row) for row in rng.choice(list("ACGT"), (8, 200))]
    names = [f"seq{i}_F" for i in range(4)]
    chromosomes = {"K562": ["chr1", "chr2", "chr4", None], "WTC11": [1, 2, 4, None]}

    def places(texts, names, chromosome):
        full = ["A" * 15 + one + "C" * 15 for one in texts]
        return pd.DataFrame(
            {"name": names, "chr.hg38": chromosome, assay_lenti.SEQUENCE: full, "strand": "+"}
        )

    books = {
        "large_scale_positions": {
            f"{cell} large-scale": places(
                inner[:4], names, chromosomes.get(cell, chromosomes["K562"])
            )
            for cell in assay_lenti.LENTI_CELLS
        },
        "large_scale_exps": {},
        "designed_sequences": {"joint library": places(inner[4:], list("abcd"), [1, "X", 4, None])},
        "designed_sequences_exps": {
            "all_cell_types_summary": pd.DataFrame(
                {"name": list("abcd")}
                | {f"{cell} [log2(rna/dna)]": [1.0, 2, 3, 4] for cell in assay_lenti.LENTI_CELLS}
            )
        },
    }
    for shift, cell in enumerate(assay_lenti.LENTI_CELLS):
        short = [one.removesuffix("_F") for one in names] if cell == "WTC11" else names
        both = {"name": short[:2], "forward [log2(rna/dna)]": 0.0, assay_lenti.REVERSE: [-1.0, -2]}
        books["large_scale_exps"] |= {
            f"{cell}_summary_data": pd.DataFrame(
                {"name": names[:3], "replicate 1": 0.0, "mean": np.arange(3.0) + 10 * shift}
            ),
            f"{cell}_forward_reverse": pd.DataFrame(both),
        }
    for book, sheets in books.items():
        with pd.ExcelWriter(folder / f"{book}.xlsx") as writer:
            for name, sheet in sheets.items():
                sheet.to_excel(writer, sheet_name=name, startrow=1, index=False)
                writer.sheets[name]["A1"] = "Supplementary Table"
    return inner
