"""The case studies of stage 06: two classes of sequences, from tokens to a verdict.

A network on learned tokens, forests on token counts and vectors, and baselines on plain letters are
tested in the same folds, which keep relatives together, and scored on the same pooled predictions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from genomelm_utils.baselines.forests import fit_forest
from genomelm_utils.baselines.letter_models import letter_probs, usable_baselines
from genomelm_utils.baselines.word2vec import TokenSentences, token_vectors, train_word2vec
from genomelm_utils.datasets.row_groups import group_rows, join_sets, list_rows
from genomelm_utils.datasets.token_reading import TokenSet, read_token_set
from genomelm_utils.evaluation.case_verdict import NETWORK
from genomelm_utils.evaluation.class_scores import (
    SCORES,
    resample_groups,
    score_classes,
    score_intervals,
)
from genomelm_utils.tasks.crossval import Fold, make_folds, split_valid
from genomelm_utils.tasks.sequence_models import SequenceModel, unigram_tokens
from genomelm_utils.tasks.sequence_sweep import Experiment, make_objective, select_rows
from genomelm_utils.tasks.sequence_validation import Collapsed, TrainingSettings
from genomelm_utils.tasks.token_pipelines import count_features, vector_features

if TYPE_CHECKING:
    from genomelm_utils.pipeline.context import Run

SHARES = {"train": 0.7, "test": 0.15, "valid": 0.15}
#: Settings of forests here, the same for all features; the search over them is `token_pipelines`.
FOREST = {"n_estimators": 200, "min_samples_leaf": 2}
BOOSTING = {"n_estimators": 200, "max_depth": 5, "learning_rate": 0.1, "colsample_bytree": 0.5}
N_RESAMPLES = 500


@dataclass(frozen=True)
class Case:
    """Two classes, tokenised. parts: names of rows per part; all: every row; groups: of its rows;
    tokenizer: file; vocabulary: the tokens as text; leaks: rows of a part that were trained on."""

    parts: dict[str, np.ndarray]
    all: TokenSet
    groups: np.ndarray
    tokenizer: Path
    vocabulary: list[str]
    counts: pd.DataFrame
    leaks: pd.DataFrame

    @property
    def rows(self) -> list[np.ndarray]:
        """Token ids of every row."""
        return list_rows(self.all)


def write_simulated(run: "Run", name: str = "promoter") -> list[Path]:
    """FASTA files of class 0 and 1 of a simulated set of stage 01, in the run's folder."""
    from genomelm_utils.datasets.labelled import read_labelled
    from genomelm_utils.sequences.fasta import write_fasta

    folder = run.parent("simulated").path(f"sets/{name}")
    out = run.path("sequences")
    tables = [read_labelled(folder / f"{part}.tsv") for part in ("train", "test")]
    files = []
    for label in (0, 1):
        named = [
            (f"{part}{i}", codes)
            for part, table in zip("ab", tables, strict=True)
            for i, (codes, given) in enumerate(zip(table.codes, table.labels, strict=True))
            if given == label
        ]
        files.append(out / f"class{label}.fa")
        write_fasta(files[-1], *zip(*named, strict=True))
    return files


def open_files(run: "Run") -> list[Path]:
    """The FASTA files of class 0 and 1: of the run's `files`, or simulated ones."""
    named = run.params["files"]
    if not named:
        return write_simulated(run)
    if len(named) != 2:
        raise ValueError(f"files names {len(named)} files, expected two: class 0, then class 1")
    return [run.data(name) for name in named]


