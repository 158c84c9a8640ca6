"""Token data sets and tokenizers as the verbs of models read them, with the options they share."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from genomelm_utils.genomenlp.data import SETTINGS
from genomelm_utils.genomenlp.options import whole

if TYPE_CHECKING:
    import numpy as np

    from genomelm_utils.datasets.token_reading import TokenSet
    from genomelm_utils.tasks.sequence_models import Tokens

GROUPS = ("sequence", "shared_words")
WORD = 40


def add_groups(parser: argparse.ArgumentParser) -> None:
    """What stays together in splits and folds."""
    add = parser.add_argument
    add("--groups", choices=GROUPS, default="sequence", help="what stays together [sequence]")
    add("--word", type=whole(1), default=WORD, help=f"letters, for shared_words [{WORD}]")


def add_ignored(parser: argparse.ArgumentParser, *flags: tuple[str, ...]) -> None:
    """Options of genomeNLP that have nothing to do here; `flags`: names, then what to say."""
    for *names, why in flags:
        parser.add_argument(*names, help=f"not used: {why}")


def find_class_names(path: Path) -> tuple[str, ...]:
    """What `create_dataset_bio` noted beside a file that only has numbers; () where it did not."""
    noted = path.parent / SETTINGS
    if not noted.is_file():
        return ()
    try:
        return tuple(json.loads(noted.read_text(encoding="utf-8")).get("classes", ()))
    except ValueError:
        return ()


def read_sets(paths: Sequence[Path], class_names: Sequence[str] = ()) -> "TokenSet":
    """All rows of some data sets; rows without tokens are left out and named."""
    import numpy as np

    from genomelm_utils.command_outputs import tell
    from genomelm_utils.datasets.row_groups import join_sets, take_rows
    from genomelm_utils.datasets.token_reading import read_token_set

    names = [class_names or find_class_names(path) for path in paths]
    sets = [read_token_set(path, known) for path, known in zip(paths, names, strict=True)]
    rows = join_sets(sets)
    if not len(rows):
        raise ValueError(f"{rows.source}: the data set has no rows")
    empty = np.flatnonzero(rows.n_tokens == 0)
    if len(empty):
        shown = ", ".join(rows.names[i] for i in empty[:10])
        tell(f"left out {len(empty)} rows without tokens ({shown})")
        rows = take_rows(rows, np.flatnonzero(rows.n_tokens))
    return rows


def read_vocabulary(path: Path) -> tuple[list[str], "Tokens"]:
    """The tokens of a tokenizer file as text by id (`<sep>` and `<cls>` last), and their facts."""
    from genomelm_utils.tasks.sequence_models import unigram_tokens
    from genomelm_utils.tokenizers.seen_kmers import load_encoder

    tokens = list(load_encoder(path).tokens)
    if "<pad>" not in tokens:
        raise ValueError(f"{path} has no token <pad>: make it with the special tokens")
    return [*tokens, "<sep>", "<cls>"], unigram_tokens(len(tokens), tokens.index("<pad>"))


def check_ids(rows: "TokenSet", vocabulary: Sequence[str], tokeniser: Path) -> None:
    """ValueError for ids that the tokenizer does not have."""
    if len(rows.ids) and int(rows.ids.max()) >= len(vocabulary):
        raise ValueError(
            f"{rows.source} has the token id {rows.ids.max()}, but {tokeniser} has "
            f"{len(vocabulary) - 2} tokens; is it the tokenizer the data set was made with?"
        )


def hold_out(
    rows: "TokenSet", given: argparse.Namespace, share: float = 0.1
) -> tuple["np.ndarray", "np.ndarray"]:
    """(rows to train on, rows to watch), groups whole: where no validation set was given."""
    import numpy as np

    from genomelm_utils.datasets.row_groups import group_rows
    from genomelm_utils.sequences.splits import split_stratified

    groups = group_rows(rows, given.groups, given.word)
    shares = {"train": 1 - share, "valid": share}
    parts = split_stratified(groups, rows.labels, shares, np.random.default_rng(given.seed))
    return parts["train"], parts["valid"]
