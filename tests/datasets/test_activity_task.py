"""Declared tasks: what a set refuses, and a user's own table."""

import numpy as np
import pandas as pd
import pytest

from genomelm_utils.datasets.activity_task import TaskSpec, check_ready, make_set
from genomelm_utils.datasets.promoter_assays import (
    ASSAYS,
    assay_table,
    expand_tasks,
    load_sample,
    read_table_task,
)
from tests.datasets.activity_toys import toy_set


def spec(**changes) -> TaskSpec:
    return TaskSpec(**{"name": "t", "kind": "regression", "outputs": ("a",)} | changes)


def test_two_outputs_of_one_name_are_refused():
    """As the released Sharpr task has: index 4 is called as index 3."""
    with pytest.raises(ValueError, match="each name once"):
        spec(outputs=("k562_sv40p_rep1", "k562_sv40p_rep1"))


def test_head_has_a_number_for_every_class_of_every_output():
    binned = spec(kind="binned", outputs=("K562", "HepG2"), classes=tuple("01234"))
    assert len(binned.head_outputs) == 10
    assert binned.head_outputs[5] == "HepG2:0"
    assert spec().head_outputs == ["a"]


@pytest.mark.parametrize(
    ("sequences", "labels", "changes", "told"),
    [
        (["ACGT", "ACXT"], [1, 2], {}, "row 1"),
        (["ACGT", "ACG"], [1, 2], {"length_bp": 4}, "3 bases, expected 4"),
        (["ACGT", "ACGT"], [1, np.nan], {}, "not masked"),
        (["ACGT", "ACGT"], [1, np.inf], {}, "infinite"),
        (["ACGT"], [[1, 2]], {}, "1 outputs"),
        ([], [], {}, "no row"),
        (["ACGT"], [2], {"kind": "multilabel"}, "0 to 1"),
        (["ACGT"], [0.5], {"kind": "binned", "classes": ("x", "y")}, "0 to 1"),
    ],
)
def test_bad_rows_are_named(sequences, labels, changes, told):
    with pytest.raises(ValueError, match=told):
        make_set(spec(**changes), sequences, np.array(labels, dtype=float))


def test_masked_labels_may_be_missing():
    made = make_set(spec(masked=True), ["ACGT", "NNNN"], np.array([1, np.nan]))
    assert np.isnan(made.labels_ST[1, 0])
    assert made.codes[0].dtype == np.uint8


def test_constant_labels_and_empty_parts_are_refused():
    data = toy_set(20)
    check_ready(data)
    constant = make_set(data.spec, data.codes, np.ones((20, 2)), part_S=data.part_S)
    with pytest.raises(ValueError, match="label 'a' is 1 in every training row"):
        check_ready(constant)
    empty = make_set(data.spec, data.codes, data.labels_ST, part_S=["train"] * 20)
    with pytest.raises(ValueError, match="no row is in part 'valid'"):
        check_ready(empty)


def test_the_key_knows_labels_bases_and_parts():
    data = toy_set(20)
    assert data.key == toy_set(20).key
    assert data.key != toy_set(20, seed=1).key
    moved = data.part_S.copy()
    moved[0] = "test"
    assert data.key != make_set(data.spec, data.codes, data.labels_ST, part_S=moved).key


def test_a_table_of_ones_own(tmp_path):
    rng = np.random.default_rng(0)
    texts = ["".join(row) for row in rng.choice(list("ACGT"), (40, 30))]
    table = pd.DataFrame({"seq": texts, "x": rng.random(40), "y": rng.random(40)})
    table["set"] = ["train"] * 24 + ["val"] * 8 + ["test"] * 8
    table["cell"] = rng.choice(["low", "high"], 40)
    path = tmp_path / "mine.csv"
    table.to_csv(path, index=False)
    found = read_table_task(
        path, name="mine", labels=["x", "y"], sequence="seq", split="column", split_column="set"
    )
    assert found.counts()["n_rows"].tolist() == [24, 8, 8]
    assert found.overlap["n_copies"].tolist() == [0, 0, 0]
    np.testing.assert_allclose(found.labels_ST[:, 0], table["x"], rtol=1e-6)
    classes = read_table_task(
        table, name="mine", labels=["cell"], sequence="seq", kind="classification",
        classes=["low", "high"], split="cluster", seed=1,
    )  # fmt: skip
    assert set(classes.part_S) == {"train", "valid", "test"}
    assert classes.labels_ST[:, 0].tolist() == (table["cell"] == "high").tolist()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"labels": ["z"]}, "no column 'z'"),
        ({"sequence": "bases"}, "bases"),
        ({"split": "column"}, "given for the split"),
        ({"split": "column", "split_column": "fold"}, "holds 'left'"),
        ({"labels": ["fold"]}, "no column of numbers"),
        ({"split": "random"}, "expected one of given"),
    ],
)
def test_bad_tables(changes, told):
    table = pd.DataFrame({"sequence": ["ACGT", "AAAA"], "x": [1.0, 2.0], "fold": ["left", "test"]})
    with pytest.raises(ValueError, match=told):
        read_table_task(table, **{"name": "t", "labels": ["x"]} | changes)


def test_registry_names_every_published_task():
    assert len(expand_tasks(["RNASeq"])) == 3
    assert assay_table()["task"].is_unique
    assert ASSAYS["SuRE_classification"].heads == 4
    with pytest.raises(ValueError, match="unknown task 'MPRA'"):
        expand_tasks(["MPRA"])


def test_every_loader_of_the_registry_is_there():
    from importlib import import_module

    for assay in ASSAYS.values():
        module, function = assay.loader.split(".")
        assert callable(getattr(import_module(f"genomelm_utils.datasets.{module}"), function))


@pytest.mark.parametrize(
    ("name", "n_rows", "n_outputs", "length_bp"),
    [
        ("tss_mpra", 12_540, 2, 144),
        ("lentimpra", 3_000, 1, 200),
        ("fly_starrseq", 3_000, 2, 249),
        ("plant_core", 14_026, 2, 170),
        ("ecoli_mpra", 17_671, 1, 150),
    ],
)
def test_sets_at_hand(data_dir, name, n_rows, n_outputs, length_bp):
    """Rows as the manifest counts them, less 571 tiles without a sequence and 96 controls."""
    found = load_sample(name, lambda file: data_dir / file)
    assert found.labels_ST.shape == (n_rows, n_outputs)
    assert set(found.length_S) == {length_bp}
    assert found.overlap["n_copies"].sum() == 0
    check_ready(found)
