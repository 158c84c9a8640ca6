"""Unigram tokens (SentencePiece's algorithm) of DNA, RNA or protein, in genomeNLP's layout.

`<s> </s> <unk> <pad> <mask>` are 0..4, then the learned tokens by falling weight (log-probability);
a text is prefixed with `▁`, so its first token usually begins with it. The Hugging Face tokenizer
has two ids more, `<sep>` and `<cls>` (V and V+1), and puts nothing around a text.

Source: genomeNLP (Chen et al. 2023, bioRxiv 10.1101/2023.05.31.542682), released code.

Letters: V vocabulary, S texts.
"""

import gzip
import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from genomelm_utils.sequences.fasta import is_gzip
from genomelm_utils.sequences.letters import LetterStream

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

logger = logging.getLogger(__name__)

SPECIAL_TOKENS = ("<s>", "</s>", "<unk>", "<pad>", "<mask>")
UNK = "<unk>"
ADDED = {"sep_token": "<sep>", "cls_token": "<cls>"}  # in no file: the ids V and V + 1
SPACE = "▁"  # of Metaspace: stands before every text
VOCAB_SIZE = 32_000  # Source: genomeNLP, `tokenise_bio`
ENGINES = ("compiled", "tokenizers")
MODES = ("corrected", "reference")
_NAMES = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": UNK,
    "pad_token": "<pad>",
    "mask_token": "<mask>",
}


class Vocabulary(NamedTuple):
    """What was learned. tokenizer: to be used. n_asked, n_tokens: with special tokens; fewer than
    asked where the data do not hold as many. n_records, n_letters: what they were learned from."""

    tokenizer: "PreTrainedTokenizerFast"
    n_asked: int
    n_tokens: int
    n_records: int
    n_letters: int


def train_unigram(
    texts: Iterable[str],
    vocab_size: int = VOCAB_SIZE,
    *,
    special_tokens: Sequence[str] = SPECIAL_TOKENS,
    engine: str = "compiled",
) -> "PreTrainedTokenizerFast":
    """A unigram tokenizer of up to `vocab_size` tokens, learned from texts.

    No token crosses the end of a text. Few or short texts do not hold as many tokens as are asked
    for: then there are fewer, and the log says so. The same texts give the same tokens.

    special_tokens: the first ids; `<unk>` is needed.
    engine: "compiled" learns from texts of any length, at a byte per letter and some forty more
        while it runs; "tokenizers" is the library of that name, which takes three to ten times as
        long and, with texts of millions of letters, hundreds of bytes per letter. Both give the
        same tokens and, to nine digits, weights. Texts with spaces need "tokenizers".
    Raises: ValueError for texts that are too few, a vocabulary without room for special tokens and
        letters, or an unknown engine.
    """
    if engine not in ENGINES:
        raise ValueError(f"engine is {engine!r}, expected one of: {', '.join(ENGINES)}")
    if UNK not in special_tokens or len(set(special_tokens)) < len(special_tokens):
        raise ValueError(
            f"special tokens are {' '.join(special_tokens)}, expected different ones with {UNK}"
        )
    train = _train_compiled if engine == "compiled" else _train_library
    words = train(texts, vocab_size, list(special_tokens))
    if (n_tokens := len(words) + len(special_tokens)) < vocab_size:
        logger.warning(
            "the texts hold %d tokens, fewer than the %d asked for: no other word is repeated "
            "often enough",
            n_tokens,
            vocab_size,
        )
    return wrap_layout(make_layout(words, special_tokens))


