"""Stage 12: which sequences are explained, the classifiers trained for it, methods side by side.

Shapes: S sequences, L bases.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from genomelm_utils.datasets.expression_set import ExpressionSet
from genomelm_utils.datasets.fewshot import SETS, load_fewshot
from genomelm_utils.evaluation.metrics import classification_metrics
from genomelm_utils.evaluation.statistics import mean_interval
from genomelm_utils.interpretation.attribution import COMPLETE, Attribution, attribute
from genomelm_utils.interpretation.explained import Explained
from genomelm_utils.interpretation.explained_tokens import ExpressionRegressor, KmerClassifier
from genomelm_utils.interpretation.planted import RANDOM, random_scores, recovery_table
from genomelm_utils.models.presets import bert_config
from genomelm_utils.sequences.alphabet import decode, encode, reverse_complement
from genomelm_utils.sequences.simulate_planted import MOTIFS, simulate_planted
from genomelm_utils.tasks.classification import Classifier, Settings, fine_tune
from genomelm_utils.tasks.regressor import load_regressor

if TYPE_CHECKING:  # a run is handed in: only its type is named here
    from genomelm_utils.pipeline.context import Parent, Run

logger = logging.getLogger(__name__)

PLANTED = "planted"
CLASSES = {PLANTED: ("background", "motifs"), "Splice-40": ("neither", "donor", "acceptor")}
POSITIVE = 1


@dataclass(frozen=True)
class Study:
    """train, test: (base codes, labels). truth: bool [L] of every test sequence, None where it is
    not known. classes: names."""

    train: tuple[list[np.ndarray], np.ndarray]
    test: tuple[list[np.ndarray], np.ndarray]
    truth: list[np.ndarray] | None
    classes: tuple[str, ...]

    def positives(self, n: int) -> np.ndarray:
        """The first `n` test sequences of class 1 (with a planted base, where that is known)."""
        found = np.flatnonzero(self.test[1] == POSITIVE)
        if self.truth is not None:
            found = np.array([s for s in found if self.truth[s].any()], dtype=np.int64)
        if not len(found):
            raise ValueError("no test sequence of class 1; nothing to explain")
        return found[:n]


def open_study(run: "Run") -> Study:
    """The set that a run of notebook 12 asks for: planted words, or a published few-shot set."""
    name, n_train, seed = run.params["dataset"], run.params["n_train"], run.seed
    if name == PLANTED:
        n_test = run.params["n_test"]
        made = simulate_planted(np.random.default_rng(seed), n_train + n_test)
        codes, labels, truth = list(made.codes_SL), made.labels, list(made.truth_SL)
        test = codes[n_train:], labels[n_train:]
        return Study((codes[:n_train], labels[:n_train]), test, truth[n_train:], CLASSES[PLANTED])
    for file in run.params["files"]:
        run.data(file)
    shots = max(n_train // SETS[name].n_classes, 1)
    train, test, _ = load_fewshot(name, shots, draw=0, as_shipped=False, seed=seed)
    order = np.random.default_rng(seed).permutation(len(test))[: run.params["n_test"]]
    chosen = test.take(np.sort(order))
    classes = CLASSES.get(name, ("negative", "positive"))
    pair = [(list(one.codes), one.labels) for one in (train, chosen)]
    return Study(pair[0], pair[1], None, classes)


def describe_study(study: Study) -> str:
    """A sentence: how many sequences, how long, how much is planted."""
    lengths = np.array([len(one) for one in study.test[0]])
    told = (
        f"{len(study.train[1]):,} sequences to learn from, {len(study.test[1]):,} to test, of "
        f"{lengths.min()} to {lengths.max()} bp; classes {', '.join(study.classes)}."
    )
    if study.truth is None:
        return f"{told} Which bases matter is not known here."
    share = np.mean([one.mean() for one in study.truth if one.any()])
    return f"{told} In class {study.classes[POSITIVE]} {share:.1%} of the bases are planted."


def train_classifiers(
    study: Study,
    ks: Sequence[int],
    *,
    preset: str,
    settings: Settings,
    seed: int,
    pretrained: Mapping[int, Path] | None = None,
) -> dict[int, Classifier]:
    """k -> fine-tuned classifier; from the pretrained model of that k, or else random weights."""
    found = {}
    longest = max(len(one) for one in study.train[0]) + 2
    for k in ks:
        source = (pretrained or {}).get(k)
        if source is None:
            source = bert_config(preset, k, max_position_embeddings=min(512, max(longest, 16)))
            logger.info("k = %d: random weights", k)
        found[k] = fine_tune(
            source, study.train, k=k, settings=settings, seed=seed, n_classes=len(study.classes)
        )
    return found


def score_classifiers(study: Study, classifiers: Mapping[int, Classifier]) -> pd.DataFrame:
    """k, accuracy, auc, collapsed on the test sequences: an attribution of a model that has not
    learned says nothing."""
    rows = []
    for k, classifier in classifiers.items():
        metrics = classification_metrics(classifier.predict(study.test[0]), study.test[1])
        rows.append({"k": k, **{name: metrics[name] for name in ("accuracy", "auc", "collapsed")}})
    return pd.DataFrame(rows)


def explain_with_all(
    model: Explained, codes: Sequence[np.ndarray], methods: Sequence[str], **options: object
) -> dict[str, Attribution]:
    """method -> attribution towards class 1; a method the network does not allow is left out, with
    the reason in the log."""
    found = {}
    for method in methods:
        try:
            found[method] = attribute(model, list(codes), method, target=POSITIVE, **options)
        except ValueError as error:
            if method != "deeplift":
                raise
            logger.warning("deeplift is left out: %s", error)
    return found


def completeness_table(found: Mapping[str, Attribution]) -> pd.DataFrame:
    """method, difference (mean), total (mean), largest_gap: of the methods that claim to sum up."""
    rows = []
    for method in [name for name in COMPLETE if name in found]:
        table = found[method].table
        difference = table["value"] - table["baseline_value"]
        gap = table["gap"].abs().max()
        rows.append((method, difference.mean(), table["total"].mean(), gap))
    return pd.DataFrame(rows, columns=["method", "difference", "total", "largest_gap"])


def describe_completeness(table: pd.DataFrame) -> str:
    """A sentence: sums against differences, and the largest gap."""
    if table.empty:
        return "None of the methods asked for claims to sum up."
    told = [
        f"{row.method.replace('_', ' ')}: mean sum {row.total:.3f}, mean difference "
        f"{row.difference:.3f}, largest gap {row.largest_gap:.2g}"
        for row in table.itertuples()
    ]
    return f"Sum of the scores against the difference from the baseline. {'; '.join(told)}."


def compare_methods(
    found: Mapping[str, Attribution],
    attention: Mapping[str, Sequence[np.ndarray]],
    truth: Sequence[np.ndarray],
    seed: int,
) -> pd.DataFrame:
    """`recovery_table` of all methods, attention and random scores."""
    scores = {method: one.base for method, one in found.items()}
    scores |= dict(attention) | {RANDOM: random_scores(truth, seed)}
    return recovery_table(scores, truth)


def profile_regressor(
    folder: Path, promoters: ExpressionSet, tissue: str, *, n: int, span_bp: int, steps: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(mean |attribution| by distance from the TSS; completeness) of an expression model.

    Integrated gradients of the first `n` test promoters (one distance to the TSS each, so those
    with the most common gap). Columns distance_bp, mean, se, n.
    """
    test = promoters.select("test")
    gaps = test.genes["gap_bp"].fillna(0).astype(int)
    gap = int(gaps.mode().iloc[0])
    chosen = np.flatnonzero(gaps == gap)[:n]
    codes = [encode(test.genes["sequence"].iloc[i]) for i in chosen]
    model = ExpressionRegressor(load_regressor(folder), gap)
    one = attribute(model, codes, target=tissue, steps=steps)
    width = min(span_bp, min(map(len, codes)))
    size_SL = np.abs([score[-width:] for score in one.base])
    rows = []
    for place in range(width):
        interval = mean_interval(size_SL[:, place], unit="promoter")
        se = size_SL[:, place].std(ddof=1) / np.sqrt(len(codes)) if len(codes) > 1 else np.nan
        rows.append((place - width - gap, interval.mean, se, len(codes)))
    table = pd.DataFrame(rows, columns=["distance_bp", "mean", "se", "n"])
    return table, completeness_table({one.method: one})


