"""The verbs of models, one after another on one small data set; errors in one sentence."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from genomelm_utils.genomenlp import main

SWEEP = {
    "method": "random",
    "metric": {"name": "eval/f1", "goal": "maximize"},
    "parameters": {
        "epochs": {"value": 2},
        "batch_size": {"values": [16]},
        "learning_rate": {"distribution": "log_uniform_values", "min": 1e-3, "max": 1e-2},
        "momentum": {"value": 0.9},
    },
    "early_terminate": {"type": "hyperband", "s": 2, "eta": 3, "max_iter": 27},
}
SMALL = ("--layers", 1, "--width", 16, "--heads", 2, "--positions", 64)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A folder with two classes of 60 sequences, a tokenizer, a data set and a sweep's model."""
    folder = tmp_path_factory.mktemp("project")
    rng = np.random.default_rng(5)
    for name, shares in (("a", [0.4, 0.1, 0.1, 0.4]), ("b", [0.1, 0.4, 0.4, 0.1])):
        texts = ["".join(rng.choice(list("ACGT"), 50, p=shares)) for _ in range(60)]
        records = "".join(f">{name}{i} x/y, z\n{text}\n" for i, text in enumerate(texts))
        (folder / f"{name}.fa").write_text(records)
    (folder / "sweep.json").write_text(json.dumps(SWEEP))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        call("tokenise_bio", "-i", "a.fa", "b.fa", "-t", "tok.json", "-v", 60)
        call("create_dataset_bio", "a.fa", "b.fa", "tok.json", "-o", "data", "--split_train", 0.7,
             "--split_test", 0.2, "--split_val", 0.1, "--formats", "csv", "parquet")  # fmt: skip
        sweep = ("sweep", "data/train.csv", "csv", "tok.json", "-v", "data/valid.csv", *SMALL,
                 "-t", "data/test.csv", "-w", "sweep.json", "-o", "sweep")  # fmt: skip
        call(*sweep, "-n", 2)
    return folder


def call(*arguments) -> None:
    assert main.main([str(one) for one in arguments]) == 0, arguments


@pytest.fixture
def run(project, monkeypatch, capsys):
    """run(verb, *arguments): (status, lines on standard output, text on standard error)."""
    monkeypatch.chdir(project)

    def ask(*arguments):
        capsys.readouterr()
        status = main.main([str(one) for one in arguments])
        said = capsys.readouterr()
        return status, said.out.splitlines(), said.err

    return ask


def test_a_sweep_leaves_model_settings_tables_and_figures(project, run):
    trials = pd.read_csv(project / "sweep" / "trials.csv")
    assert len(trials) == 2 and set(trials["state"]) <= {"complete", "collapsed"}
    best = json.loads((project / "sweep" / "best_config.json").read_text())
    assert best["metric"] == "f1" and set(best["config"]) == set(SWEEP["parameters"])
    for name in ("model_files/model.safetensors", "model_files/tokenizer.json", "sweep.pdf",
                 "test.pdf", "test_scores.tsv", "test_curves.tsv", "settings.json"):  # fmt: skip
        assert (project / "sweep" / name).is_file(), name
    assert list((project / "sweep").glob("runs/*/training/attempt-0/tensorboard/*"))
    # the same command goes on: one run more
    status, lines, _ = run("sweep", "data/train.csv", "csv", "tok.json", "-v", "data/valid.csv",
                           *SMALL, "-w", "sweep.json", "-o", "sweep", "-n", 3)  # fmt: skip
    assert status == 0 and "3 runs" in lines[0]


def test_train_takes_the_best_run_of_a_sweep_or_a_file(project, run):
    common = ("train", "data/train.parquet", "parquet", "tok.json", *SMALL, "-t", "data/test.csv")
    status, lines, _ = run(*common, "-f", "sweep", "-o", "trained")
    assert status == 0 and any(line.startswith("test f1: ") for line in lines)
    settings = json.loads((project / "trained" / "settings.json").read_text())
    best = json.loads((project / "sweep" / "best_config.json").read_text())["config"]
    assert settings["training"]["learning_rate"] == pytest.approx(best["learning_rate"])
    (project / "hyper.json").write_text('{"epochs": 1, "learning_rate": 0.002}')
    status, _, _ = run(*common, "-f", "hyper.json", "--batch_size", 8, "-o", "filed",
                       "--class_weights", "balanced", "--on_collapse", "keep")  # fmt: skip
    settings = json.loads((project / "filed" / "settings.json").read_text())["training"]
    assert (settings["epochs"], settings["batch_size"], settings["class_weights"]) == (
        1, 8, "balanced",
    )  # fmt: skip
    status, _, said = run(*common, "-f", "hyper.json", "-o", "filed")
    assert status == 2 and "is not empty" in said
    status, _, _ = run(*common, "-f", "hyper.json", "-o", "filed", "--override_output_dir",
                       "--on_collapse", "keep")  # fmt: skip
    assert status == 0


