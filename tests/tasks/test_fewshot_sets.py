"""Labelled sets and models of a few-shot run, through a real tiny project."""

import json

import numpy as np
import pandas as pd
import pytest
from transformers import BertConfig

from genomelm_utils import paths
from genomelm_utils.datasets.identity import sequence_keys
from genomelm_utils.datasets.labelled import LabelledSet
from genomelm_utils.datasets.prepare import prepare
from genomelm_utils.models.presets import build_masked_lm
from genomelm_utils.pipeline.context import open_run
from genomelm_utils.pipeline.receipts import Receipt, collect_outputs, write_receipt
from genomelm_utils.sequences.alphabet import encode
from genomelm_utils.tasks.fewshot import Settings
from genomelm_utils.tasks.fewshot_sets import (
    describe,
    open_models,
    open_set,
    predict_new,
    show_rows,
)

ROOT = paths.ROOT
NAME = "05_fewshot"
CELL = """\
dataset: str = "simulated-promoter"  # labelled set
simulated: str = "simulated"  # run with the simulated sets, empty for none; run of 01_data
models: list[str] = ["*"]  # pretrained models to compare; run of 04_pretraining
checkpoints: list[str] = []  # folders of published models; data
train_file: str = ""  # your own table; data
test_file: str = ""  # your own test table; data
predict_file: str = ""  # sequences to label; data
shots: list[int] = [3, 10]  # training examples per class
as_shipped: bool = False  # published file as it is
keep_quotes: bool = False  # quotes as the released reader reads them
with_scratch: bool = True  # also random weights
max_test: int = 0  # test rows used, 0 = all
seed: int = 1  # draws
"""
DEFAULTS = {
    "dataset": "simulated-promoter", "simulated": "simulated", "models": ["*"], "train_file": "",
    "checkpoints": [],
    "test_file": "", "predict_file": "", "shots": [3, 10], "as_shipped": False,
    "keep_quotes": False, "with_scratch": True, "max_test": 0, "seed": 1,
}  # fmt: skip


def finish(stage: str, run: str) -> None:
    """A receipt for a run folder of the demo profile."""
    folder = paths.run_dir("demo", stage, run)
    (folder / "tables").mkdir(exist_ok=True)
    receipt = Receipt(
        profile="demo", stage=stage, run=run, key="k", params={}, notebook="n", modules={},
        inputs={}, parents={}, parents_by_param={}, parent_results={},
        outputs=collect_outputs(folder),
    )  # fmt: skip
    write_receipt(folder, receipt)