def describe_profile(table: pd.DataFrame, planted: pd.DataFrame | None) -> str:
    """A sentence: where attributions are largest, and planted places against all others."""
    smooth = table["mean"].rolling(10, min_periods=1, center=True).mean()
    top = int(table["distance_bp"].iloc[int(smooth.idxmax())])
    told = (
        f"Over {int(table['n'].iloc[0])} promoters the attributions are largest at {top} bp (mean "
        "of ten bases)"
    )
    if planted is None or planted.empty:
        return f"{told}."
    inside = np.zeros(len(table), dtype=bool)
    for row in planted.itertuples():
        inside |= table["distance_bp"].between(row.first_bp, row.last_bp).to_numpy()
    means = [table["mean"][mask].mean() for mask in (inside, ~inside)]
    times = means[0] / means[1]
    return f"{told}; where motifs are planted they are {times:.2f} times those elsewhere."


def as_explained(classifier: Classifier, study: Study) -> KmerClassifier:
    """A classifier of this study for `attribute`."""
    return KmerClassifier(classifier, study.classes)


def open_pretrained(run: "Run") -> dict[int, Path]:
    """k -> folder of the pretrained model that `model` names; empty where it names none."""
    return {parent.params["k"]: parent.path("checkpoints/final") for parent in run.parents("model")}


