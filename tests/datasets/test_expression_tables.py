"""Expression tables: runs, means of replicates, pseudogenes, counts to TPM."""

import gzip

import numpy as np
import pandas as pd
import pytest

from genomelm_utils.datasets.expression_counts import counts_to_tpm, read_counts
from genomelm_utils.datasets.expression_tables import (
    RunTable,
    TissueTable,
    count_steps,
    drop_pseudogenes,
    mean_of_replicates,
    read_runs,
)

HEADER = "Cultivar\torganism_part\tg1\tg2\tg3\n"


def write(tmp_path, text, name="runs.tsv"):
    path = tmp_path / name
    path.write_text(text)
    return path


def make_table(values_GT, **changes):
    values_GT = np.array(values_GT, dtype=np.float64)
    n_genes, n_tissues = values_GT.shape
    parts = {
        "line": "B73",
        "genes": tuple(f"g{i + 1}" for i in range(n_genes)),
        "tissues": tuple(f"t{i + 1}" for i in range(n_tissues)),
        "values_GT": values_GT,
        "n_runs_T": np.ones(n_tissues, dtype=np.int64),
        "source": "here",
    }
    return TissueTable(**(parts | changes))


# --- reading --------------------------------------------------------------------------------------


def test_runs_are_read_with_gaps_and_renamed_tissues(tmp_path):
    text = HEADER + "B73\tshoot system\t1\t2\t\nB73\tshoot\t3\t4\t8\nB73\tear\t5\tNA\t7\n"
    runs = read_runs(write(tmp_path, text))
    assert runs.genes == ("g1", "g2", "g3")
    np.testing.assert_array_equal(runs.values_RG[:, 0], [1, 3, 5])
    assert np.isnan(runs.values_RG).sum() == 2
    [table] = mean_of_replicates(runs)
    assert table.tissues == ("ear", "shoot")
    assert table.n_runs_T.tolist() == [1, 2]
    # g1 to g3 by hand; g3 was measured in one of the two shoot runs only
    np.testing.assert_array_equal(table.values_GT, [[5, 2], [np.nan, 3], [7, 8]])
    [plain] = mean_of_replicates(runs, renamed={})
    assert plain.tissues == ("ear", "shoot", "shoot system")


def test_commas_gzip_other_run_columns_and_several_lines(tmp_path):
    path = tmp_path / "runs.csv.gz"
    text = "Run,Age,Cultivar,organism_part,g1\nr1,5,B73,ear,1\nr2,5,Mo17,ear,2\nr3,6,B73,ear,3\n"
    path.write_bytes(gzip.compress(text.encode()))
    runs = read_runs(path)
    assert runs.runs.columns.tolist() == ["Run", "Age", "Cultivar", "organism_part"]
    tables = mean_of_replicates(runs)
    assert [(t.line, t.values_GT.tolist()) for t in tables] == [("B73", [[2.0]]), ("Mo17", [[2.0]])]


def test_means_equal_those_of_pandas(rng):
    values_RG = rng.gamma(1.0, 5.0, (40, 7))
    values_RG[rng.random(values_RG.shape) < 0.2] = np.nan
    runs = pd.DataFrame({"Cultivar": rng.choice(["A", "B"], 40)})
    runs["organism_part"] = rng.choice(["ear", "leaf", "root"], 40)
    genes = tuple(f"g{i}" for i in range(7))
    frame = pd.DataFrame(values_RG, columns=genes)
    expected = frame.groupby([runs["Cultivar"], runs["organism_part"]]).mean()
    for table in mean_of_replicates(RunTable(runs, genes, values_RG, "here")):
        wanted = expected.loc[table.line].loc[list(table.tissues)].to_numpy().T
        np.testing.assert_allclose(table.values_GT, wanted)