def train_unigram_on_files(
    paths: Sequence[str | Path],
    vocab_size: int = VOCAB_SIZE,
    *,
    kind: str = "auto",
    case: str = "upper",
    break_size: int = 0,
    special_tokens: Sequence[str] = SPECIAL_TOKENS,
    engine: str = "compiled",
) -> Vocabulary:
    """Unigram tokens of FASTA files (plain or gzipped): each record, or piece of one, is a text.

    break_size: letters of a piece, 0 = whole records. No token is learned across two pieces, so a
        small size changes the vocabulary (see `compare.compare_contig_lengths`).
    kind, case: as in `sequences.letters.LetterStream`; "upper" because data sets are upper case.
    The other arguments and errors: as in `train_unigram`, and of `LetterStream`.
    """
    window = break_size or None
    streams = [LetterStream(path, kind=kind, case=case, window=window) for path in paths]
    if len({stream.kind.name for stream in streams}) > 1:
        found = ", ".join(f"{one.path.name} is {one.kind.name}" for one in streams)
        raise ValueError(f"files of different kinds ({found}): name the kind, or leave some out")
    texts = (window.text for stream in streams for window in stream)
    tokenizer = train_unigram(texts, vocab_size, special_tokens=special_tokens, engine=engine)
    return Vocabulary(
        tokenizer,
        vocab_size,
        tokenizer.backend_tokenizer.get_vocab_size(with_added_tokens=False),
        sum(stream.n_records for stream in streams),
        sum(stream.n_letters for stream in streams),
    )


def _train_compiled(
    texts: Iterable[str], vocab_size: int, special_tokens: list[str]
) -> list[tuple[str, float]]:
    from genomelm_utils.tokenizers.unigram_training import collect_texts, fit_unigram

    corpus = collect_texts(SPACE + text for text in _without_spaces(texts))
    return fit_unigram(corpus, vocab_size, len(special_tokens))


def _without_spaces(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        if text.split() not in ([], [text]):
            raise ValueError(f"a text holds a space ({text[:40]!r}): take engine 'tokenizers'")
        if text:
            yield text


def _train_library(
    texts: Iterable[str], vocab_size: int, special_tokens: list[str]
) -> list[tuple[str, float]]:
    from tokenizers import Tokenizer, models, trainers

    backend = Tokenizer.from_str(json.dumps(make_layout([], special_tokens)))
    backend.model = models.Unigram()
    trainer = trainers.UnigramTrainer(
        vocab_size=vocab_size,
        special_tokens=special_tokens,
        unk_token=UNK,
        initial_alphabet=[],
        show_progress=False,
    )
    backend.train_from_iterator(iter(texts), trainer)
    vocab = json.loads(backend.to_str())["model"]["vocab"]
    return [(token, weight) for token, weight in vocab[len(special_tokens) :]]


# --- files ---------------------------------------------------------------------------------


def make_layout(
    words: Sequence[tuple[str, float]], special_tokens: Sequence[str] = SPECIAL_TOKENS
) -> dict[str, Any]:
    """The content of a tokenizer file: special tokens (weight 0), then words, ids by position."""
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    space = {"type": "Metaspace", "replacement": SPACE, "prepend_scheme": "always", "split": True}
    vocab = [[token, 0.0] for token in special_tokens] + [list(word) for word in words]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": index, "content": token, **flags, "special": True}
            for index, token in enumerate(special_tokens)
        ],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Nmt"},
                {"type": "NFKC"},
                {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "},
            ],
        },
        "pre_tokenizer": space,
        "post_processor": None,
        "decoder": space,
        "model": {
            "type": "Unigram",
            "unk_id": list(special_tokens).index(UNK),
            "vocab": vocab,
            "byte_fallback": False,
        },
    }