def write_notebook(name: str, cell: str) -> None:
    parameters = {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": cell}
    paths.notebook_file(name).write_text(json.dumps({"cells": [parameters], "nbformat": 4}))


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project whose data run and two models are finished."""
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("project")
        patch.setattr(paths, "ROOT", root)
        patch.delenv("GENOMELM_JOB", raising=False)
        (root / "notebooks").mkdir()
        write_notebook(NAME, CELL)
        prepare(
            "simulate", paths.run_dir("demo", "01_data", "simulated"), [],
            n_bases=300_000, promoter_bp=50, n_per_class=36, word_bp=6, seed=1,
        )  # fmt: skip
        finish("01_data", "simulated")
        for i, name in enumerate(("contiguous", "genemask")):
            folder = paths.run_dir("demo", "04_pretraining", name)
            build_masked_lm("micro", 3, seed=i).save_pretrained(folder / "checkpoints/final")
            finish("04_pretraining", name)
        yield root


def open_with(**changes):
    return open_run(NAME, DEFAULTS | changes)


# --- sets -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("task", "classes"), [("promoter", 2), ("splice", 3)])
def test_simulated_set_is_drawn_balanced_and_without_leaks(project, task, classes):
    labelled = open_set(open_with(dataset=f"simulated-{task}"))
    for shots, draw in ((3, 0), (3, 1), (10, 0)):
        train, test = labelled.load(shots, draw)
        assert train.class_counts.tolist() == [shots] * classes
        assert not np.isin(sequence_keys(train.codes), sequence_keys(test.codes)).any()
        assert len(test) == 12 * classes
    again, _ = labelled.load(3, 0)
    assert again.names == labelled.load(3, 0)[0].names != labelled.load(3, 1)[0].names
    other = open_set(open_with(dataset=f"simulated-{task}", seed=2)).load(3, 0)[0]
    assert other.names != again.names


def test_test_rows_are_limited_once_for_all_draws(project):
    labelled = open_set(open_with(max_test=9))
    names = [labelled.load(shots, draw)[1].names for shots, draw in ((3, 0), (10, 4))]
    assert len(names[0]) == 9
    assert names[0] == names[1]


def write_table(root, name: str, rows: list[tuple[str, int]]) -> str:
    text = "".join(f"{sequence}\t{label}\n" for sequence, label in rows)
    (root / name).write_text("sequence\tlabel\n" + text)
    return name


def test_a_users_tables_are_cleaned(project):
    rows = [("ACGTACGA", 0), ("ACGTACGA", 0), ("TTTTCCCA", 1), ("GGGGCCCA", 1), ("AAGGAAGG", 0)]
    train = write_table(project, "train.tsv", rows)
    # the reverse complement of a training row, and a row of its own
    test = write_table(project, "test.tsv", [("TGGGAAAA", 1), ("CACACACA", 0), ("GAGAGAGA", 1)])
    run = open_with(dataset="user", train_file=train, test_file=test)
    labelled = open_set(run)
    dropped = labelled.dropped[["part", "label", "reason"]].values.tolist()
    assert dropped == [["train", 0, "repeated"], ["train", 1, "in the test file"]]
    drawn, kept = labelled.load(1, 0)
    assert drawn.class_counts.tolist() == [1, 1]
    assert len(kept) == 3
    with pytest.raises(ValueError, match=r"cannot draw 2 sequences per class.*class 1 has 1"):
        labelled.load(2, 0)
    table = describe(drawn, kept, labelled.dropped).set_index("part")
    assert table.loc["train", "left_out"] == 2
    assert table.loc["test", "left_out"] == 0


def test_a_users_rows_without_a_sequence_are_listed(project):
    rows = [("ACGTACGA", 0), ("", 1), ("ACGTACGA", 0), ("TTTTCCCA", 1)]
    train = write_table(project, "gaps.tsv", rows)
    (project / "gaps_test.tsv").write_text(
        "name\tsequence\tlabel\na\tCACACACA\t0\nb\t \t\nc\tGAGAGAGA\t1\n"
    )
    run = open_with(dataset="user", train_file=train, test_file="gaps_test.tsv")
    labelled = open_set(run)
    run.save_table(labelled.dropped, "dropped")
    assert (run.dir / "tables/dropped.csv").read_text().splitlines() == [
        "part,name,label,reason",
        "train,line 3,1,no sequence",
        "test,b,,no sequence",
        "train,line 4,0,repeated",
    ]
    table = describe(*labelled.load(1, 0), labelled.dropped).set_index("part")
    assert table["left_out"].to_dict() == {"train": 2, "test": 1}


@pytest.mark.parametrize("part", ["train", "test"])
def test_user_without_a_file_is_told_which(project, part):
    write_table(project, "some.tsv", [("ACGT", 0)])
    files = {"train_file": "some.tsv", "test_file": "some.tsv"} | {f"{part}_file": ""}
    message = f"dataset is user, but {part}_file is empty; name a table with the columns"
    with pytest.raises(ValueError, match=message):
        open_set(open_with(dataset="user", **files))


def test_simulated_set_without_its_run_is_explained(project):
    with pytest.raises(ValueError, match="simulated-promoter, but `simulated` names no run of 01"):
        open_set(open_with(simulated=""))
    with pytest.raises(FileNotFoundError, match="01_data/simulated has no sets/enhancer"):
        open_set(open_with(dataset="simulated-enhancer"))


def test_published_set_is_read_from_the_registry(data_dir, monkeypatch):
    monkeypatch.setattr(paths, "ROOT", ROOT)

    class Asked:
        params = DEFAULTS | {"dataset": "Splice-40", "shots": [10], "max_test": 50}

    labelled = open_set(Asked())
    train, test = labelled.load(10, 1)
    assert train.class_counts.tolist() == [10, 10, 10]
    assert len(test) == 50
    assert {"part", "reason"} <= set(labelled.dropped.columns)
    Asked.params = Asked.params | {"as_shipped": True, "max_test": 0}
    shipped, test = open_set(Asked()).load(10, 0)
    assert len(shipped) > 30  # ten times as many as the name says
    with pytest.raises(ValueError, match="one draw is published"):
        open_set(Asked()).load(10, 1)


# --- models ---------------------------------------------------------------------------------------


def test_models_are_those_asked_for_and_one_from_random_weights(project):
    models = open_models(open_with())
    assert list(models) == ["contiguous", "genemask", "scratch"]
    assert (models["genemask"] / "model.safetensors").is_file()
    assert isinstance(models["scratch"], BertConfig)
    assert models["scratch"].hidden_size == 64
    assert models["scratch"].vocab_size == 69
    assert list(open_models(open_with(with_scratch=False))) == ["contiguous", "genemask"]
    assert list(open_models(open_with(models=["genemask"]))) == ["genemask", "scratch"]
    assert open_models(open_with(models=[])) == {}


def test_published_checkpoints_stand_beside_the_pretrained_ones(project, tmp_path):
    trained = open_models(open_with())["genemask"]
    published = tmp_path / "DNA_bert_3"
    published.mkdir()
    for name in ("config.json", "model.safetensors"):
        (published / name).write_bytes((trained / name).read_bytes())
    models = open_models(open_with(checkpoints=[str(published)]))
    assert list(models) == ["contiguous", "genemask", "DNA_bert_3", "scratch"]
    assert models["DNA_bert_3"] == published
    alone = open_models(open_with(models=[], checkpoints=[str(published)]))
    assert list(alone) == ["DNA_bert_3", "scratch"]
    twin = tmp_path / "again" / "DNA_bert_3"
    twin.mkdir(parents=True)
    with pytest.raises(ValueError, match="two models have the same name"):
        open_models(open_with(checkpoints=[str(published), str(twin)]))


def test_options_of_published_sets_are_refused_for_others(project):
    with pytest.raises(ValueError, match="keep_quotes is for published sets"):
        open_set(open_with(keep_quotes=True))


def test_an_unknown_model_is_named(project):
    with pytest.raises(ValueError, match=r"names the run 'genmask'.*genemask"):
        open_with(models=["genmask"])


# --- tables ---------------------------------------------------------------------------------------


def test_description_by_hand():
    codes = [encode("GGCA"), encode("ACNT"), encode("CCCCCC")]
    train = LabelledSet(codes, np.array([0, 1, 1]), ["a", "b", "c"], "x")
    test = train.take(np.array([0]))
    dropped = pd.DataFrame({"part": ["test", "test", "train"]})
    table = describe(train, test, dropped).set_index("part")
    assert table.loc["train"].to_dict() == {
        "rows": 3,
        "per_class": "1 / 2",
        "shortest_bp": 4,
        "longest_bp": 6,
        "gc_share": 10 / 13,
        "left_out": 1,
    }
    assert table.loc["test", ["rows", "gc_share", "left_out"]].tolist() == [1, 0.75, 2]


def test_first_rows_are_shown_short():
    codes = np.tile(encode("ACGT"), (9, 40))
    rows = LabelledSet(codes, np.arange(9) % 2, [f"r{i}" for i in range(9)], "x")
    table = show_rows(rows)
    assert table["name"].tolist() == [f"r{i}" for i in range(6)]
    assert set(table["sequence"]) == {"ACGT" * 15}
    assert table["label"].tolist() == [0, 1] * 3
    assert len(show_rows(rows.take(np.array([1, 2])))) == 2


# --- new sequences --------------------------------------------------------------------------------


def test_new_sequences_get_probabilities(project):
    (project / "new.csv").write_text(f"name,sequence\na,{'ACGT' * 12}\nb,{'GGGC' * 12}\n")
    run = open_with(predict_file="new.csv", shots=[3, 4])
    labelled = open_set(run)
    table = predict_new(run, labelled, Settings(k=3))
    assert table["name"].tolist() == ["a", "b"]
    probs = table[["p_class_0", "p_class_1"]].to_numpy()
    assert probs.sum(axis=1) == pytest.approx(1)
    assert table["predicted"].tolist() == probs.argmax(axis=1).tolist()
    pd.testing.assert_frame_equal(table, predict_new(run, labelled, Settings(k=3)))


def test_the_model_for_new_sequences_is_tuned_as_asked(project, monkeypatch):
    from genomelm_utils.tasks import fewshot_sets

    (project / "new.csv").write_text("sequence\nACGTAC\n")
    seen = {}

    class Fake:
        def predict(self, codes, *, both_strands):
            seen["both_strands"] = both_strands
            return np.array([[0.25, 0.75]])

    def fake(source, train, **options):
        seen.update(options, source=source.parts[-3], rows=len(train[1]))
        return Fake()

    monkeypatch.setattr(fewshot_sets, "fine_tune", fake)
    run = open_with(predict_file="new.csv", models=["genemask"])
    settings = Settings(3, reference_resume_bug=True, both_strands=True, lr_factor=2.0)
    table = predict_new(run, open_set(run), settings)
    assert table["predicted"].tolist() == [1]
    assert (seen["source"], seen["rows"], seen["k"], seen["seed"]) == ("genemask", 20, 3, 1)
    assert seen["reference_resume_bug"] and seen["both_strands"]
    assert seen["settings"].peak_lr == pytest.approx(2e-4)


def test_new_sequences_without_a_model_are_refused(project):
    (project / "new.csv").write_text("sequence\nACGTAC\n")
    run = open_with(predict_file="new.csv", models=[])
    with pytest.raises(ValueError, match="`models` names no run of 04_pretraining"):
        predict_new(run, open_set(run), Settings(k=3))