def test_a_table_without_line_takes_the_one_given(tmp_path):
    path = write(tmp_path, "organism_part\tg1\near\t1\n")
    with pytest.raises(ValueError, match="no column 'Cultivar' and no line given"):
        read_runs(path)
    assert mean_of_replicates(read_runs(path, line="P39"))[0].line == "P39"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER + "B73\tear\t1\tlow\t3\n", "line 2: 'low' for gene g2, expected a number"),
        (HEADER + "B73\tear\t1\tinf\t3\n", "line 2: 'inf' for gene g2"),
        (HEADER + "B73\tear\t1\t2\n", "line 2: 4 fields, expected 5 as in the header"),
        (HEADER.replace("g3", "g1") + "B73\tear\t1\t2\t3\n", "1 columns stand twice, such as 'g1'"),
        (HEADER.replace("organism_part", "organ_part"), "no column 'organism_part'; did you mean"),
        (HEADER, "0 runs of 5 columns"),
        ("Cultivar\torganism_part\nB73\tear\n", "1 runs of 2 columns, expected runs, genes"),
    ],
)
def test_bad_tables_are_explained(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read_runs(write(tmp_path, text))


def test_missing_files_and_nameless_runs(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file, expected a table with one run"):
        read_runs(tmp_path / "none.tsv")
    runs = read_runs(write(tmp_path, HEADER + "B73\tear\t1\t2\t3\nB73\t\t1\t2\t3\n"))
    with pytest.raises(ValueError, match="run 2 has an empty organism_part"):
        mean_of_replicates(runs)


# --- filters --------------------------------------------------------------------------------------


def test_pseudogenes_below_one_everywhere_are_dropped_and_named(caplog):
    """Golden fact: .9, .99 is dropped, .9, 1.0 is kept."""
    table = make_table([[0.9, 0.99], [0.9, 1.0], [np.nan, np.nan], [np.nan, 5], [0, np.nan]])
    kept, skipped = drop_pseudogenes(table)
    assert kept.genes == ("g2", "g4")
    np.testing.assert_array_equal(kept.values_GT, [[0.9, 1.0], [np.nan, 5]])
    assert skipped.to_dict("list") == {
        "line": ["B73"] * 3,
        "gene_id": ["g1", "g3", "g5"],
        "reason": ["highest 0.99, below 1", "not measured in any tissue", "highest 0, below 1"],
    }
    assert "line B73: left out 3 genes: g1 (highest 0.99, below 1)" in caplog.text


def test_steps_are_counted():
    first = make_table(np.ones((4, 2)))
    counts = count_steps({"read": [first], "kept": [first.take_genes(np.arange(4) < 1)]})
    assert counts["n_genes"].tolist() == [4, 1]
    assert counts["share_of_first"].tolist() == [1, 0.25]


def test_the_real_table_of_b73(data_dir):
    """39,756 genes in 10 organs; every run sums to 1e6, as the published table does."""
    runs = read_runs(data_dir / "expression" / "florabert_maize_nam" / "B73_TPM.tsv.gz")
    np.testing.assert_allclose(runs.values_RG.sum(axis=1), 1e6, rtol=1e-9)
    [table] = mean_of_replicates(runs)
    assert table.values_GT.shape == (39_756, 10)
    kept, skipped = drop_pseudogenes(table)
    assert len(kept.genes) == 28_728
    assert len(kept.genes) + len(skipped) == 39_756


# --- counts ---------------------------------------------------------------------------------------


def test_counts_to_tpm():
    """Golden fact: counts 10 and 20 over lengths 1,000 and 4,000."""
    tpm_RG = counts_to_tpm([[10, 20], [0, 3]], [1000, 4000])
    np.testing.assert_allclose(tpm_RG, [[666_666.67, 333_333.33], [0, 1e6]], atol=0.01)


def test_counts_are_read_as_featurecounts_writes_them(tmp_path):
    head = "# Program:featureCounts v2.0.1\nGeneid\tChr\tStart\tEnd\tStrand\tLength\ta.bam\tb.bam\n"
    text = head + "g1\t1\t1\t9\t+\t1000\t10\t1\ng2\t1\t20\t29\t-\t4000\t20\t0\n"
    runs = pd.DataFrame({"run": ["b.bam", "a.bam"], "Cultivar": "B73"})
    runs["organism_part"] = ["ear", "root"]
    table = read_counts(write(tmp_path, text), runs)
    np.testing.assert_allclose(table.values_RG, [[1e6, 0], [2e6 / 3, 1e6 / 3]])
    assert mean_of_replicates(table)[0].tissues == ("ear", "root")
    for old, new, message in [
        ("a.bam", "c.bam", "no column 'a.bam'"),
        ("\t20\t0", "\tmany\t0", "line 4: 'many' in column 'a.bam', expected a number"),
        ("g2", "g1", "gene 'g1' stands twice: two values for one gene"),
        ("\t0\n", "\n", "line 4: 7 fields, expected 8"),
    ]:
        with pytest.raises(ValueError, match=message):
            read_counts(write(tmp_path, text.replace(old, new)), runs)


@pytest.mark.parametrize(
    ("counts", "lengths", "message"),
    [
        ([[1, -2]], [1, 1], r"count at \(0, 1\) is -2.0, expected a number of 0 or more"),
        ([[1, 2]], [1, 0], r"length at \(1,\) is 0.0, expected a number of above 0"),
        ([[1, 2], [0, 0]], [1, 1], "run 1 has no read at all"),
    ],
)
def test_counts_that_cannot_be(counts, lengths, message):
    with pytest.raises(ValueError, match=message):
        counts_to_tpm(counts, lengths)
