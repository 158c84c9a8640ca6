"""Receipts are written last, whole or not at all, and a damaged one counts as none."""

import json

import pytest

from genomelm_utils.pipeline import receipts
from genomelm_utils.pipeline.receipts import (
    Identity,
    Receipt,
    collect_outputs,
    load_receipt,
    missing_outputs,
    read_receipt,
    read_receipts,
    write_json_atomic,
    write_receipt,
)


def make_receipt(**changes) -> Receipt:
    identity = Identity({"n": 1}, "abc", {"m": "1"}, {"f": "2"}, {})
    values = {
        "profile": "demo",
        "stage": "01_data",
        "run": "default",
        "key": identity.key,
        "params": identity.params,
        "notebook": identity.notebook,
        "modules": identity.modules,
        "inputs": identity.inputs,
        "parents": identity.parents,
        "parents_by_param": {},
        "parent_results": {},
        "outputs": {},
    }
    return Receipt(**values | changes)


def test_round_trip(project):
    folder = project.folder("01_data/default")
    write_receipt(folder, make_receipt())
    assert read_receipt(folder) == make_receipt()
    assert read_receipt(folder).identity.key == make_receipt().key
    (folder.parent / "default.failed").mkdir()
    (folder.parent / "other").mkdir()
    assert list(read_receipts("demo")) == ["01_data/default"]


def test_a_receipt_of_before_settings_were_recorded_holds(tmp_path):
    write_receipt(tmp_path, make_receipt())
    file = tmp_path / "receipt.json"
    values = json.loads(file.read_text())
    del values["overrides"]
    file.write_text(json.dumps(values))
    assert read_receipt(tmp_path) == make_receipt()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "no receipt"),
        ('{"stage": "01', "damaged receipt"),
        ("[]", "damaged receipt"),
        ('{"format": 1}', "fields missing or unknown"),
        ('{"format": 99}', "expected format 1"),
    ],
)
def test_absent_or_damaged_receipt_counts_as_none_and_says_so(tmp_path, text, reason):
    if text is not None:
        (tmp_path / "receipt.json").write_text(text)
    receipt, problem = load_receipt(tmp_path)
    assert receipt is None
    assert reason in problem


def test_key_changes_with_every_part():
    base = Identity({"n": 1}, "abc", {"m": "1"}, {"f": "2"}, {"01/a": "3"})
    others = [
        Identity({"n": 2}, "abc", {"m": "1"}, {"f": "2"}, {"01/a": "3"}),
        Identity({"n": 1}, "abd", {"m": "1"}, {"f": "2"}, {"01/a": "3"}),
        Identity({"n": 1}, "abc", {"m": "2"}, {"f": "2"}, {"01/a": "3"}),
        Identity({"n": 1}, "abc", {"m": "1"}, {"f": "3"}, {"01/a": "3"}),
        Identity({"n": 1}, "abc", {"m": "1"}, {"f": "2"}, {"01/a": "4"}),
        Identity({"n": 1.0}, "abc", {"m": "1"}, {"f": "2"}, {"01/a": "3"}),
    ]
    keys = {identity.key for identity in [base, *others]}
    assert len(keys) == len(others) + 1


def test_outputs_and_results(tmp_path):
    for name in (
        "tables/a.csv",
        "checkpoints/final/w.bin",
        "figures/f.svg",
        "store/codes.npy",
        "sets/splice/train.tsv",
        "x.txt",
        "tables/.tmp",
        "tables/log.txt",
        "log.txt",
        "receipt.json",
        "job.json",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "executed.ipynb").write_text("{}")
    outputs = collect_outputs(tmp_path)
    assert set(outputs) == {
        "tables/a.csv",
        "checkpoints/final/w.bin",
        "figures/f.svg",
        "store/codes.npy",
        "sets/splice/train.tsv",
        "x.txt",
        "tables/log.txt",
        "executed.ipynb",
    }
    receipt = make_receipt(outputs=outputs)
    (tmp_path / "executed.ipynb").write_text("{ }")
    assert make_receipt(outputs=collect_outputs(tmp_path)).results_sha256 == receipt.results_sha256
    assert missing_outputs(tmp_path, receipt) == ["executed.ipynb (another size)"]
    (tmp_path / "tables" / "a.csv").unlink()
    assert "tables/a.csv" in missing_outputs(tmp_path, receipt)
    assert make_receipt(outputs=collect_outputs(tmp_path)).results_sha256 != receipt.results_sha256


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("checkpoints/history.csv", False),
        ("checkpoints/genemask/history.csv", False),
        ("checkpoints/tensorboard/events.out.tfevents.1.vm.2.0", False),
        ("checkpoints/checkpoints/step-00000500/training_state.pt", False),
        ("checkpoints/checkpoints/step-00000500/checkpoint.json", False),
        ("executed.ipynb", False),
        ("checkpoints/final/model.safetensors", True),
        ("checkpoints/rows.csv", True),
        ("tables/history.csv", True),
        ("figures/loss.svg", True),
        ("store/codes.npy", True),
        ("sets/splice/train.tsv", True),
    ],
)
def test_what_a_faster_machine_writes_otherwise_is_no_changed_result(name, counts):
    first, second = (
        make_receipt(outputs={"tables/a.csv": {"sha256": "a", "bytes": 1}, name: output})
        for output in ({"sha256": "b", "bytes": 2}, {"sha256": "c", "bytes": 3})
    )
    assert (first.results_sha256 != second.results_sha256) == counts


def test_a_crash_while_writing_leaves_the_earlier_file(tmp_path, monkeypatch):
    path = tmp_path / "receipt.json"
    write_json_atomic(path, {"a": 1})

    def fail(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(receipts.os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        write_json_atomic(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["receipt.json"]
