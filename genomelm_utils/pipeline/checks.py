"""Parameters of one stage that contradict each other, found before anything starts.

A parameters cell says what each value may be by itself; here stands what it may be beside others.
"""

import inspect
from collections.abc import Callable, Iterator
from typing import Any

#: (parameter to change, what was expected of it)
Problem = tuple[str, str]

N_SPECIAL_TOKENS = 2  # [CLS] and [SEP] around every piece
MIN_BPE_VOCAB = 9  # five special tokens and the bases; as in `tokenizers.bpe`, which takes torch
#: Layers of `models.alibi_config`'s presets, which takes torch.
ALIBI_LAYERS = {"pico": 1, "nano": 1, "micro": 2, "mini": 2, "dnabert-s": 12}


def check_run(stage: str, values: dict[str, Any], where: str) -> None:
    """Nothing for parameters of a run that fit each other.

    A stage without checks, or whose notebook lacks one of the parameters they are about, passes.

    values: all parameters of the run. where: file and run, for the message.
    Raises ValueError for the first contradiction: the parameter, its value, what was expected.
    """
    check = CHECKS.get(stage)
    if check is None or not set(checked_names(check)) <= set(values):
        return
    for name, expected in check(**values):
        raise ValueError(f"{where}.{name} is {values[name]!r}, expected {expected}")


def checked_names(check: Callable[..., Iterator[Problem]]) -> list[str]:
    """The parameters that a check is about: its keyword-only arguments."""
    arguments = inspect.signature(check).parameters.values()
    return [item.name for item in arguments if item.kind is item.KEYWORD_ONLY]


def check_data(
    *,
    kind: str,
    files: list[str],
    n_species: int,
    n_train: int,
    together: list[str],
    expression_set: str,
    split: str,
    **_: Any,
) -> Iterator[Problem]:
    """Contradictions of 01_data."""
    wanted = {"genome": "FASTA files", "tables": "labelled tables, or folders of them"}
    if kind in wanted and not files:
        yield "files", f"{wanted[kind]}: kind is {kind}"
    if kind == "expression":
        if (expression_set == "simulated") == bool(files):
            wanted = "[]" if files else "the folder of the set"
            yield "files", f"{wanted}: expression_set is {expression_set}"
        if split == "published" and expression_set != "nam":
            yield "split", f"corrected or reference: {expression_set} has no published parts"
    if kind != "species":
        if together:
            yield "together", f"[]: kind is {kind}, which has no species"
        return
    n_tables = sum(name.endswith(".tsv") for name in files)
    if files and (n_tables != 1 or len(files) == 1):
        yield "files", "genome files or folders of them, and one table of their species (.tsv)"
    if not files and n_train >= n_species:
        yield "n_train", f"below n_species ({n_species}): some have to be left for test"


def check_tokenizers(*, bpe_vocab: int, tokenizer_folder: str, **_: Any) -> Iterator[Problem]:
    """Contradictions of 03_tokenizers."""
    if tokenizer_folder and bpe_vocab:
        yield "bpe_vocab", f"0: the vocabulary is read from tokenizer_folder ({tokenizer_folder})"
    if 0 < bpe_vocab < MIN_BPE_VOCAB:
        yield "bpe_vocab", f"0 (none), or at least {MIN_BPE_VOCAB}: special tokens and single bases"


def check_pretraining(
    *,
    preset: str,
    k: int,
    max_bases: int,
    max_positions: int,
    steps: int,
    warmup_steps: int,
    rows_per_step: int,
    micro_batches: int,
    **_: Any,
) -> Iterator[Problem]:
    """Contradictions of 04_pretraining."""
    made_for = preset.removeprefix("dnabert")
    if preset.startswith("dnabert") and made_for != str(k):
        yield "preset", f"'dnabert{k}', or another k: it is for k = {made_for}, and k is {k}"
    longest = max_positions - N_SPECIAL_TOKENS + k - 1  # n tokens of k bases span n + k - 1 bases
    if max_bases > longest:
        yield "max_bases", f"at most {longest}: more than max_positions ({max_positions}) tokens"
    if warmup_steps > steps:
        yield "warmup_steps", f"at most steps ({steps})"
    if micro_batches > rows_per_step:
        yield "micro_batches", f"at most rows_per_step ({rows_per_step})"


