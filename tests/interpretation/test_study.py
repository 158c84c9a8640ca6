"""Stage 12 from its parameters to its tables, small; the published sets where they are at hand."""

from types import SimpleNamespace

import numpy as np
import pytest

from genomelm_utils.interpretation import study
from genomelm_utils.interpretation.attention import attention_scores
from genomelm_utils.interpretation.planted import RANDOM
from genomelm_utils.sequences.alphabet import decode
from genomelm_utils.tasks.classification import Settings


def fake_run(**params):
    """What `study` reads of a run: parameters, the seed, data files."""
    defaults = {"dataset": "planted", "files": [], "n_train": 240, "n_test": 60,
                "variants_file": "", "sequences_file": ""}  # fmt: skip
    return SimpleNamespace(params={**defaults, **params}, seed=1, data=lambda name: name)


@pytest.fixture(scope="module")
def opened():
    return study.open_study(fake_run())


@pytest.fixture(scope="module")
def classifiers(opened):
    """Trained for some ten seconds on planted words."""
    settings = Settings(16, 3e-3, 8)
    return study.train_classifiers(opened, [6], preset="micro", settings=settings, seed=1)


def test_the_planted_set_has_truth_and_no_shared_rows(opened):
    assert len(opened.train[1]) == 240 and len(opened.test[1]) == len(opened.truth) == 60
    train, test = ({decode(one) for one in part[0]} for part in (opened.train, opened.test))
    assert not train & test
    rows = opened.positives(10)
    assert len(rows) == 10 and all(opened.truth[s].any() for s in rows)
    assert "Of" not in study.describe_study(opened) and "planted" in study.describe_study(opened)


def test_on_a_trained_classifier_every_method_finds_the_planted_bases(opened, classifiers):
    accuracy = study.score_classifiers(opened, classifiers)
    assert accuracy["accuracy"][0] > 0.85
    model = study.as_explained(classifiers[6], opened)
    rows = opened.positives(15)
    codes, truth = ([part[s] for s in rows] for part in (opened.test[0], opened.truth))
    methods = ["integrated_gradients", "saliency", "occlusion", "mutagenesis", "deeplift"]
    found = study.explain_with_all(model, codes, methods, steps=20)
    assert set(methods) - set(found) == {"deeplift"}  # attention: its rule does not hold
    complete = study.completeness_table(found)
    assert complete["method"].tolist() == ["integrated_gradients"]
    assert complete["largest_gap"][0] < 0.1 * complete["difference"].abs().max()
    looks = {"attention": attention_scores(classifiers[6], codes)}
    table = study.compare_methods(found, looks, truth, 1).set_index("method")
    others = table.drop(index=RANDOM)
    assert (others["low"] > 2 * others["chance"]).all(), table
    assert table.loc[RANDOM, "auprc"] < 1.5 * table.loc[RANDOM, "chance"]


def test_a_report_and_variants_come_out(opened, classifiers, tmp_path):
    model = study.as_explained(classifiers[6], opened)
    rows = opened.positives(2)
    found = study.explain_with_all(
        model, [opened.test[0][s] for s in rows], ["integrated_gradients"], steps=4
    )
    path = study.write_report(
        tmp_path / "a.html", model, opened, rows, found["integrated_gradients"]
    )
    assert f"test {rows[0]}" in path.read_text() and "motifs" in path.read_text()
    effects, left_out = study.find_variants(fake_run(), model, opened, rows[0])
    assert len(effects) == 3 * 60 and left_out.empty
    fasta, table = tmp_path / "a.fa", tmp_path / "v.tsv"
    text = decode(opened.test[0][rows[0]])
    fasta.write_text(f">mine\n{text * 2}\n")
    other = "A" if text[9] != "A" else "C"
    wrong = "A" if text[0] != "A" else "C"
    table.write_text(f"record\tpos\tref\talt\nmine\t10\t{text[9]}\t{other}\nmine\t1\t{wrong}\tG\n")
    run = fake_run(variants_file=str(table), sequences_file=str(fasta))
    effects, left_out = study.find_variants(run, model, opened, rows[0])
    assert len(effects) == len(left_out) == 1 and "reference allele" in left_out["reason"][0]
    with pytest.raises(ValueError, match="without sequences_file"):
        study.find_variants(fake_run(variants_file=str(table)), model, opened, rows[0])


def test_a_published_set_can_be_studied(data_dir):
    run = fake_run(dataset="Prom-core", n_train=40, n_test=30)
    opened = study.open_study(run)
    assert len(opened.train[1]) == 40 and len(opened.test[1]) == 30 and opened.truth is None
    assert {len(one) for one in opened.test[0]} == {70}
    assert "not known" in study.describe_study(opened)
    assert (opened.test[1][opened.positives(5)] == 1).all()


def test_words_in_common():
    assert study.shared("ATGAGTT", "TGAGTCA") and not study.shared("TGAGAAA", "TGAGTCA")
    assert "TGACTCA" in study.planted_words()
    assert np.all([len(one) in (7, 10) for one in study.planted_words()])
