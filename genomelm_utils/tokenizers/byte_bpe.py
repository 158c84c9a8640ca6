"""Byte-level byte-pair tokens of promoters: CornBERT's and FloraBERT's layout, read and trained.

`<s> </s> <pad> <unk> <mask>` are 0..4, then the alphabet in the order of its characters, then one
token per merge. With the alphabet `bytes` (published) that is all 256 byte symbols, of which DNA
uses five; `dna` holds A, C, G, N, T and wastes no id. A text is `<s> A </s>`.

A promoter ends at its TSS, so rows are padded on the left and too long ones lose their *first*
bases: the last base stands in the last place before `</s>` whatever the length.

Source: FloraBERT (Levy et al. 2022, rs-1927200/v1), released `07_train_tokenizer.py` and `nlp.py`.

Letters: B rows, L positions, V vocabulary, R ids to draw from.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

SPECIAL_TOKENS = ("<s>", "</s>", "<pad>", "<unk>", "<mask>")
BOS, EOS, PAD, UNK, MASK = range(len(SPECIAL_TOKENS))
N_SPECIAL = len(SPECIAL_TOKENS)
N_BYTES = 256
DNA = "ACGNT"  # in the order of characters, as the byte symbols are
VOCAB_SIZE = 5005  # Source: 5000 and the 5 special tokens, released `07_train_tokenizer.py`
DNA_VOCAB_SIZE = VOCAB_SIZE - N_BYTES + len(DNA)  # the same number of merges, 4744
MAX_TOKENS = 256  # `<s>` and `</s>` included. Source: released config.yaml
MIN_PAIR_COUNT = 2  # Source: released `07_train_tokenizer.py` (default of its library)
MODES = ("corrected", "reference")
ALPHABETS = ("bytes", "dna")

_VOCAB, _MERGES, _WHOLE = "vocab.json", "merges.txt", "tokenizer.json"
_AMBIGUITY_CODES = "RYSWKMBDHV"  # besides N; see `sequences.alphabet`


def train_byte_bpe(
    texts: Iterable[str],
    vocab_size: int | None = None,
    *,
    alphabet: str = "bytes",
    case: str = "corrected",
    truncate: str = "corrected",
    max_tokens: int = MAX_TOKENS,
    max_token_bases: int | None = None,
) -> "PreTrainedTokenizerFast":
    """A tokenizer of exactly `vocab_size` ids, learned from promoter sequences.

    No token crosses the end of a text. The same texts give the same tokenizer, and both alphabets
    the same merges.

    Args:
        texts: sequences of DNA, one promoter each. The released training took every tenth.
        vocab_size: by default 5005 for `bytes` and 4754 for `dna`: 4744 merges in both.
        alphabet: 'bytes' as published (251 ids never occur in DNA), or 'dna'.
        case: 'corrected' reads all letters as upper case, U as T and ambiguity codes as N;
            'reference' takes text as it is: no merge fits lower case, so a soft-masked promoter of
            1000 bases is 1000 tokens and loses its TSS (defect B26).
        truncate: 'corrected' cuts too long rows on the left, 'reference' at the TSS (B25).
        max_tokens: ids of a row, `<s>` and `</s>` included.
        max_token_bases: the longest token. Without it (published) a small corpus with alleles or
            paralogs of one promoter gives tokens of hundreds of bases: whole promoters.
    Raises: ValueError for an unknown mode, a vocabulary too small for its alphabet, or texts with
        too few different words to fill it.
    """
    from tokenizers import Tokenizer, models, trainers

    _check_choices(alphabet, case, truncate)
    size = vocab_size or (VOCAB_SIZE if alphabet == "bytes" else DNA_VOCAB_SIZE)
    letters = byte_symbols() if alphabet == "bytes" else list(DNA)
    smallest = N_SPECIAL + len(letters)
    if size < smallest:
        raise ValueError(
            f"vocab_size is {size}, expected at least {smallest}: {N_SPECIAL} special tokens and "
            f"the {len(letters)} symbols of the alphabet {alphabet!r}"
        )
    backend = Tokenizer(models.BPE(unk_token=SPECIAL_TOKENS[UNK], fuse_unk=False))
    _set_text_rules(backend, case)
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=MIN_PAIR_COUNT,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=letters,
        limit_alphabet=len(letters),
        # the library's limit is exclusive
        max_token_length=max_token_bases + 1 if max_token_bases else None,
        show_progress=False,
    )
    backend.train_from_iterator(iter(texts), trainer)
    if backend.get_vocab_size() != size:
        raise ValueError(
            f"the texts gave {backend.get_vocab_size()} ids, expected {size}: no other pair occurs "
            f"{MIN_PAIR_COUNT} times; give more sequences or a smaller vocab_size"
        )
    return _wrap(backend, truncate, max_tokens)


def load_byte_bpe(
    folder: str | Path,
    *,
    case: str = "corrected",
    truncate: str = "corrected",
    max_tokens: int = MAX_TOKENS,
) -> "PreTrainedTokenizerFast":
    """The tokenizer in a folder: published `vocab.json` and `merges.txt`, or one saved here.

    Where `tokenizer.json` is there too (ours, or of a published model), it is read instead; case
    and cutting follow the arguments, not the file. The size is the file's: a fork of FloraBERT
    publishes 5261 ids with 5000 merges, the paper's has 5005.

    case, truncate, max_tokens: as in `train_byte_bpe`.
    Raises: FileNotFoundError without the files; ValueError with file and line where one is damaged,
        no byte-pair tokenizer, or numbers its special tokens otherwise.
    """
    from tokenizers import Tokenizer, models

    _check_choices("bytes", case, truncate)
    vocab, merges, where = _read_words(Path(folder))
    _check_vocab(vocab, merges, where)
    if case == "reference" and "a" not in vocab:
        raise ValueError(
            f"{where} has no lower-case letters, so case 'reference' would turn them into "
            f"{SPECIAL_TOKENS[UNK]}; expected the published alphabet of {N_BYTES} byte symbols, or "
            "case 'corrected'"
        )
    backend = Tokenizer(models.BPE(vocab, merges, unk_token=SPECIAL_TOKENS[UNK], fuse_unk=False))
    _set_text_rules(backend, case)
    return _wrap(backend, truncate, max_tokens)


def drop_dead_ids(tokenizer: "PreTrainedTokenizerFast") -> "PreTrainedTokenizerFast":
    """The same cuts with the ids that DNA never uses left out: 5005 become 4754.

    Kept tokens stay in their order. Upper-casing is on, as lower-case letters are among the dead.
    """
    from tokenizers import Tokenizer, models

    vocab, merges = _words_of(tokenizer.backend_tokenizer)
    kept = [t for t in sorted(vocab, key=vocab.get) if vocab[t] < N_SPECIAL or _is_dna(t)]
    new_id = {token: index for index, token in enumerate(kept)}
    merges = [pair for pair in merges if pair[0] + pair[1] in new_id]
    backend = Tokenizer(models.BPE(new_id, merges, unk_token=SPECIAL_TOKENS[UNK], fuse_unk=False))
    _set_text_rules(backend, "corrected")
    mode = "corrected" if tokenizer.truncation_side == "left" else "reference"
    return _wrap(backend, mode, tokenizer.model_max_length)


def save_published(tokenizer: "PreTrainedTokenizerFast", folder: str | Path) -> None:
    """Write `vocab.json` and `merges.txt`, the two files of the released tokenizer."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.backend_tokenizer.model.save(str(folder))