def test_folds_of_the_same_configuration(project, run):
    status, lines, _ = run("cross_validate", "data/train.csv", "csv", "-m", "sweep/model_files",
                           "-k", 2, "-o", "cval")  # fmt: skip
    assert status == 0 and lines[0] == "cval: 2 folds of 168 rows"
    folds = pd.read_csv(project / "cval" / "cval_scores.tsv", sep="\t")
    assert set(folds["fold"]) == {0, 1} and not folds["leaked"].any()
    auc = pd.read_csv(project / "cval" / "cval_auc.tsv", sep="\t")
    assert list(auc.columns) == ["roc_auc_scores"] and len(auc) == 2
    status, lines, _ = run("cross_validate", "data/train.csv", "csv", "-m", "sweep/model_files",
                           "-k", 2, "-o", "warm", "--start", "reference", "--watch", "reference",
                           "--folds", "reference")  # fmt: skip
    assert status == 0 and any("LEAKED" in line for line in lines)


def test_vectors_and_forests(project, run):
    common = ("-i", "data/train.csv", "data/test.csv", "data/valid.csv", "-t", "tok.json")
    status, lines, _ = run("create_embedding_bio_sp", *common, "-o", "embed", "--w2v_vector_size",
                           8, "--w2v_sample", 0, "--sample_seq", "TA")  # fmt: skip
    assert status == 0 and lines[2].startswith("TA is near ")
    names = {path.name for path in (project / "embed").iterdir()}
    assert {"kmers.model", "kmers.w2v", "kmers.csv", "kmers_embeddings.csv"} <= names
    table = pd.read_csv(project / "embed" / "kmers_embeddings.csv", header=None)
    assert table.shape[1] == 2 + 8 and set(table[0]) == {"NEGATIVE", "POSITIVE"}
    rows = pd.read_csv(project / "embed" / "sequences.csv")
    assert len(rows) == 240
    quick = ("-n", 2, "-k", 2, "-j", 1, "--split_train", 0.7, "--split_test", 0.2,
             "--split_val", 0.1, "--show_features", 3)  # fmt: skip
    for verb, more in (
        ("freq_pipeline", ("-f", "tfidf", "-m", "xg", "--sweep_method", "bayes")),
        ("embedding_pipeline", ("--embedding", "embed/kmers.model", "-e", 4)),
    ):
        status, lines, said = run(verb, *common, *quick, *more, "-o", verb)
        assert status == 0, said
        names = {path.name for path in (project / verb).iterdir()}
        assert {"mdi_scores.tsv", "per_scores.pdf", "cval_auc.tsv", "test_scores.tsv"} <= names
        assert ("model.json" if verb == "freq_pipeline" else "model.joblib") in names
        scores = pd.read_csv(project / verb / "test_scores.tsv", sep="\t")
        assert {"gc_length", "words", "positional"} <= set(scores["method"])
    status, lines, _ = run("embedding_pipeline", *common, *quick, "--embedding",
                           "embed/kmers.model", "--level", "reference", "-o", "tokens")  # fmt: skip
    assert status == 0 and "single tokens" in lines[0]


def test_vectors_of_kmers(project, run):
    status, lines, _ = run("create_embedding_bio_kmers", "-i", "data/train.csv", "-k", 3, "-v", 20,
                           "-o", "kmer_embed", "--w2v_vector_size", 6)  # fmt: skip
    assert status == 0 and "vectors of 20 tokens" in lines[0]


def test_released_word2vec_is_never_trained(project, run):
    vectors = []
    for corpus in ("corrected", "reference"):
        run("create_embedding_bio_sp", "-i", "data/train.csv", "-t", "tok.json", "-o",
            f"w2v_{corpus}", "--w2v_vector_size", 8, "--w2v_sample", 0,
            "--corpus", corpus)  # fmt: skip
        from gensim.models import KeyedVectors

        vectors.append(KeyedVectors.load(str(project / f"w2v_{corpus}" / "kmers.w2v")).vectors)
    assert np.abs(vectors[1]).max() <= 1 / 8 < np.abs(vectors[0]).max()  # gensim starts there


def test_power_laws_of_two_models(project, run):
    status, lines, _ = run("fit_powerlaw", "sweep/model_files", "trained/model_files", "-o",
                           "power", "--min_values", 10)  # fmt: skip
    if not (project / "trained").is_dir():
        run("train", "data/train.csv", "csv", "tok.json", *SMALL, "-f", "sweep", "-o", "trained")
        status, lines, _ = run("fit_powerlaw", "sweep/model_files", "trained/model_files", "-o",
                               "power", "--min_values", 10)  # fmt: skip
    assert status == 0 and lines[0].startswith("sweep/model_files: mean alpha")
    assert (project / "power" / "trained_model_files" / "alpha.tsv").is_file()
    table = pd.read_csv(project / "power" / "alpha.tsv", sep="\t")
    assert table["model"].nunique() == 2 and len(table) == 2 * 8
    assert (project / "power" / "alpha_hist.pdf").is_file()