def make_case(
    files: Sequence[Path],
    class_names: Sequence[str],
    folder: Path,
    *,
    vocab_size: int,
    word: int,
    seed: int = 1,
) -> Case:
    """Tokens learned from the sequences, and a data set whose parts share no `word` letters.

    folder: for the tokenizer and the data set; what is there is taken again. Tokens are learned
    from all sequences without looking at classes, as released.
    """
    from genomelm_utils.datasets.class_records import FastaClasses
    from genomelm_utils.datasets.split_plan import PARTS, Cut, plan_split
    from genomelm_utils.datasets.token_sets import LEAKS, create_token_set
    from genomelm_utils.tokenizers.unigram import (
        load_unigram,
        save_unigram,
        train_unigram_on_files,
    )
    from genomelm_utils.tokenizers.unigram_encoding import LetterEncoder

    tokenizer, data = folder / "tokeniser.json", folder / "data"
    if not tokenizer.is_file():
        save_unigram(train_unigram_on_files(files, vocab_size).tokenizer, tokenizer)
    encoder = LetterEncoder(load_unigram(tokenizer))
    if not data.is_dir():
        records = FastaClasses(files, class_names)
        cut = Cut()
        plan = plan_split(
            records, records.kind, cut, shares=SHARES, groups="shared_words", word=word, seed=seed
        )
        create_token_set(
            records, records.kind, records.class_names, encoder.encode, data, plan, cut,
            formats=["parquet"], seed=seed,
        )  # fmt: skip
    sets = {part: read_token_set(data / f"{part}.parquet", class_names) for part in PARTS}
    every = join_sets(list(sets.values()))
    ends = np.cumsum([len(one) for one in sets.values()])
    parts = {
        part: np.arange(end - len(one), end)
        for (part, one), end in zip(sets.items(), ends, strict=True)
    }
    counts = pd.DataFrame(
        [
            (part, name, int(n), float(one.n_tokens.mean()))
            for part, one in sets.items()
            for name, n in zip(one.class_names, one.class_counts, strict=True)
        ],
        columns=["part", "label", "n_rows", "mean_tokens"],
    )
    leaks = pd.read_csv(data / LEAKS, sep="\t")
    groups = group_rows(every, "shared_words", word)
    vocabulary = [*encoder.tokens, "<sep>", "<cls>"]
    return Case(parts, every, groups, tokenizer, vocabulary, counts, leaks)


def make_experiment(
    case: Case, kind: str, settings: TrainingSettings, **sizes: float
) -> Experiment:
    """The network of this case, with what every training has in common."""
    tokens = unigram_tokens(len(case.vocabulary) - 2, case.vocabulary.index("<pad>"))
    return Experiment(kind, tokens, case.all.class_names, settings, sizes, tokenizer=case.tokenizer)


def sweep_case(
    case: Case,
    experiment: Experiment,
    sweep: Mapping[str, Any],
    folder: Path,
    *,
    n_runs: int,
    percent: float = 100,
    seed: int = 1,
):
    """A sweep on the training rows (or `percent` % of them), judged on the validation rows."""
    from genomelm_utils.datasets.row_groups import take_percent
    from genomelm_utils.tasks.sweep import run_sweep

    rows, labels = case.rows, case.all.labels
    chosen = case.parts["train"]
    # parts hold rows in random order, so every k-th is a random sample
    train = chosen[take_percent(len(chosen), percent)]
    objective = make_objective(
        experiment, select_rows(rows, labels, train), select_rows(rows, labels, case.parts["valid"])
    )
    return run_sweep(sweep, objective, folder, n_runs=n_runs, seed=seed)


def train_case(
    case: Case, experiment: Experiment, config: Mapping[str, Any], *, seed: int = 1
) -> SequenceModel:
    """The best configuration trained on all training rows."""
    rows, labels = case.rows, case.all.labels
    train, valid = (select_rows(rows, labels, case.parts[p]) for p in ("train", "valid"))
    return experiment.train(train, valid, config, seed=seed)