def encode_texts(
    tokenizer: "PreTrainedTokenizerFast", texts: Sequence[str], max_tokens: int | None = None
) -> list[np.ndarray]:
    """Token ids of every text, int32[L] with `<s>` first and `</s>` last, cut but not padded.

    All texts at once, in as many threads as the `tokenizers` library is given
    (`TOKENIZERS_PARALLELISM`, `RAYON_NUM_THREADS`). Other padding or truncation set on the
    tokenizer's backend is undone. An empty text is `<s> </s>`.

    max_tokens: by default the tokenizer's own; rows are cut on its `truncation_side`.
    Raises: ValueError for max_tokens below 3, which leaves no room for a base.
    """
    limit = tokenizer.model_max_length if max_tokens is None else max_tokens
    if limit < 3:
        raise ValueError(
            f"max_tokens is {limit}, expected at least 3: {SPECIAL_TOKENS[BOS]}, "
            f"{SPECIAL_TOKENS[EOS]} and a base"
        )
    backend = tokenizer.backend_tokenizer
    if backend.padding is not None:
        backend.no_padding()
    if backend.truncation is not None:
        backend.no_truncation()
    rows = [np.array(row.ids, dtype=np.int32) for row in backend.encode_batch_fast(list(texts))]
    return [_shorten(row, limit, tokenizer.truncation_side) for row in rows]


