import pytest

from genomelm_utils import paths
from genomelm_utils.pipeline.diff import diff_runs, find_run


def test_a_run_against_itself_differs_in_nothing(project, finish):
    finish()
    text = diff_runs("tiny/04_pretraining/10", "tiny/04_pretraining/10")
    assert "same inputs, same results" in text
    assert "tables: 2 of 2 identical" in text
    assert "figures: 2 of 2 identical" in text
    assert "differ;" not in text


def test_two_runs_of_a_stage_differ_in_parameters_and_numbers(project, finish):
    finish()
    text = diff_runs("tiny/04_pretraining/10", "tiny/04_pretraining/20")
    assert "parameters\n    steps: 10 -> 20" in text
    assert "tables: 0 of 2 identical" in text
    # the largest difference of 2 - 0.01 x / steps is where x is largest: 0.4/10 - 0.4/20
    assert "bits_per_base: 40 of 40 differ; largest difference 0.02 (1.96 -> 1.98 at 40)" in text
    assert "checkpoints: 0 of 1 identical" in text


def test_folders_and_receipts_name_runs_too(project, finish):
    folder = finish()["01_data/default"]
    assert find_run(folder) == find_run(folder / "receipt.json") == folder
    assert find_run("tiny/01_data/default") == folder


def test_two_profiles_are_compared_run_by_run(project, finish):
    text = paths.params_file("tiny").read_text()
    paths.params_file("other").write_text(text.replace("[10, 20]", "[10, 30]"))
    finish("tiny")
    finish("other")
    text = diff_runs("tiny", "other")
    assert "only in tiny: 04_pretraining/20" in text
    assert "only in other: 04_pretraining/30" in text
    assert "04_pretraining/10\n  same inputs, same results" in text
    assert "13_figures/default\n  parameters\n    models: ['10', '20'] -> ['10', '30']" in text


def test_changed_code_versions_and_lost_tables_are_said(project, finish):
    folders = finish()
    a, b = folders["04_pretraining/10"], folders["04_pretraining/20"]
    receipt = b / "receipt.json"
    text = receipt.read_text().replace('"numpy": "', '"numpy": "9.').replace("a processor", "two")
    receipt.write_text(text)
    (b / "tables" / "history.csv").unlink()
    text = diff_runs(a, b)
    assert "versions\n    numpy: " in text
    assert "machine\n    cpu: a processor -> two" in text
    assert "history.csv is gone" in text


def test_outputs_of_one_run_only_are_added_or_removed(project, finish):
    folders = finish()
    a, b = folders["04_pretraining/10"], folders["04_pretraining/20"]
    receipt = b / "receipt.json"
    receipt.write_text(receipt.read_text().replace("summary.csv", "totals.csv"))
    text = diff_runs(a, b)
    assert "tables/summary.csv\n      removed" in text
    assert "tables/totals.csv\n      added" in text


def test_a_name_that_is_no_run_is_an_error_that_lists_what_there_is(project, finish):
    finish()
    with pytest.raises(FileNotFoundError, match="tiny has 01_data/default, 04_pretraining/10"):
        diff_runs("tiny/04_pretraining/11", "tiny/04_pretraining/10")


def test_a_run_is_not_compared_with_a_profile(project, finish):
    finish()
    with pytest.raises(ValueError, match="expected two runs or two profiles"):
        diff_runs("tiny", "tiny/04_pretraining/10")
