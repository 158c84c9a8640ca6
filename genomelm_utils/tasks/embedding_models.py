"""Encoders and their tokenizers from local folders, and token ids of base codes for either kind.

Three kinds of tokenizer are known: byte-pair tokens in DNABERT-2's layout, our k-mers, and any
other Hugging Face tokenizer that reads plain upper-case DNA. Nothing is downloaded and no code of a
checkpoint is run.

Shapes: R sequences, L ids of a row.
"""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn
from transformers import AutoModel, PreTrainedModel

from genomelm_utils.models.alibi_bert import AlibiBertModel
from genomelm_utils.sequences.alphabet import N_BASES, decode
from genomelm_utils.tasks.encoder import quiet_loading
from genomelm_utils.tokenizers import bpe, kmer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

# one of these is in a folder that holds a tokenizer; without any, transformers makes an empty one
TOKENIZER_FILES = (
    *("tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model", "spiece.model"),
    "sentencepiece.bpe.model",
)
POOLER = "pooler."  # never part of an embedding: it may be absent or random
UNLIMITED = 10**6  # model_max_length of a tokenizer that knows no limit is far beyond
_PROBE = "ACGTTGCATTACGGATCCATAAGCTTGGCCTGAACTCAGT"


@dataclass(frozen=True)
class Rows:
    """How base codes become rows of ids.

    make: sequences -> int32 [L] each, with the special tokens. n_front, n_back: how many special
    tokens a row begins and ends with. pad_id: what fills rows of a batch.
    """

    make: Callable[[Sequence[np.ndarray]], list[np.ndarray]]
    n_front: int
    n_back: int
    pad_id: int


def load_encoder(folder: str | Path) -> tuple[PreTrainedModel, "PreTrainedTokenizerBase"]:
    """(model, tokenizer) of a local folder: DNABERT-S, DNABERT-2, ours, or any AutoModel.

    The model is the encoder without a head, in evaluation mode, float32, on the CPU. A pooler may
    be missing; other missing weights, and weights the encoder has no place for, are errors: they
    mean random numbers in place of trained ones. Weights of a head (masked LM, classifier) are left
    out, named in the log.

    Errors: FileNotFoundError without config.json or tokenizer; ValueError for such weights, and for
    a model that brings its own code.
    """
    folder = Path(folder)
    config = _read_config(folder)
    _check_tokenizer(folder)
    if _is_alibi(config):
        from genomelm_utils.models.alibi_loading import load_alibi

        return load_alibi(folder, kind="encoder").eval(), bpe.load_bpe(folder)
    return _load_any(folder), _load_tokenizer(folder)


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder} has no config.json, expected the folder of a model in Hugging Face format"
        )
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}); copy it again") from error


def _check_tokenizer(folder: Path) -> None:
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        raise FileNotFoundError(
            f"{folder} has no tokenizer (none of {', '.join(TOKENIZER_FILES)}); copy the files of "
            "the tokenizer the model was trained with beside config.json"
        )


def _is_alibi(config: dict[str, Any]) -> bool:
    """Ours, or DNABERT-2's and DNABERT-S's, which call themselves `bert`."""
    code = str(config.get("auto_map", ""))
    ours = config.get("model_type") == "alibi_bert"
    return ours or "alibi_starting_size" in config or "bert_layers." in code


def _load_any(folder: Path) -> PreTrainedModel:
    try:
        with quiet_loading():
            model, info = AutoModel.from_pretrained(
                folder, local_files_only=True, output_loading_info=True, trust_remote_code=False
            )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"{folder} cannot be loaded as a model: {first} (models that bring their own code are "
            "not run; weights must be in the folder)"
        ) from error
    extra = sorted(info["unexpected_keys"])
    _check_weights(folder, model, info, extra)
    heads = sorted({name.split(".")[0] for name in extra})
    if heads:
        logger.info("%s: weights of heads left out: %s", folder, ", ".join(heads))
    return model.float().eval()


def _check_weights(
    folder: Path, model: PreTrainedModel, info: dict[str, Any], extra: list[str]
) -> None:
    """Refuse weights that are missing, of another shape, or inside the encoder without a place."""
    children = {name for name, _ in model.named_children()}
    bare = [name.removeprefix(f"{model.base_model_prefix}.") for name in extra]
    headless = (model.config.architectures or [""])[0].endswith("Model")
    faults = {
        "are missing": [name for name in info["missing_keys"] if not name.startswith(POOLER)],
        "have another shape": [str(key[0]) for key in info["mismatched_keys"]],
        "have no place in it": [
            name
            for name in bare
            if (headless or name.split(".")[0] in children) and not name.startswith(POOLER)
        ],
    }
    for fault, names in faults.items():
        if names:
            raise ValueError(
                f"{folder}: of the weights of the {type(model).__name__} that config.json "
                f"describes, {len(names)} {fault}, such as {min(names)}; config.json and weights "
                "must belong together"
            )


