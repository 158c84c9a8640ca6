import json

import pandas as pd
import pytest

from genomelm_utils import paths
from genomelm_utils.datasets.registry import COLUMNS
from genomelm_utils.pipeline.verify import select_values, verify_profile

EXPECTED = """\
tiny:
  04_pretraining/*:
    - table: summary
      where: {scheme: genemask, step: 1}
      column: bits_per_base
      in: [1.9, 2.0]
      why: two bits is what guessing costs
"""


@pytest.fixture
def expected(project):
    """The file of expected ranges, of which the test may write another version."""
    file = paths.params_dir() / "expected.yaml"
    file.write_text(EXPECTED)
    return file


def fails(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("[FAIL]")]


def test_a_finished_profile_is_reproduced(expected, finish):
    finish()
    text, ok = verify_profile("tiny")
    assert ok, text
    assert not fails(text)
    # four runs: each is up to date and unchanged; two of them have one range
    assert text.endswith("tiny: reproduced: all 10 checks hold")
    assert "expected [1.9, 2] (two bits is what guessing costs), found 1.999" in text


def test_a_profile_that_did_not_run_is_not_reproduced(expected):
    text, ok = verify_profile("tiny")
    assert not ok
    assert "01_data/default: expected up to date, found not run (no receipt)" in text
    assert "tiny: not reproduced" in text
    assert "python run_all.py run --profile tiny" in text


def test_one_missing_run_is_enough(expected, finish):
    folders = finish()
    (folders["13_figures/default"] / "receipt.json").unlink()
    text, ok = verify_profile("tiny")
    assert not ok
    assert [line for line in fails(text) if "13_figures" in line and "not run" in line]


def test_a_stale_profile_is_not_reproduced(expected, finish):
    finish()
    paths.params_file("tiny").write_text(
        paths.params_file("tiny")
        .read_text()
        .replace("13_figures:", "13_figures:\n  models: ['10']")
    )
    text, ok = verify_profile("tiny")
    assert not ok
    (line,) = fails(text)
    assert "13_figures/default: expected up to date, found stale (parameters" in line


def test_changed_missing_and_added_files_are_named(expected, finish):
    folder = finish()["04_pretraining/10"]
    table = folder / "tables" / "history.csv"
    table.write_text(table.read_text().replace("genemask", "GeneMask"))  # same size, other content
    (folder / "figures" / "loss_curve.png").unlink()
    (folder / "store" / "codes.npy").write_bytes(b"AGGT")  # one base, the same size
    (folder / "store" / "new.npy").write_bytes(b"A")
    text, ok = verify_profile("tiny")
    assert not ok
    (line,) = [line for line in fails(text) if "outputs as" in line]
    assert "missing: figures/loss_curve.png" in line
    assert "changed: store/codes.npy, tables/history.csv" in line
    assert "not in the receipt: store/new.npy" in line


def test_a_number_outside_its_range_fails_with_both_numbers(expected, finish):
    finish()
    expected.write_text(EXPECTED.replace("[1.9, 2.0]", "[0.5, 1.5]"))
    text, ok = verify_profile("tiny")
    assert not ok
    lines = fails(text)
    assert len(lines) == 2  # the pattern means both runs of the stage
    assert "expected [0.5, 1.5]" in lines[0]
    assert "found 1.999" in lines[0]
    assert "where scheme=genemask, step=1" in lines[0]


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("summary", "absent", "no such table"),
        ("column: bits_per_base", "column: bits", "no column bits (it has step, scheme, bits"),
        ("step: 1", "step: 77", "no such row"),
        ("column: bits_per_base", "column: scheme", "text such as 'genemask'"),
        ("04_pretraining/*", "04_pretraining/other", "none in this profile's parameters"),
    ],
)
def test_what_cannot_be_looked_up_fails(expected, finish, old, new, found):
    finish()
    expected.write_text(EXPECTED.replace(old, new))
    text, ok = verify_profile("tiny")
    assert not ok
    assert any(found in line for line in fails(text)), text


def test_without_ranges_no_profile_is_reproduced(project, finish):
    finish()
    text, ok = verify_profile("tiny")
    assert not ok
    (line,) = fails(text)
    assert "none: no number can be judged" in line


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("why: two", "because: two", "expected the keys column, in, table, where, why"),
        ("[1.9, 2.0]", "[2.0, 1.9]", "expected [low, high]"),
        ("[1.9, 2.0]", "1.9", "expected [low, high]"),
    ],
)
def test_a_wrong_file_of_ranges_is_an_error_that_names_the_entry(expected, old, new, message):
    expected.write_text(EXPECTED.replace(old, new))
    with pytest.raises(ValueError, match=r"expected.yaml: tiny: 04_pretraining/\*\[0\]") as error:
        verify_profile("tiny")
    assert message in str(error.value)


def test_data_files_at_hand_are_hashed_again(project, expected, finish, monkeypatch, tmp_path):
    data = tmp_path / "files"
    data.mkdir()
    (data / "a.txt").write_text("ACGT\n")
    monkeypatch.setenv("GENOMELM_DATA", str(data))
    sha256 = "aadaaf0ff18ca37b3bc5bd7ed2a35ae0f3b3b0bd7d9a2b6a6d1f7e8a5b4a9b1c"
    rows = [COLUMNS, ["a.txt", sha256, "5", "x", "x", "copy", "x", "x"]]
    rows.append(["b.txt", sha256, "5", "x", "x", "copy", "x", "x"])
    paths.registry_file().parent.mkdir(exist_ok=True)
    paths.registry_file().write_text("".join("\t".join(row) + "\n" for row in rows))
    folder = finish()["01_data/default"]
    receipt = json.loads((folder / "receipt.json").read_text())
    receipt["inputs"] = {"a.txt": sha256, "b.txt": sha256}
    (folder / "receipt.json").write_text(json.dumps(receipt))
    text, _ = verify_profile("tiny")
    assert any("data a.txt: expected content aadaaf0ff1" in line for line in fails(text))
    assert "[--]   data b.txt" in text
    assert "(1 could not be made)" in text


def test_rows_are_selected_by_text_number_and_truth():
    table = pd.DataFrame({"k": [5, 6], "name": ["x", "y"], "ok": [True, False], "v": [0.25, 0.5]})
    assert list(select_values(table, {"k": 6}, "v")) == [0.5]
    assert list(select_values(table, {"name": "x"}, "v")) == [0.25]
    assert list(select_values(table, {"ok": False}, "v")) == [0.5]
    assert list(select_values(table, {}, "v")) == [0.25, 0.5]
