"""What notebook 01 makes ready of promoters and their expression: one set, clustered and split.

Simulated promoters with known truth, or a published set; findings on its quality, clusters of
similar promoters, the split by them, what crosses it, and what equal promoters allow at best.

Shape suffixes: S promoters.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from genomelm_utils.datasets import maize
from genomelm_utils.datasets.cluster_splits import split_promoters
from genomelm_utils.datasets.expression_controls import make_simulated_set
from genomelm_utils.datasets.expression_folder import read_own_set, read_own_tables
from genomelm_utils.datasets.expression_join import split_lines
from genomelm_utils.datasets.expression_profiles import (
    base_composition,
    expression_values,
    tissue_correlations,
)
from genomelm_utils.datasets.expression_quality import check_expression
from genomelm_utils.datasets.expression_set import NO_PART, PARTS, ExpressionSet
from genomelm_utils.datasets.expression_tables import mean_of_replicates
from genomelm_utils.datasets.promoter_repeats import count_repeats, find_leaks, noise_ceiling
from genomelm_utils.sequences.alphabet import encode
from genomelm_utils.sequences.clusters import (
    BUILTIN,
    Clusters,
    cluster_sequences,
    link_clusters,
    write_clusters,
)
from genomelm_utils.sequences.simulate_expression import MOTIFS, simulate_expression

SIMULATED, NAM, OWN = "simulated", "nam", "own"
EXPRESSION_SETS = (SIMULATED, NAM, *maize.CORE_TABLES, OWN)
SPLITS = ("corrected", "reference", "published")
# Many families rather than many relatives: only families are independent of each other. The second
# line lacks a tissue, as lines of the published tables do.
SIMULATION = {"max_paralogs": 2, "n_lines": 2, "n_missing": 1}
FOLDER = "expression"  # of a run of 01: where the set lies


@dataclass(frozen=True)
class PreparedExpression:
    """A set of promoters with clusters and parts, and tables about it.

    promoters: as it was saved. findings: see `expression_quality`, with `table` (what was checked)
    in front. skipped: gene_id, reason. parts: part, n_promoters, share, n_clusters. leaks: see
    `find_leaks`. repeats: one row, see `count_repeats`, with the clusters' engine and reason.
    ceiling: see `noise_ceiling`. truth: planted motifs of simulated promoters, else None; effects:
    motif, first_bp and last_bp of its places, what it adds to ln(TPM + 1) in each tissue.
    """

    promoters: ExpressionSet
    findings: pd.DataFrame
    skipped: pd.DataFrame
    parts: pd.DataFrame
    leaks: pd.DataFrame
    repeats: pd.DataFrame
    ceiling: pd.DataFrame
    truth: pd.DataFrame | None = None
    effects: pd.DataFrame | None = None


def prepare_expression(
    name: str,
    folder: Path,
    source: Path | None,
    *,
    seed: int,
    split: str = "corrected",
    n_families: int = 360,
    promoter_bp: int = 200,
) -> PreparedExpression:
    """The set `name` (one of `EXPRESSION_SETS`) under `folder`, in `expression/`.

    source: the folder of the published files; None where promoters are simulated, `n_families`
    families of `promoter_bp` bases. split: `corrected` deals clusters, linked where their members
    are similar, so that the shares come out; `reference` deals clusters as the released code;
    `published` keeps the parts of the file. Clusters of simulated promoters are their families.

    Raises ValueError for another name or split, and for a published split of a set without one.
    """
    for what, value, known in (("set", name, EXPRESSION_SETS), ("split", split, SPLITS)):
        if value not in known:
            raise ValueError(f"{what} is {value!r}, expected one of {', '.join(known)}")
    rng, ceiling_rng = np.random.default_rng(seed).spawn(2)
    skipped = pd.DataFrame(columns=["gene_id", "reason"])
    truth = effects = None
    if name == SIMULATED:
        if split == "published":
            raise ValueError("split is published, but simulated promoters have none of their own")
        sizes = {"n_families": n_families, "length_bp": promoter_bp, **SIMULATION}
        made = simulate_expression(rng, **sizes)
        promoters, truth = make_simulated_set(made, seed=seed), made.truth
        effects = pd.DataFrame(made.effects_MT, columns=list(made.tissues))
        effects.insert(0, "motif", made.motif_names)
        effects = planted_places(truth).merge(effects, on="motif", validate="one_to_one")
        reason = "families of paralogs, known"
        if split == "reference":
            promoters = _split(promoters, promoters.genes["cluster"].to_numpy(), split, seed)
    else:
        promoters, skipped = read_published(name, source)
        clusters = find_clusters(promoters, link=split == "corrected")
        reason = f"{clusters.engine}: {clusters.reason}"
        write_clusters(clusters, folder / "clusters.tsv")
        promoters = _split(promoters, clusters.numbers, split, seed)
    promoters.save(folder / FOLDER)
    genes = promoters.genes
    leaks = find_leaks(genes["sequence"].tolist(), genes["part"].tolist())
    repeats = pd.DataFrame([{**count_repeats(promoters), "clusters": reason}])
    ceiling = noise_ceiling(promoters, ceiling_rng)
    findings = find_quality(name, promoters, source)
    parts = count_parts(promoters)
    return PreparedExpression(
        promoters, findings, skipped, parts, leaks, repeats, ceiling, truth, effects
    )


def planted_places(truth: pd.DataFrame) -> pd.DataFrame:
    """Where each motif was planted: motif, first_bp, last_bp (of its bases), furthest first.

    truth: of `simulate_expression`, with its `MOTIFS`.
    """
    widths = {one.motif.name: len(one.motif.consensus) for one in MOTIFS}
    places = truth.groupby("motif")["distance_bp"].agg(first_bp="min", last_bp="max").reset_index()
    places["last_bp"] += places["motif"].map(widths) - 1
    return places.sort_values("first_bp", ignore_index=True)


def read_published(name: str, source: Path | None) -> tuple[ExpressionSet, pd.DataFrame]:
    """(the set `name` of a folder, published or one's own, skipped genes: gene_id, reason).

    Raises ValueError without a folder, and what the readers of `datasets.maize` raise.
    """
    if source is None:
        raise ValueError(f"the set {name!r} is read from files; name the folder that holds them")
    if name == NAM:
        return maize.read_nam_promoters(source)
    if name == OWN:
        return read_own_set(source)
    return maize.read_core_promoters(source, name), pd.DataFrame(columns=["gene_id", "reason"])


def find_clusters(promoters: ExpressionSet, *, link: bool) -> Clusters:
    """Clusters of similar promoters by our own search, the same on every machine.

    link: join those with members that are similar. Names of rows are numbered where one gene
    stands twice.
    """
    codes = [encode(text) for text in promoters.genes["sequence"]]
    found = cluster_sequences(_name_rows(promoters), codes, engine=BUILTIN)
    return link_clusters(found, codes) if link else found


def find_quality(name: str, promoters: ExpressionSet, source: Path | None) -> pd.DataFrame:
    """Findings on the tables behind a set, each as it was read; see `expression_quality`.

    Of the maize lines: the file of promoters, which stands on a logarithmic scale, and the whole
    table of B73. Samples of chosen genes sum to anything: their `sum` is not judged.
    """
    tables = {"promoters": (split_lines(promoters), False)}
    if name == NAM:
        assert source is not None
        tables = {
            "file of promoters": (maize.read_nam_tables(source), False),
            "promoters, as read": (split_lines(promoters), False),
            "all genes of B73": (mean_of_replicates(maize.read_b73_tpm(source)), True),
        }
    elif name == OWN:
        assert source is not None
        tables["all genes"] = (read_own_tables(source), True)
    found = []
    for label, (lines, is_whole) in tables.items():
        findings = check_expression(lines)
        if not is_whole:
            findings = findings[findings["check"] != "sum"]
        found.append(findings.assign(table=label))
    table = pd.concat(found, ignore_index=True)
    return table[["table", *[column for column in table if column != "table"]]]


def count_findings(findings: pd.DataFrame) -> pd.DataFrame:
    """Columns table, check, verdict, n; line, measured, meaning of the first of them."""
    grouped = findings.groupby(["table", "check", "verdict"], sort=False, as_index=False)
    first = {name: (name, "first") for name in ("line", "measured", "meaning")}
    return grouped.agg(n=("line", "size"), **first)


def count_parts(promoters: ExpressionSet) -> pd.DataFrame:
    """Columns part, n_promoters, share, n_clusters, n_lines, n_missing (labels not measured)."""
    rows = []
    for part in PARTS:
        chosen = (promoters.genes["part"] == part).to_numpy()
        genes = promoters.genes[chosen]
        rows.append(
            {
                "part": part,
                "n_promoters": len(genes),
                "share": len(genes) / len(promoters),
                "n_clusters": genes["cluster"].nunique(),
                "n_lines": genes["line"].nunique(),
                "n_missing": int(np.isnan(promoters.tpm_ST[chosen]).sum()),
            }
        )
    return pd.DataFrame(rows)


def composition_by_place(promoters: ExpressionSet) -> pd.DataFrame:
    """Base composition by distance from the TSS, in bins of about a hundredth of the span."""
    codes = [encode(text) for text in promoters.genes["sequence"]]
    span_bp = int(promoters.lengths_bp.max())
    bin_bp = max(1, span_bp // 100)
    return base_composition(codes, promoters.genes["gap_bp"], span_bp=span_bp, bin_bp=bin_bp)


def tabulate_labels(promoters: ExpressionSet) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(tissue and value of every label ln(x + 1), correlations of tissues)."""
    labels_ST = np.log1p(promoters.tpm_ST)
    values = expression_values(labels_ST, promoters.tissues)
    return values, tissue_correlations(labels_ST, promoters.tissues)


def name_labels(promoters: ExpressionSet) -> str:
    """What the labels are called on an axis, such as ln(TPM + 1)."""
    unit = promoters.unit if promoters.unit in ("TPM", "FPKM") else "x"
    return f"ln({unit} + 1)"


def describe_prepared(prepared: PreparedExpression) -> str:
    """Sentences: the set, what is wrong with its tables, the split, its leaks, and the ceiling."""
    promoters, findings = prepared.promoters, prepared.findings
    lengths = promoters.lengths_bp
    n_bad = {name: int((findings["verdict"] == name).sum()) for name in ("defect", "notice")}
    repeats, leaks = prepared.repeats.iloc[0], prepared.leaks
    shares = [f"{row.n_promoters:,} {row.part}" for row in prepared.parts.itertuples()]
    text = [
        f"{len(promoters):,} promoters of {promoters.genes['line'].nunique()} lines or species, "
        f"{lengths.min()} to {lengths.max()} bp, in {len(promoters.tissues)} tissues "
        f"({promoters.unit}); {len(prepared.skipped)} genes were left out.",
        f"Quality: {n_bad['defect']} defects and {n_bad['notice']} notices in {len(findings)} "
        "checks.",
        f"Split: {', '.join(shares)}; {int(leaks['n_pairs'].sum()):,} pairs of equal or similar "
        "promoters cross it.",
        f"{repeats['n_repeated']:,} promoters share their sequence with another row.",
    ]
    ceiling = prepared.ceiling[prepared.ceiling["tissue"] == "mean"].iloc[0]
    if np.isnan(ceiling["ceiling"]):
        text.append("Too few are equal to say how far labels differ at equal sequence.")
    else:
        text.append(
            f"Equal promoters differ in their labels so much that r2 ends at "
            f"{ceiling['ceiling']:.2f} [{ceiling['low']:.2f}, {ceiling['high']:.2f}] (mean of "
            "tissues) for any model of the sequence alone, if the others are like them."
        )
    return " ".join(text)


def _split(promoters: ExpressionSet, cluster_S: np.ndarray, split: str, seed: int) -> ExpressionSet:
    if split == "published":
        if (promoters.genes["part"] == NO_PART).any():
            raise ValueError("split is published, but the files of this set name no parts")
        return promoters.with_columns({"cluster": cluster_S})
    names = _name_rows(promoters)
    modes = {"counting": split, "folds": split}
    return split_promoters(names, cluster_S, seed=seed, **modes).apply(promoters, names)


def _name_rows(promoters: ExpressionSet) -> list[str]:
    ids = promoters.genes["gene_id"].astype(str)
    number = ids.groupby(ids).cumcount()
    return [name if not n else f"{name}#{n + 1}" for name, n in zip(ids, number, strict=True)]