def read_layout(path: str | Path) -> dict[str, Any]:
    """The content of a tokenizer file (JSON, plain or gzipped), checked to be unigram.

    Raises: FileNotFoundError; ValueError for a damaged file, or a tokenizer of another kind.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file, expected a unigram tokenizer (JSON)")
    try:
        raw = gzip.decompress(path.read_bytes()) if is_gzip(path) else path.read_bytes()
        layout = json.loads(raw)
        kind, vocab = layout["model"]["type"], layout["model"]["vocab"]
    except (ValueError, KeyError, TypeError, EOFError, OSError) as error:
        raise ValueError(f"{path} is damaged or no tokenizer ({error!r}); make it again") from error
    if kind != "Unigram":
        raise ValueError(f"{path} holds a {kind} tokenizer, expected Unigram")
    if not vocab or not all(len(entry) == 2 for entry in vocab):
        raise ValueError(f"{path}: model.vocab is no list of [token, weight]")
    return layout


def load_unigram(path: str | Path, *, duplicates: str = "corrected") -> "PreTrainedTokenizerFast":
    """The tokenizer of a file, published or written here, older layouts too.

    duplicates: pooled files of the released code list special tokens twice, so that `<unk>` is read
        as id 9 and given out as id 2. "corrected" keeps the first of each token, and ids move up;
        "reference" takes the file as it is.
    Raises: as `read_layout`; ValueError for what the library `tokenizers` cannot read.
    """
    if duplicates not in MODES:
        raise ValueError(f"duplicates is {duplicates!r}, expected one of: {', '.join(MODES)}")
    layout = read_layout(path)
    if duplicates == "corrected":
        vocab = layout["model"]["vocab"]
        first: dict[str, float] = {}
        for token, weight in vocab:
            first.setdefault(token, weight)
        unk_id = layout["model"].get("unk_id")
        if unk_id is not None:
            layout["model"]["unk_id"] = list(first).index(vocab[unk_id][0])
        layout["model"]["vocab"] = [list(entry) for entry in first.items()]
    return wrap_layout(layout, str(path))


def wrap_layout(layout: dict[str, Any], where: str = "the layout") -> "PreTrainedTokenizerFast":
    """The Hugging Face tokenizer of the content of a file; `<sep>` and `<cls>` come last."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    try:
        backend = Tokenizer.from_str(json.dumps(layout))
    except Exception as error:  # the library raises nothing more special
        raise ValueError(f"{where} is no tokenizer that can be read: {error}") from error
    backend.no_padding()
    backend.no_truncation()
    backend.add_special_tokens(list(ADDED.values()))
    known = {token for token, _ in layout["model"]["vocab"]}
    names = {name: token for name, token in _NAMES.items() if token in known}
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, clean_up_tokenization_spaces=False, **names, **ADDED
    )


def save_unigram(tokenizer: "PreTrainedTokenizerFast", path: str | Path) -> None:
    """Write the tokenizer as one JSON file in the published layout, gzipped if named *.gz."""
    layout = json.loads(tokenizer.backend_tokenizer.to_str())
    # transformers puts in one that adds nothing, where the published files have none
    layout["truncation"] = layout["padding"] = layout["post_processor"] = None
    added = layout["added_tokens"]
    layout["added_tokens"] = [one for one in added if one["content"] not in ADDED.values()]
    write_layout(layout, path)


def write_layout(layout: dict[str, Any], path: str | Path) -> None:
    """Write the content of a tokenizer file, with its folder, whole or not at all."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = json.dumps(layout, ensure_ascii=False, indent=1).encode()
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    partial.replace(path)


def read_tokens(path: str | Path) -> pd.DataFrame:
    """Columns token, weight (log-probability; 0 for special tokens), in the order of the file.

    A pooled file of the released code lists special tokens twice; so does this table then.
    Raises: as `read_layout`.
    """
    vocab = read_layout(path)["model"]["vocab"]
    return pd.DataFrame(vocab, columns=["token", "weight"])


def list_tokens(tokenizer: "PreTrainedTokenizerFast") -> pd.DataFrame:
    """Columns token, weight of a tokenizer, in the order of ids, without `<sep>` and `<cls>`."""
    vocab = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["vocab"]
    return pd.DataFrame(vocab, columns=["token", "weight"])


def count_token_lengths(tokens: pd.DataFrame) -> pd.DataFrame:
    """Columns length (letters without `▁`) and n_tokens; special tokens do not count.

    tokens: as `read_tokens` gives them. `▁` alone has length 0.
    """
    learned = tokens.loc[~tokens["token"].isin(SPECIAL_TOKENS), "token"].drop_duplicates()
    lengths = learned.str.lstrip(SPACE).str.len()
    return lengths.value_counts().sort_index().rename_axis("length").reset_index(name="n_tokens")


def describe_token_lengths(table: pd.DataFrame) -> str:
    """A sentence: the mean and the longest of `count_token_lengths`."""
    n_tokens = table["n_tokens"].sum()
    mean = (table["length"] * table["n_tokens"]).sum() / n_tokens
    length, n_longest = table.loc[table["length"].idxmax(), ["length", "n_tokens"]]
    return (
        f"The {n_tokens:,} learned tokens have {mean:.1f} letters on average; {n_longest} of them "
        f"have {length}, the most there are."
    )
