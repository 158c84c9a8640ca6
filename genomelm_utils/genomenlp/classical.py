"""Verbs that classify by counts or vectors of tokens: random forests and XGBoost."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from genomelm_utils.genomenlp.options import (
    FORMATS,
    MODES,
    PROGRAM,
    add_out,
    add_seed,
    share,
    whole,
)
from genomelm_utils.genomenlp.rows import (
    add_groups,
    add_ignored,
    check_ids,
    read_sets,
    read_vocabulary,
)

if TYPE_CHECKING:
    from genomelm_utils.tasks.token_pipelines import PipelineResult, PipelineSettings

METRICS = ("accuracy", "f1", "precision", "recall", "roc_auc")
SHARES = {"train": 0.90, "test": 0.05, "val": 0.05}  # Source: genomeNLP
EXAMPLES = {
    "freq_pipeline": """examples:
  {program} freq_pipeline --infile_path dataset/train.csv dataset/test.csv -t tokeniser.json \\
      -f tfidf -m rf -o results/
All files together are split anew, what is made of one sequence into one part. Baselines that look
at GC, length, composition and words stand beside the model in test_scores.tsv.""",
    "embedding_pipeline": """examples:
  {program} embedding_pipeline --infile_path dataset/train.csv -t tokeniser.json \\
      --embedding embed/kmers.model -m xg -o results/""",
}


def add_freq_pipeline(parser: argparse.ArgumentParser) -> None:
    """Options of `freq_pipeline`."""
    add = parser.add_argument
    add("-f", "--freq_method", choices=("tfidf", "cvec"), default="tfidf", help="[tfidf]")
    add("--ngram_from", type=whole(1), default=1, help="[1]")
    add("--ngram_to", type=whole(1), default=1, help="[1]")
    add("--words", choices=MODES, default="corrected", help="reference: drops one-letter tokens")
    _add_common(parser, "the most frequent n-grams")


def add_embedding_pipeline(parser: argparse.ArgumentParser) -> None:
    """Options of `embedding_pipeline`."""
    add = parser.add_argument
    add("--embedding", type=Path, required=True, metavar="MODEL", help="kmers.model, of word2vec")
    add("--weighting", choices=("mean", "tfidf", "sif"), default="mean", help="[mean]")
    add("-f", "--freq_method", default="embed", help="not used")
    add("--level", choices=MODES, default="corrected", help="reference: classifies single tokens")
    _add_common(parser, "the features with the largest ANOVA F")


def _add_common(parser: argparse.ArgumentParser, features: str) -> None:
    add = parser.add_argument
    add("--infile_path", "-i", type=Path, nargs="+", required=True, metavar="DATA")
    add("--format", choices=FORMATS, help="not used: the name of the file says it")
    add("-t", "--tokeniser_path", type=Path, required=True, metavar="JSON", help="the tokenizer")
    add("-m", "--model", choices=("rf", "xg"), default="rf", help="random forest or XGBoost [rf]")
    add("-e", "--model_features", type=whole(0), default=0, help=f"keep {features} [0: all]")
    add("-k", "--kfolds", type=whole(2), default=8, help="[8]")
    add("--show_features", type=whole(1), default=50, help="importances that are shown [50]")
    for name, value in SHARES.items():
        add(f"--split_{name}", type=share, default=value, metavar="SHARE", help=f"[{value}]")
    folder = Path("results_out")
    add_out(parser, ("-o", "--output_dir"), f"a new folder [{folder}]", default=folder)
    add("-w", "--param_space", type=Path, metavar="JSON", help='{"max_depth": [2, 5]}')
    add("--sweep_method", choices=("grid", "random", "bayes"), default="random", help="[random]")
    add("-n", "--sweep_count", type=whole(0), default=8, help="settings tried [8; 0: whole grid]")
    add("-c", "--metric_opt", choices=METRICS, default="f1", help="[f1]")
    add("-j", "--njobs", type=int, default=-1, help="processes [-1: all cores]")
    add("--protocol", choices=MODES, default="corrected", help="reference: as released, leaks")
    add_groups(parser)
    add_ignored(
        parser,
        ("--chunk_size", "nothing is chunked"),
        ("-s", "--vocab_size", "the tokenizer has it"),
        ("-d", "--pre_dispatch", "there is no queue"),
    )
    add_seed(parser)


def freq_pipeline(given: argparse.Namespace) -> list[str]:
    """Counts of tokens, a forest, tests and importances."""
    from genomelm_utils.tasks.token_pipelines import count_features, run_pipeline

    vocabulary, rows = _read(given)
    learn = count_features(
        vocabulary,
        method=given.freq_method,
        ngrams=(given.ngram_from, given.ngram_to),
        words=given.words,
        max_features=given.model_features or None,
    )
    return _write(given, run_pipeline(rows, learn, _settings(given)))


def embedding_pipeline(given: argparse.Namespace) -> list[str]:
    """Vectors of tokens, a forest, tests and importances."""
    from genomelm_utils.baselines.word2vec import load_word2vec, token_vectors
    from genomelm_utils.tasks.token_pipelines import (
        run_pipeline,
        select_features,
        vector_features,
    )

    vocabulary, rows = _read(given)
    vectors = token_vectors(load_word2vec(given.embedding))
    if given.level == "reference":
        return _classify_tokens(given, rows, vocabulary, vectors)
    learn = vector_features(vectors, vocabulary, weighting=given.weighting)
    if given.model_features:
        learn = select_features(learn, given.model_features)
    return _write(given, run_pipeline(rows, learn, _settings(given)))


def _read(given: argparse.Namespace):
    from genomelm_utils.command_outputs import check_new_folder

    check_new_folder(given.out)
    vocabulary, _ = read_vocabulary(given.tokeniser_path)
    rows = read_sets(given.infile_path)
    check_ids(rows, vocabulary, given.tokeniser_path)
    return vocabulary, rows


def _settings(given: argparse.Namespace) -> "PipelineSettings":
    from genomelm_utils.baselines.forests import read_space
    from genomelm_utils.tasks.token_pipelines import PipelineSettings

    return PipelineSettings(
        model=given.model,
        search=given.sweep_method,
        n_candidates=given.sweep_count,
        metric=given.metric_opt,
        space=read_space(given.param_space, given.model) if given.param_space else None,
        k=given.kfolds,
        shares={
            "train": given.split_train, "test": given.split_test, "valid": given.split_val,
        },
        groups=given.groups,
        word=given.word,
        protocol=given.protocol,
        shown=given.show_features,
        n_jobs=given.njobs,
        seed=given.seed,
    )  # fmt: skip


def _write(given: argparse.Namespace, result: "PipelineResult") -> list[str]:
    from genomelm_utils.baselines.forests import save_forest
    from genomelm_utils.baselines.letter_models import LETTER_BASELINES
    from genomelm_utils.command_outputs import describe_run, tell
    from genomelm_utils.figures.classification import describe_scores, plot_feature_importance
    from genomelm_utils.figures.style import new_figure
    from genomelm_utils.training.checkpoint import write_folder

    for name, reason in result.left_out.items():
        tell(f"baseline {name} is left out: {reason}")
    auc = result.folds.folds.query("metric == 'auc'")["value"]
    with write_folder(given.out) as folder:
        save_forest(result.fitted, folder)
        tables = {
            "test_scores": result.test, "candidates": result.search.candidates,
            "cval_scores": result.folds.folds, "cval_summary": result.folds.summary,
            "mdi_scores": result.impurity, "per_scores": result.permutation,
            "cval_auc": auc.rename("roc_auc_scores").to_frame(),
        }  # fmt: skip
        for name, table in tables.items():
            table.to_csv(folder / f"{name}.tsv", sep="\t", index=False)
        for name, what in (("mdi", "mean decrease of impurity"), ("per", "loss of ROC-AUC")):
            table = tables[f"{name}_scores"]
            n = min(given.show_features, len(table))
            fig, axes = new_figure(height_mm=20 + 4 * n)
            plot_feature_importance(table, axes[0, 0], n=n, what=what)
            fig.savefig(folder / f"{name}_scores.pdf", metadata={"CreationDate": None})
        found = {"best": result.search.params, "n_rows": result.n_rows}
        text = describe_run(given, PROGRAM, **found, left_out=result.left_out)
        (folder / "pipeline.json").write_text(text)
    baselines = list(LETTER_BASELINES)
    return [
        f"{given.out}: rows {', '.join(f'{k} {v:,}' for k, v in result.n_rows.items())}",
        describe_scores(result.test, baselines),
        describe_scores(result.test, baselines, "auc"),
        f"ROC-AUC of {len(auc)} folds: mean {auc.mean():.4f}, {auc.min():.4f} to {auc.max():.4f}",
    ]


def _classify_tokens(given: argparse.Namespace, rows, vocabulary, vectors) -> list[str]:
    """As released: single tokens, each with the label of its sequence."""
    from genomelm_utils.baselines.word2vec import TokenSentences, token_table
    from genomelm_utils.command_outputs import describe_run
    from genomelm_utils.datasets.row_groups import list_rows
    from genomelm_utils.tasks.token_pipelines import run_token_pipeline
    from genomelm_utils.training.checkpoint import write_folder

    table = token_table(vectors, TokenSentences(list_rows(rows), vocabulary), rows.labels)
    search, auc = run_token_pipeline(*table, _settings(given))
    with write_folder(given.out) as folder:
        search.candidates.to_csv(folder / "candidates.tsv", sep="\t", index=False)
        text = describe_run(given, PROGRAM, best=search.params, token_auc=auc)
        (folder / "pipeline.json").write_text(text)
    return [
        f"{given.out}: {len(table[0]):,} single tokens; ROC-AUC {auc:.4f} on test tokens, "
        "which are the training tokens again"
    ]