def _load_tokenizer(folder: Path) -> "PreTrainedTokenizerBase":
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # the libraries raise nothing more special
        raise ValueError(f"{folder}: its tokenizer cannot be read ({error})") from error


def encoder_of(model: PreTrainedModel) -> nn.Module:
    """The model without its head, if it has one: a masked LM's logits are no embedding."""
    return getattr(model, "base_model", model)


def max_ids_of(model: PreTrainedModel, tokenizer: "PreTrainedTokenizerBase") -> int | None:
    """Ids a row may have, special tokens included; None where positions have no limit (ALiBi)."""
    encoder = encoder_of(model)
    if isinstance(encoder, AlibiBertModel):
        return None
    table = getattr(getattr(encoder, "embeddings", None), "position_embeddings", None)
    if isinstance(table, nn.Embedding):
        # RoBERTa and its kin number positions from padding_idx + 1
        offset = 0 if table.padding_idx is None else table.padding_idx + 1
        limits = [table.num_embeddings - offset]
    else:
        limits = [getattr(encoder.config, "max_position_embeddings", None)]
    limits.append(tokenizer.model_max_length)
    known = [limit for limit in limits if limit is not None and limit < UNLIMITED]
    return min(known, default=None)


def rows_of(tokenizer: "PreTrainedTokenizerBase", ambiguous: str) -> Rows:
    """How this tokenizer makes rows of ids from base codes.

    ambiguous: what N and the other ambiguity codes give: "unk" (what the tokenizer has for them,
    mostly one unknown token each) or "skip" (no token: byte pairs never cross the gap, k-mers with
    such a base are dropped; for other tokenizers the bases are cut out).
    Errors: ValueError for another policy, or a tokenizer that does not know DNA in plain letters.
    """
    if ambiguous not in bpe.AMBIGUOUS:
        raise ValueError(f"ambiguous is {ambiguous!r}, expected {' or '.join(bpe.AMBIGUOUS)}")
    vocabulary = tokenizer.get_vocab()
    k = _kmer_length(vocabulary)
    if k:
        return Rows(lambda codes: _kmer_rows(codes, k, ambiguous), 1, 1, kmer.PAD)
    if all(vocabulary.get(name) == i for i, name in enumerate(bpe.SPECIAL_TOKENS)):
        return Rows(
            lambda codes: bpe.tokenize_codes(tokenizer, codes, ambiguous=ambiguous), 1, 1, bpe.PAD
        )
    return _text_rows(tokenizer, ambiguous)


def _kmer_length(vocabulary: dict[str, int]) -> int:
    """k when the vocabulary is that of our k-mers, else 0."""
    sizes = {kmer.vocab_size(k): k for k in range(1, kmer.MAX_K + 1)}
    k = sizes.get(len(vocabulary), 0)
    return k if k and vocabulary == kmer.vocabulary(k) else 0


def _kmer_rows(codes: Sequence[np.ndarray], k: int, ambiguous: str) -> list[np.ndarray]:
    rows = []
    for one in codes:
        ids_L = kmer.token_ids(one, k)
        if ambiguous == "skip":
            ids_L = ids_L[ids_L != kmer.UNK]
        rows.append(np.concatenate([[kmer.CLS], ids_L, [kmer.SEP]]).astype(np.int32))
    return rows


def _text_rows(tokenizer: "PreTrainedTokenizerBase", ambiguous: str) -> Rows:
    whole = tokenizer(_PROBE, add_special_tokens=True)["input_ids"]
    bare = tokenizer(_PROBE, add_special_tokens=False)["input_ids"]
    begins = [i for i in range(len(whole) - len(bare) + 1) if whole[i : i + len(bare)] == bare]
    unknown = sum(i == tokenizer.unk_token_id for i in bare)
    if not bare or not begins or 2 * unknown > len(bare):
        raise ValueError(
            f"the tokenizer ({type(tokenizer).__name__}) makes {len(bare)} tokens of "
            f"{len(_PROBE)} bases, {unknown} of them unknown; expected one that reads plain "
            "upper-case DNA"
        )
    pad_id = tokenizer.pad_token_id

    def make(codes: Sequence[np.ndarray]) -> list[np.ndarray]:
        if ambiguous == "skip":
            codes = [one[one < N_BASES] for one in codes]
        texts = [decode(one) for one in codes]
        rows = tokenizer(texts, verbose=False)["input_ids"] if texts else []
        return [np.array(row, dtype=np.int32) for row in rows]

    n_front = begins[0]
    return Rows(make, n_front, len(whole) - len(bare) - n_front, 0 if pad_id is None else pad_id)