def write_report(
    path: Path, model: Explained, study: Study, rows: Sequence[int], found: Attribution
) -> Path:
    """The page of attributions of these test sequences, with their true labels."""
    from genomelm_utils.interpretation.attribution_html import predicted_labels, write_page

    codes = [study.test[0][s] for s in rows]
    predicted = predicted_labels(model.predict(codes), model.outputs, model.kind)
    names = [f"test {s}" for s in rows]
    true = [study.classes[study.test[1][s]] for s in rows]
    return write_page(path, found, names, predicted, true)


def find_variants(
    run: "Run", model: Explained, study: Study, row: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(effects, variants left out): of the run's list on its sequences, or, without a list, of
    every single-base change of one test sequence."""
    from genomelm_utils.interpretation.variant_files import read_variants
    from genomelm_utils.interpretation.variants import score_variants, snp_table
    from genomelm_utils.sequences.fasta import read_fasta

    if not run.params["variants_file"]:
        name = [f"test {row}"]
        table = snp_table(model, [study.test[0][row]], target=POSITIVE, names=name)
        return table, pd.DataFrame(columns=["name", "reason"])
    if not run.params["sequences_file"]:
        raise ValueError(
            "variants_file is given without sequences_file; name the FASTA its records are in"
        )
    records = read_fasta(run.data(run.params["sequences_file"]))
    bounds = zip(records.starts[:-1], records.starts[1:], strict=True)
    by_name = {
        name: records.codes[begin:end]
        for name, (begin, end) in zip(records.names, bounds, strict=True)
    }
    variants, _ = read_variants(run.data(run.params["variants_file"]))
    window = len(study.test[0][row])
    return score_variants(
        model, by_name, variants, target=POSITIVE, window_bp=window, on_mismatch="skip"
    )


def motif_table(motifs: Sequence) -> pd.DataFrame:
    """word, n_windows, n_sequences, q_value of attention motifs."""
    rows = [
        (one.word, len(one.windows), one.windows["sequence"].nunique(), one.q_value)
        for one in motifs
    ]
    return pd.DataFrame(rows, columns=["word", "n_windows", "n_sequences", "q_value"])


def describe_motifs(table: pd.DataFrame, tested: pd.DataFrame, planted: Sequence[str] = ()) -> str:
    """A sentence: how many words were tested and kept, and whether they lie in planted ones."""
    told = f"{len(tested):,} words of high attention were tested, {len(table)} motifs are left"
    if table.empty:
        return f"{told}."
    top = table.iloc[0]
    told += (
        f"; the largest is {top['word']} with {top['n_windows']} windows (q {top['q_value']:.2g})"
    )
    if not planted:
        return f"{told}."
    n_inside = sum(any(shared(word, one) for one in planted) for word in table["word"])
    return f"{told}. {n_inside} of them share five bases or more with a planted word."


def shared(a: str, b: str, n: int = 5) -> bool:
    """Whether two words have n bases in a row in common."""
    return any(a[i : i + n] in b for i in range(len(a) - n + 1))


def planted_words() -> list[str]:
    """The planted words and their reverse complements."""
    words = [motif.consensus for motif in MOTIFS]
    return [*words, *(decode(reverse_complement(encode(word))) for word in words)]


def open_promoters(run: "Run") -> ExpressionSet:
    """The promoters that the run's parameter `promoters` names."""
    return ExpressionSet.load(run.parent("promoters").path("expression"))


def planted_places(parent: "Parent") -> pd.DataFrame | None:
    """Where motifs stand in simulated promoters: motif, first_bp, last_bp; None in real ones."""
    return parent.table("planted") if "planted" in parent.tables else None