def _shorten(ids_L: np.ndarray, limit: int, side: str) -> np.ndarray:
    if len(ids_L) <= limit:
        return ids_L
    if side == "left":
        return np.concatenate([ids_L[:1], ids_L[len(ids_L) - limit + 1 :]])
    return np.concatenate([ids_L[: limit - 1], ids_L[-1:]])


def pad_left(
    rows: Sequence[np.ndarray], width: int | None = None, pad_id: int = PAD
) -> tuple[torch.Tensor, torch.Tensor]:
    """(ids, mask): int64[B, L] with each row at the right end, bool[B, L] True at its own ids.

    width: L; by default that of the longest row. `models.florabert` gives the same output for both.
    Raises: ValueError when a row is longer.
    """
    lengths_B = np.array([len(row) for row in rows], dtype=np.int64)
    longest = int(lengths_B.max(initial=0))
    width = longest if width is None else width
    if longest > width:
        raise ValueError(f"a row has {longest} ids, expected at most {width}; cut it first")
    mask_BL = np.arange(width) >= width - lengths_B[:, None]
    ids_BL = np.full((len(rows), width), pad_id, dtype=np.int64)
    if len(rows):
        ids_BL[mask_BL] = np.concatenate(rows)
    return torch.from_numpy(ids_BL), torch.from_numpy(mask_BL)


def token_strings(tokenizer: "PreTrainedTokenizerFast") -> list[str]:
    """The text of every id, in the order of ids; '' for special tokens."""
    strings = [""] * len(tokenizer)
    for token, index in tokenizer.get_vocab().items():
        if index >= N_SPECIAL:
            strings[index] = token
    return strings


def replacement_ids(
    tokenizer: "PreTrainedTokenizerFast", random_tokens: str = "corrected"
) -> torch.Tensor:
    """int64[R]: what a masked token may be replaced by at random.

    random_tokens: 'corrected' takes tokens made of bases only; 'reference' all ids, special
        tokens and bytes that never occur in DNA among them.
    """
    _check_mode("random_tokens", random_tokens)
    if random_tokens == "reference":
        return torch.arange(len(tokenizer))
    strings = token_strings(tokenizer)
    return torch.tensor([i for i, text in enumerate(strings) if text and _is_dna(text)])


def byte_symbols() -> list[str]:
    """The 256 printable characters that stand for bytes, in the order of their ids.

    Source: GPT-2's byte-level alphabet; ASCII letters stand for themselves.
    """
    from tokenizers.pre_tokenizers import ByteLevel

    return sorted(ByteLevel.alphabet())


def _is_dna(token: str) -> bool:
    return set(token) <= set(DNA)


def _check_mode(name: str, value: str) -> None:
    if value not in MODES:
        raise ValueError(f"{name} is {value!r}, expected one of: {', '.join(MODES)}")


def _check_choices(alphabet: str, case: str, truncate: str) -> None:
    _check_mode("case", case)
    _check_mode("truncate", truncate)
    if alphabet not in ALPHABETS:
        raise ValueError(f"alphabet is {alphabet!r}, expected one of: {', '.join(ALPHABETS)}")
    if alphabet == "dna" and case == "reference":
        raise ValueError(
            "the alphabet 'dna' has no lower-case letters, expected case 'corrected' with it, or "
            "the alphabet 'bytes'"
        )