def predict_folds(
    case: Case,
    experiment: Experiment,
    config: Mapping[str, Any],
    *,
    k: int,
    seed: int = 1,
    with_network: bool = True,
) -> tuple[dict[str, np.ndarray], dict[str, str], list[Fold]]:
    """Class probabilities of every row by every method, each row from the fold it is tested in.

    Returns (method -> [R, C], method that was left out -> why, folds). The configuration of the
    network was chosen on rows that folds test too: what that is worth is small beside the leak of
    going on from trained weights, but it favours the network, not the baselines.
    """
    labels, texts = case.all.labels, case.all.features
    folds = make_folds(labels, case.groups, k, seed=seed)
    reasons = usable_baselines(texts)
    found: dict[str, np.ndarray] = {}
    left_out = {name: reason for name, reason in reasons.items() if reason}
    methods = [name for name, reason in reasons.items() if not reason]
    for name in methods:
        found[name] = np.full((len(labels), 2), np.nan)
    forests = _learners(case, seed)
    for name in forests:
        found[name] = np.full((len(labels), 2), np.nan)
    if with_network:
        found[NETWORK] = np.full((len(labels), 2), np.nan)
    rows = case.rows
    for i, (train, test) in enumerate(folds):
        known = [texts[j] for j in train], labels[train]
        for name in methods:
            found[name][test] = letter_probs(name, known, [texts[j] for j in test], 2)
        for name, (learn, model) in forests.items():
            transform, _ = learn([rows[j] for j in train], labels[train])
            params = FOREST if model == "rf" else BOOSTING
            fitted = fit_forest(
                transform([rows[j] for j in train]), labels[train], params, model=model, seed=seed
            )
            found[name][test] = fitted.predict_proba(transform([rows[j] for j in test]))
        if with_network:
            fit, watch = split_valid(train, labels, case.groups, seed)
            try:
                trained = experiment.train(
                    select_rows(rows, labels, fit), select_rows(rows, labels, watch), config,
                    seed=seed + i,
                )  # fmt: skip
                found[NETWORK][test] = trained.predict([rows[j] for j in test])
            except Collapsed as error:
                left_out[NETWORK] = f"fold {i}: {error}"
                found.pop(NETWORK)
                with_network = False
    return found, left_out, folds


def _learners(case: Case, seed: int) -> dict[str, Any]:
    """Features and kind of forest by name; word2vec is trained on all rows, without classes."""
    learners = {
        "TF-IDF + random forest": (count_features(case.vocabulary), "rf"),
        "TF-IDF + XGBoost": (count_features(case.vocabulary), "xg"),
    }
    sentences = TokenSentences(case.rows, case.vocabulary)
    vectors = token_vectors(train_word2vec(sentences, sample=0, seed=seed))
    learners["word2vec + XGBoost"] = (vector_features(vectors, case.vocabulary), "xg")
    return learners


def score_methods(case: Case, found: Mapping[str, np.ndarray], seed: int = 1) -> pd.DataFrame:
    """Columns method, metric, value, low, high, n_groups: of pooled predictions, over groups."""
    parts = []
    for name, probs in found.items():
        table = score_intervals(
            probs, case.all.labels, np.random.default_rng([seed, 1]), groups=case.groups,
            n_resamples=N_RESAMPLES,
        )  # fmt: skip
        table.insert(0, "method", name)
        parts.append(table)
    return pd.concat(parts, ignore_index=True)


def score_folds(case: Case, found: Mapping[str, np.ndarray], folds: Sequence[Fold]) -> pd.DataFrame:
    """Columns method, fold, n_test, f1, auc, mcc: of each fold by itself."""
    labels = case.all.labels
    rows = []
    for name, probs in found.items():
        for i, (_, test) in enumerate(folds):
            scores = score_classes(probs[test], labels[test])
            rows.append((name, i, len(test), *(scores[m] for m in ("f1", "auc", "mcc"))))
    return pd.DataFrame(rows, columns=["method", "fold", "n_test", "f1", "auc", "mcc"])


def compare_with(
    case: Case, found: Mapping[str, np.ndarray], method: str = NETWORK, *, metric: str = "f1",
    seed: int = 1,
) -> pd.DataFrame:  # fmt: skip
    """Differences of one method from every other, paired over the same resampled groups.

    Columns other, metric, difference, low, high; empty where the method is not there.
    """
    if metric not in SCORES:
        raise ValueError(f"metric is {metric!r}, expected one of {', '.join(SCORES)}")
    columns = ["other", "metric", "difference", "low", "high"]
    if method not in found:
        return pd.DataFrame(columns=columns)
    labels, rng = case.all.labels, np.random.default_rng([seed, 2])
    drawn = resample_groups(len(labels), case.groups, rng, N_RESAMPLES)

    def values(probs: np.ndarray) -> np.ndarray:
        return np.array([score_classes(probs[rows], labels[rows])[metric] for rows in drawn])

    own, own_value = values(found[method]), score_classes(found[method], labels)[metric]
    table = []
    for other, probs in found.items():
        if other != method:
            low, high = np.nanquantile(own - values(probs), [0.025, 0.975])
            difference = own_value - score_classes(probs, labels)[metric]
            table.append((other, metric, difference, low, high))
    return pd.DataFrame(table, columns=columns)


