"""Scores of runs read from tables of several forms."""

import pytest

from genomelm_utils.evaluation.run_summary import read_all, read_scores, summarise_runs


def test_the_three_forms(tmp_path):
    tidy = tmp_path / "cv" / "cval_scores.tsv"
    tidy.parent.mkdir()
    tidy.write_text("fold\tmetric\tvalue\n0\tf1\t0.5\n1\tf1\t0.7\n0\tn_rows\t99\n")
    found = read_scores(tidy)
    assert found.to_numpy().tolist() == [["cv", 0, "f1", 0.5], ["cv", 1, "f1", 0.7]]
    wide = tmp_path / "wide.csv"
    wide.write_text("run,eval/f1,eval_loss,seconds\n7,0.5,1.25,3\n8,0.75,,3\n")
    found = read_scores(wide)
    assert sorted(found["metric"]) == ["f1", "f1", "loss"]
    assert found.query("metric == 'f1'")["unit"].tolist() == [7, 8]
    one = tmp_path / "TF-IDF.tsv"
    one.write_text("roc_auc_scores\n0.8\n0.9\n")
    assert read_scores(one)["metric"].tolist() == ["auc", "auc"]
    methods = tmp_path / "test_scores.tsv"
    methods.write_text("method\tmetric\tvalue\nrf\tf1\t0.5\nwords\tf1\t0.6\n")
    assert read_scores(methods, "x")["group"].tolist() == ["x rf", "x words"]
    summary = summarise_runs(read_all([tidy, one])).set_index(["group", "metric"])
    assert summary.loc[("cv", "f1"), ["n", "mean", "min"]].tolist() == [2, 0.6, 0.5]
    assert summary.loc[("TF-IDF", "auc"), "mean"] == pytest.approx(0.85)


def test_files_called_alike_are_numbered(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder / "x").mkdir(parents=True)
        (tmp_path / folder / "x" / "cval_auc.tsv").write_text("roc_auc_scores\n0.8\n")
    paths = [tmp_path / folder / "x" / "cval_auc.tsv" for folder in ("a", "b")]
    assert read_all(paths)["group"].tolist() == ["x 1", "x 2"]
    assert read_all(paths, ["one", "two"])["group"].tolist() == ["one", "two"]
    with pytest.raises(ValueError, match="1 names for 2 tables"):
        read_all(paths, ["one"])


def test_cells_are_numbers_never_code(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text('f1\n"__import__(""os"").getcwd()"\n')
    with pytest.raises(ValueError, match="expected a number"):
        read_scores(path)
    path.write_text("sequence,label\nA,1\n")
    with pytest.raises(ValueError, match="no column of scores"):
        read_scores(path)
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_scores(tmp_path / "absent.csv")