def test_pages_of_sequences(project, run):
    status, lines, said = run("interpret", "sweep/model_files", "a.fa", "GCGCGGCCGGCC", "-o",
                              "pages", "-l", "at", "gc", "--true_label", "gc")  # fmt: skip
    assert status == 0, said
    assert lines[0].startswith("pages: 61 sequences, predicted ")
    pages = sorted((project / "pages").glob("*.html"))
    assert len(pages) == 62  # and all_sequences.html
    page = next(p for p in pages if p.name.startswith("GCGCGGCC")).read_text()
    cells = re.findall(r"<td[^>]*>(.*?)</td>", page, re.DOTALL)
    assert cells[1] == "gc" and re.fullmatch(r"(at|gc) \(0\.\d{2}\)", cells[2])
    tokens = pd.read_csv(project / "pages" / "tokens.tsv", sep="\t")
    one = tokens[tokens["name"].str.startswith("GCGCGGCC")]
    letters = pd.read_csv(project / "pages" / "letters.bedgraph", sep="\t", header=None, skiprows=1)
    mine = letters[letters[0].str.startswith("GCGCGGCC")]
    assert len(mine) == 12
    assert mine[3].sum() == pytest.approx(one["score"].sum(), abs=1e-4)
    sums = pd.read_csv(project / "pages" / "sequences.tsv", sep="\t")
    difference = sums["value"] - sums["baseline_value"]
    np.testing.assert_allclose(sums["total"], difference, atol=0.02)
    status, _, said = run("interpret", "sweep/model_files", "GCGCGGCCGGCC", "-o", "released",
                          "--layout", "reference")  # fmt: skip
    assert status == 0, said


def test_scores_of_runs_side_by_side(project, run):
    for name, shift in (("x", 0.0), ("y", 0.2)):
        (project / f"{name}.tsv").write_text(
            "roc_auc_scores\n" + "".join(f"{0.6 + shift + 0.01 * i}\n" for i in range(4))
        )
    (project / "wide.csv").write_text("run,eval/f1,eval/accuracy,note\n1,0.7,0.8,a\n2,0.9,0.8,b\n")
    status, lines, _ = run("summarise_metrics", "-i", "wide.csv", "-a", "x.tsv", "y.tsv", "-o",
                           "plots", "-n", "deep", "x", "y")  # fmt: skip
    assert status == 0
    assert any(line.startswith("y, ROC-AUC: mean 0.8150") for line in lines)
    names = {path.name for path in (project / "plots").iterdir()}
    assert {"auc_violinplot.pdf", "metrics_eval_f1_boxplot.pdf", "auc_scores.tsv"} <= names
    summary = pd.read_csv(project / "plots" / "summary.tsv", sep="\t").set_index(
        ["group", "metric"]
    )
    assert summary.loc[("deep", "f1"), "mean"] == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("sweep", "data/train.csv", "csv", "tok.json", "-w", "absent.json"), "expected a sweep"),
        (("sweep", "data/train.csv", "csv", "absent.json"), "absent.json"),
        (("sweep", "data/train.csv", "csv", "tok.json", "-m", "distilbrt", "-o", "n1"),
         "did you mean 'distilbert'"),
        (("sweep", "data/train.csv", "csv", "tok.json", "--wandb", "-o", "n2", *SMALL),
         "wandb is not installed"),
        (("train", "data/train.csv", "csv", "tok.json", "-c", "me/project/run", "-o", "n3"),
         "runs of wandb are not fetched"),
        (("cross_validate", "data/train.csv", "csv", "-m", "data", "-o", "n4"),
         "sequence_model.json is missing"),
        (("cross_validate", "data/train.csv", "csv", "-m", "sweep/model_files", "-k", 99, "-o",
          "n5"), "take fewer folds"),
        (("fit_powerlaw", "data", "-o", "n6"), "neither model.safetensors"),
        (("interpret", "sweep/model_files", "absent.fa", "-o", "n7"), "neither a file nor a seq"),
        (("interpret", "sweep/model_files", "ACGT", "-o", "n8", "--target", "NEGATIV"),
         "did you mean 'NEGATIVE'"),
        (("interpret", "sweep/model_files", "ACGT", "-o", "n9", "-p"), "pdfkit"),
        (("summarise_metrics", "-o", "n10"), "give tables of scores"),
        (("summarise_metrics", "-i", "a.fa", "-o", "n11"), "no column of scores"),
        (("freq_pipeline", "-i", "data/train.csv", "-t", "tok.json", "-o", "n12", "-w",
          "sweep.json"), "no setting"),
    ],
)  # fmt: skip
def test_errors_are_one_sentence(arguments, said, project, run):
    status, lines, message = run(*arguments)
    assert status == 2 and not lines, message
    assert said in message
    assert len(message.strip().splitlines()) == 1


def test_data_of_another_tokenizer(project, run):
    """Ids that the tokenizer does not have are named before anything is trained."""
    run("tokenise_bio", "-i", "a.fa", "-t", "few.json", "-v", 12)
    status, _, message = run("train", "data/train.csv", "csv", "few.json", "-o", "n13", *SMALL)
    assert status == 2 and "is it the tokenizer the data set was made with" in message