def small_sweep(epochs: int, method: str = "random") -> dict[str, Any]:
    """A sweep for networks of one or two layers: rates higher than those of 61 million parameters.

    In the form of Weights & Biases' files; `open_sweep` reads a file in its place.
    """
    return {
        "name": "small",
        "method": method,
        "metric": {"name": "eval/f1", "goal": "maximize"},
        "parameters": {
            "epochs": {"value": epochs},
            "batch_size": {"values": [16, 32, 64]},
            "learning_rate": {"distribution": "log_uniform_values", "min": 3e-4, "max": 1e-2},
            "weight_decay": {"values": [0.0, 0.1, 0.3]},
            "dropout": {"values": [0.0, 0.1, 0.2]},
        },
        "early_terminate": {"type": "hyperband", "min_iter": 2, "eta": 3},
    }


def open_sweep(run: "Run") -> Mapping[str, Any] | Path:
    """The sweep of a run: its file, or a small one."""
    if run.params["sweep_file"]:
        return run.data(run.params["sweep_file"])
    return small_sweep(run.params["sweep_epochs"], run.params["sweep_method"])


def explain_rows(
    case: Case, trained: SequenceModel, path: Path, *, n: int, part: str = "test"
) -> pd.DataFrame:
    """A page of attributions of the first n rows of a part; tokens by their mean score.

    Columns output, token, n, mean_score: of tokens that occur three times or more, the strongest
    first.
    """
    from genomelm_utils.interpretation.attribution import attribute
    from genomelm_utils.interpretation.attribution_html import predicted_labels, write_page
    from genomelm_utils.interpretation.explained_letters import LetterClassifier, as_letters
    from genomelm_utils.tokenizers.seen_kmers import load_encoder

    model = LetterClassifier(trained, load_encoder(case.tokenizer))
    rows = case.parts[part][:n]
    letters = as_letters([case.all.features[i] for i in rows])
    found = attribute(model, letters, scale="probability", baseline="pad", steps=20)
    predicted = predicted_labels(model.predict(letters), model.outputs, model.kind)
    names = [case.all.names[i] for i in rows]
    true = [case.all.class_names[case.all.labels[i]] for i in rows]
    write_page(path, found, names, predicted, true)
    tokens = found.tokens[found.tokens["end"] > found.tokens["start"]]
    output = found.table["output"].to_numpy()[tokens["sequence"]]
    tokens = tokens.assign(output=output, token=tokens["token"].str.lstrip("▁"))
    table = tokens.groupby(["output", "token"], as_index=False)["score"].agg(
        n="size", mean_score="mean"
    )
    table = table[table["n"] >= 3]
    return table.sort_values(["output", "mean_score"], ascending=[True, False], ignore_index=True)


def compare_spectra(
    trained: SequenceModel, experiment: Experiment, config: Mapping[str, Any], folder: Path
) -> pd.DataFrame:
    """Alphas of the trained network and of the same network before training, layer by layer.

    The weights before training are those of the attempt that succeeded.
    """
    from genomelm_utils.evaluation.weight_spectra import analyse_model
    from genomelm_utils.models.sequence_classifier import build_network
    from genomelm_utils.training.checkpoint import hide_bars

    _, config_of_network = experiment.resolve(config)
    trained.save(folder / "trained", experiment.tokenizer)
    seed = trained.attempts[-1]["seed"]
    with hide_bars():
        build_network(config_of_network, seed).save_pretrained(folder / "untrained")
    width = min(config_of_network.hidden_size, 50)
    parts = [
        analyse_model(folder / name, name, min_values=width) for name in ("trained", "untrained")
    ]
    return pd.concat(parts, ignore_index=True)