def _read_words(folder: Path) -> tuple[dict[str, int], list[tuple[str, str]], str]:
    """(vocabulary, merges, the file to name in an error)."""
    if (folder / _WHOLE).is_file():
        path = folder / _WHOLE
        model = _read_json(path).get("model", {})
        if model.get("type") != "BPE":
            raise ValueError(
                f"{path} holds a tokenizer of type {model.get('type')!r}, expected 'BPE'; is this "
                "the tokenizer of another model?"
            )
        merges = [tuple(m.split(" ") if isinstance(m, str) else m) for m in model["merges"]]
        return model["vocab"], merges, str(path)
    for name in (_VOCAB, _MERGES):
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"{folder / name} does not exist; expected {_VOCAB} and {_MERGES} of the released "
                f"tokenizer, or {_WHOLE} of one saved here"
            )
    return _read_json(folder / _VOCAB), _read_merges(folder / _MERGES), str(folder / _VOCAB)


def _read_json(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged: no JSON ({error}); copy it again") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}, expected a JSON object")
    return content


def _read_merges(path: Path) -> list[tuple[str, str]]:
    merges = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line or (number == 1 and line.startswith("#version")):
            continue
        words = line.split(" ")
        if len(words) != 2 or not all(words):
            raise ValueError(
                f"{path}, line {number}: {line!r}, expected the two parts of a merge and one space"
            )
        merges.append((words[0], words[1]))
    return merges


def _check_vocab(vocab: dict[str, int], merges: list[tuple[str, str]], where: str) -> None:
    wrong = [
        f"{name} is {vocab.get(name)} instead of {index}"
        for index, name in enumerate(SPECIAL_TOKENS)
        if vocab.get(name) != index
    ]
    if wrong:
        raise ValueError(
            f"{where} numbers its special tokens otherwise than the published one: "
            f"{'; '.join(wrong)}; is this the tokenizer of another model?"
        )
    if sorted(vocab.values()) != list(range(len(vocab))):
        raise ValueError(
            f"{where} has {len(vocab)} tokens with ids up to {max(vocab.values())}, expected each "
            "id from 0 once; copy it again"
        )
    if missing := [base for base in DNA if base not in vocab]:
        raise ValueError(f"{where} has no token for {', '.join(missing)}, expected all of {DNA}")
    for number, (left, right) in enumerate(merges, start=1):
        if lost := [word for word in (left, right, left + right) if word not in vocab]:
            raise ValueError(
                f"merge {number}, {left!r} and {right!r}: {lost[0]!r} is no token of {where}; do "
                "vocabulary and merges belong together?"
            )


def _words_of(backend: "Tokenizer") -> tuple[dict[str, int], list[tuple[str, str]]]:
    model = json.loads(backend.to_str())["model"]
    return model["vocab"], [tuple(pair) for pair in model["merges"]]


def _set_text_rules(backend: "Tokenizer", case: str) -> None:
    """How text becomes symbols and back."""
    from tokenizers import Regex, decoders, normalizers, pre_tokenizers

    if case == "corrected":
        codes = _AMBIGUITY_CODES + _AMBIGUITY_CODES.lower()
        patterns = {"a": "A", "c": "C", "g": "G", "[tuU]": "T", f"[n{codes}]": "N"}
        backend.normalizer = normalizers.Sequence(
            [normalizers.Replace(Regex(pattern), base) for pattern, base in patterns.items()]
        )
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()


def _wrap(backend: "Tokenizer", truncate: str, max_tokens: int) -> "PreTrainedTokenizerFast":
    from tokenizers import processors
    from transformers import PreTrainedTokenizerFast

    bos, eos, pad, unk, mask = SPECIAL_TOKENS
    backend.post_processor = processors.RobertaProcessing(
        sep=(eos, EOS), cls_token=(bos, BOS), trim_offsets=False, add_prefix_space=False
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=max_tokens,
        padding_side="left",
        truncation_side="left" if truncate == "corrected" else "right",
        clean_up_tokenization_spaces=False,
        bos_token=bos,
        cls_token=bos,
        eos_token=eos,
        sep_token=eos,
        pad_token=pad,
        unk_token=unk,
        mask_token=mask,
    )
