"""Quality of expression tables: the two known defects of the published ones are found unasked."""

import numpy as np
import pandas as pd
import pytest

from genomelm_utils.datasets.expression_quality import (
    check_expression,
    describe_lines,
    find_defects,
)
from genomelm_utils.datasets.expression_scale import LogScale
from genomelm_utils.datasets.expression_tables import (
    TissueTable,
    drop_pseudogenes,
    mean_of_replicates,
    read_runs,
)

TISSUES = ("anther", "ear", "root")


def make_line(rng, name, zeros=0.3, tissues=TISSUES):
    """A line whose values are zero in a share of genes (whole genes: not expressed) and tissues."""
    values_GT = rng.lognormal(2.0, 1.5, (2000, len(tissues)))
    values_GT[rng.random(2000) < zeros * 0.9] = 0
    values_GT[rng.random(values_GT.shape) < zeros * 0.1 / (1 - zeros * 0.9)] = 0
    values_GT *= 1e6 / values_GT.sum(axis=0)
    genes = tuple(f"{name}_{i}" for i in range(2000))
    ones = np.ones(len(tissues), dtype=np.int64)
    return TissueTable(name, genes, tissues, values_GT, ones, "here")


@pytest.fixture
def lines(rng):
    """26 lines like the published ones: about 30 % zeros, Ms71 40 %, NC358 84.6 %."""
    shares = dict.fromkeys([f"L{i}" for i in range(24)], 0.3) | {"Ms71": 0.4, "NC358": 0.846}
    return [make_line(rng, name, share) for name, share in shares.items()]


def of(findings, check):
    return findings[findings["check"] == check].set_index("line")


def test_the_line_of_zeros_is_found(lines):
    findings = check_expression(lines)
    zeros, expressed = of(findings, "zeros"), of(findings, "expressed")
    assert zeros.loc["NC358", "verdict"] == "defect"
    assert expressed.loc["NC358", "verdict"] == "defect"
    assert zeros.loc["Ms71", "verdict"] == "notice"
    others = zeros.drop(index=["NC358", "Ms71"])
    assert set(others["verdict"]) == {"ok"}
    measured = float(zeros.loc["NC358", "measured"])
    assert measured == pytest.approx(np.mean(lines[-1].values_GT == 0), abs=1e-4)
    assert "leave this line out, or say why" in zeros.loc["NC358", "meaning"]
    assert set(of(findings, "scale")["verdict"]) == {"ok"}
    assert set(of(findings, "sum")["verdict"]) == {"ok"}
    first = find_defects(findings).iloc[0]
    assert (first["line"], first["verdict"]) == ("NC358", "defect")


def test_few_lines_are_judged_by_the_bound_alone(lines):
    findings = check_expression(lines[-3:])
    zeros = of(findings, "zeros")
    assert zeros["verdict"].to_dict() == {"L23": "ok", "Ms71": "ok", "NC358": "defect"}
    assert "3 lines are too few to compare" in zeros.loc["L23", "meaning"]


def test_a_log_table_filtered_at_one_is_found(lines):
    """The published defect: log2(TPM + 0.001), then the filter of 1, then another log."""
    scale = LogScale("log2", 0.001)
    line = lines[0]
    line.values_GT[0] = [0, 2, 1]  # the weakest gene that the filter leaves
    logged = TissueTable(
        *(line.line, line.genes, line.tissues, scale.apply(line.values_GT)),
        *(line.n_runs_T, line.source),
    )
    found = of(check_expression([logged]), "scale").loc["L0"]
    assert (found["measured"], found["verdict"]) == ("log2(x+0.001)", "defect")
    assert float(of(check_expression([logged]), "negative").loc["L0", "measured"]) > 0.25
    assert set(of(check_expression([logged]), "sum")["verdict"]) == {"ok"}  # once inverted
    filtered, _ = drop_pseudogenes(logged)
    weakest = of(check_expression([filtered]), "filter").loc["L0"]
    assert weakest["verdict"] == "defect"
    assert "genes below 2 TPM are gone" in weakest["meaning"]
    twice = TissueTable(
        *(line.line, line.genes, line.tissues, np.log1p(np.log1p(line.values_GT))),
        *(line.n_runs_T, line.source),
    )
    assert of(check_expression([twice]), "scale").loc["L0", "measured"] == "ln(ln(x+1)+1)"


def test_missing_tissues_and_values_and_wrong_sums(lines, rng):
    fewer = make_line(rng, "CML52", tissues=TISSUES[:2])
    fewer.values_GT[:4, 0] = np.nan
    fewer.values_GT[:, 1] *= 2
    findings = check_expression([lines[0], fewer])
    assert of(findings, "missing tissue").loc["CML52", "tissue"] == "root"
    assert "1 of 2 lines have it" in of(findings, "missing tissue").loc["CML52", "meaning"]
    assert of(findings, "not measured").loc["CML52", "measured"] == "0.0010"
    sums = of(findings, "sum").loc["CML52"].set_index("tissue")
    assert sums.loc["ear", "verdict"] == "defect"
    part = lines[0].take_genes(np.arange(2000) < 900)
    assert set(of(check_expression([part]), "sum")["verdict"]) == {"notice"}


def test_lines_are_described(lines):
    table = describe_lines(lines).set_index("line")
    assert table.loc["NC358", "n_genes"] == 2000
    assert table.loc["NC358", "zero_share"] == pytest.approx(0.846, abs=0.03)
    assert table.loc["L0", "expressed_share"] == pytest.approx(0.73, abs=0.04)


def test_the_published_tables(data_dir):
    """B73 is as it should be; the merged table of 1,857 is a log, filtered as if it were none."""
    folder = data_dir / "expression" / "florabert_maize_nam"
    b73 = mean_of_replicates(read_runs(folder / "B73_TPM.tsv.gz"))
    findings = check_expression(b73)
    assert set(findings["verdict"]) == {"ok"}
    assert float(of(findings, "zeros").loc["B73", "measured"]) == pytest.approx(0.3163, abs=1e-4)
    merged = pd.read_csv(folder / "merged_seq_genex.csv.gz")
    values_GT = merged.iloc[:, 4:].to_numpy()
    table = TissueTable(
        *("NAM", tuple(merged["gene_id"]), tuple(merged.columns[4:]), values_GT),
        *(np.ones(8, dtype=np.int64), "merged"),
    )
    found = find_defects(check_expression([table])).groupby("check").first()
    assert found.loc["scale", "measured"] == "log2(x+0.001)"
    assert found.loc["filter", "measured"] == "1"
    assert "genes below 2 TPM are gone" in found.loc["filter", "meaning"]
    assert float(found.loc["negative", "measured"]) > 0.5
