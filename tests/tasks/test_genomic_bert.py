"""The case studies in miniature: data set, sweep, folds, verdict."""

import numpy as np
import pytest

from genomelm_utils.evaluation.case_verdict import NETWORK
from genomelm_utils.tasks import genomic_bert as study
from genomelm_utils.tasks.sequence_validation import TrainingSettings

SIZES = {"layers": 1, "width": 16, "heads": 2, "positions": 64}


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """80 sequences of each class; class 1 has TTGACA somewhere. One sequence is there twice."""
    folder = tmp_path_factory.mktemp("case")
    rng = np.random.default_rng(7)
    files = []
    for label in (0, 1):
        texts = ["".join(rng.choice(list("ACGT"), 40)) for _ in range(80)]
        if label:
            places = rng.integers(0, 30, 80)
            texts = [t[:i] + "TTGACA" + t[i + 6 :] for t, i in zip(texts, places, strict=True)]
        texts[1] = texts[0]
        path = folder / f"{label}.fa"
        path.write_text("".join(f">s{i}\n{t}\n" for i, t in enumerate(texts)))
        files.append(path)
    return study.make_case(files, ["no", "yes"], folder / "set", vocab_size=40, word=20, seed=1)


@pytest.fixture(scope="module")
def experiment(case):
    settings = TrainingSettings(batch_size=16, learning_rate=1e-2)
    return study.make_experiment(case, "distilbert", settings, **SIZES)


def test_the_data_set_keeps_relatives_together(case, tmp_path):
    assert len(case.all) == 160 and set(case.parts) == {"train", "test", "valid"}
    assert sorted(np.concatenate(list(case.parts.values()))) == list(range(160))
    assert (case.leaks["n_either_strand"] == 0).all()
    for one, other in (("train", "test"), ("train", "valid")):
        assert not set(case.groups[case.parts[one]]) & set(case.groups[case.parts[other]])
    assert len(set(case.groups.tolist())) == 158
    assert case.counts["n_rows"].sum() == 160
    assert case.vocabulary[-2:] == ["<sep>", "<cls>"]


def test_a_sweep_a_training_and_a_page(case, experiment, tmp_path):
    sweep = study.sweep_case(case, experiment, study.small_sweep(2), tmp_path, n_runs=2, percent=50)
    assert len(sweep.trials) == 2
    trained = study.train_case(case, experiment, sweep.config, seed=1)
    words = study.explain_rows(case, trained, tmp_path / "page.html", n=6)
    assert list(words.columns) == ["output", "token", "n", "mean_score"]
    assert (tmp_path / "page.html").read_text().count("<tr>") == 7
    alphas = study.compare_spectra(trained, experiment, sweep.config, tmp_path)
    assert set(alphas["model"]) == {"trained", "untrained"}


def test_all_methods_are_tested_on_every_row(case, experiment):
    config = {"epochs": 2, "batch_size": 16, "learning_rate": 0.01}
    found, left_out, folds = study.predict_folds(case, experiment, config, k=2)
    assert {"majority", "positional_words", "TF-IDF + XGBoost"} <= set(found)
    assert (NETWORK in found) != (NETWORK in left_out)
    assert len(folds) == 2
    for probs in found.values():
        np.testing.assert_allclose(probs.sum(1), 1, atol=1e-5)
    scores = study.score_methods(case, found)
    by = study.score_folds(case, found, folds)
    assert by.groupby("method").size().eq(2).all()
    value = scores.query("metric == 'f1'").set_index("method")["value"]
    assert value["words"] > value["gc_length"]
    paired = study.compare_with(case, found, "words").set_index("other")
    one = paired.loc["gc_length"]
    assert one["difference"] == pytest.approx(value["words"] - value["gc_length"])
    assert one["low"] < one["difference"] < one["high"]
    assert study.compare_with(case, {"words": found["words"]}).empty