def check_fewshot(
    *,
    dataset: str,
    simulated: str,
    train_file: str,
    test_file: str,
    as_shipped: bool,
    keep_quotes: bool,
    draws: int,
    **_: Any,
) -> Iterator[Problem]:
    """Contradictions of 05_fewshot."""
    is_simulated, is_users = dataset.startswith("simulated-"), dataset == "user"
    if is_simulated and not simulated:
        yield "simulated", f"a run of 01_data: dataset is {dataset}"
    for name, file in (("train_file", train_file), ("test_file", test_file)):
        if is_users and not file:
            yield name, "a table with the columns sequence and label: dataset is user"
    for name, asked in (("as_shipped", as_shipped), ("keep_quotes", keep_quotes)):
        if asked and (is_simulated or is_users):
            yield name, f"False: dataset is {dataset}, which is not a published set"
    if as_shipped and draws != 1:
        yield "draws", "1: one draw is published (as_shipped)"


def check_species_pretraining(
    *,
    preset: str,
    start: str,
    pairs_file: str,
    error_rate: float,
    mlm_steps: int,
    objective: str,
    mix_layer: int,
    steps: int,
    first_steps: int,
    batch_pairs: int,
    chunk_pairs: int,
    method: str,
    strands: str,
    dropout: float,
    **_: Any,
) -> Iterator[Problem]:
    """Contradictions of 09_species_pretraining."""
    if start and mlm_steps:
        yield "mlm_steps", f"0: training starts from the model in start ({start})"
    if pairs_file and error_rate:
        yield "error_rate", f"0: pairs are read from pairs_file ({pairs_file}) as they are"
    if objective == "curriculum" and steps < 3 and not first_steps:
        yield "steps", "at least 3: a third of the curriculum is its first phase"
    if first_steps and objective != "curriculum":
        yield "first_steps", f"0: objective is {objective}, which has one phase"
    elif first_steps and first_steps >= steps:
        yield "first_steps", f"below steps ({steps}): the second phase takes the rest"
    n_layers = ALIBI_LAYERS[preset]
    if not start and objective in ("curriculum", "mix") and mix_layer >= n_layers:
        yield "mix_layer", f"-1 to {n_layers - 1}: preset {preset} has {n_layers} layers"
    if method == "double_strand" and strands == "both":
        yield "strands", "random or forward: over both strands the two views are the same"
    if method == "dropout" and not dropout:
        yield "dropout", "above 0: with method dropout nothing else tells the two views apart"
    if chunk_pairs > batch_pairs:
        yield "chunk_pairs", f"at most batch_pairs ({batch_pairs})"


def check_binning(
    *, contigs_from: str, files: list[str], shots: list[int], n_per_genome: int, **_: Any
) -> Iterator[Problem]:
    """Contradictions of 10_clustering_binning."""
    n_files = {"files": 2, "reads": 1, "table": 1, "cut": 0}[contigs_from]
    if len(files) != n_files:
        yield "files", f"{n_files} files: contigs_from is {contigs_from}"
    if contigs_from == "cut" and max(shots, default=0) >= n_per_genome:
        yield "shots", f"below n_per_genome ({n_per_genome}): one has to be left for test"


CHECKS: dict[str, Callable[..., Iterator[Problem]]] = {
    "01_data": check_data,
    "03_tokenizers": check_tokenizers,
    "04_pretraining": check_pretraining,
    "05_fewshot": check_fewshot,
    "09_species_pretraining": check_species_pretraining,
    "10_clustering_binning": check_binning,
}
