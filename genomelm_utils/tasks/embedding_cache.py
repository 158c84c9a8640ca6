"""Embeddings kept under a key of all that decides their numbers, and found again by it.

The key is a SHA-256 over the encoder's weights and configuration, the tokenizer, the sequences, and
the recipe (lengths, windows, strands, policy for ambiguous bases, precision). Folders and names of
files are not in it: the same weights in another place hit, other weights in the same place miss.
Not in it either: the batches and the device, which change results by rounding only.
"""

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import PreTrainedModel

from genomelm_utils.tasks.embedding import Recipe, embed, embedding_recipe
from genomelm_utils.tasks.embedding_models import POOLER, encoder_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

FORMAT = 1  # to be raised when `embed` gives other numbers for the same recipe
# of a configuration: where it came from, what it is called, and what only a head or a trainer reads
_NOT_HASHED = {
    *("_name_or_path", "name_or_path", "transformers_version", "architectures", "auto_map"),
    *("dtype", "torch_dtype", "id2label", "label2id", "problem_type"),
}


def embed_cached(
    folder: str | Path,
    model: PreTrainedModel,
    tokenizer: "PreTrainedTokenizerBase",
    sequences: Sequence[np.ndarray],
    **options: Any,
) -> np.ndarray:
    """What `embed(model, tokenizer, sequences, **options)` gives, computed once: float32 [S, D].

    Kept as <folder>/<key>.npy, with what the key is made of in <key>.json. A file that cannot be
    read, or has the wrong shape, is computed again, with a warning in the log.
    """
    recipe = embedding_recipe(model, tokenizer, **_of_recipe(options))
    key, parts = embedding_key(model, tokenizer, recipe, hash_sequences(sequences))
    path = Path(folder) / f"{key}.npy"
    found = _read(path, len(sequences))
    if found is not None:
        return found
    values_SD = embed(model, tokenizer, sequences, **options)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path.with_suffix(".json"), parts)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    with partial.open("wb") as file:
        np.save(file, values_SD)
    partial.replace(path)
    return values_SD


def _of_recipe(options: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in options.items() if k not in ("token_budget", "progress")}


def _read(path: Path, n_sequences: int) -> np.ndarray | None:
    if not path.is_file():
        return None
    try:
        values_SD = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        logger.warning("%s: damaged (%s), computed again", path, error)
        return None
    if values_SD.ndim == 2 and len(values_SD) == n_sequences and values_SD.dtype == np.float32:
        return values_SD
    logger.warning("%s: shape %s is not its key's, computed again", path, values_SD.shape)
    return None


def embedding_key(
    model: PreTrainedModel,
    tokenizer: "PreTrainedTokenizerBase",
    recipe: Recipe,
    content: str,
) -> tuple[str, dict[str, Any]]:
    """(key, its parts): 32 hexadecimal digits, and the hashes and settings they stand for.

    content: hash of what is embedded, such as `hash_sequences` gives.
    """
    parts = {
        "format": FORMAT,
        "weights": hash_weights(model),
        "tokenizer": hash_tokenizer(tokenizer),
        "content": content,
        **recipe.as_dict(),
    }
    return hashlib.sha256(_as_text(parts)).hexdigest()[:32], parts


def hash_weights(model: PreTrainedModel) -> str:
    """SHA-256 of the encoder's tensors and configuration, the same for every file format.

    The pooler and heads do not count: they take no part in an embedding.
    """
    encoder = encoder_of(model)
    settings = {k: v for k, v in encoder.config.to_dict().items() if k not in _NOT_HASHED}
    digest = hashlib.sha256(_as_text(settings))
    for name, tensor in sorted(encoder.state_dict().items()):
        if not name.startswith(POOLER):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def hash_tokenizer(tokenizer: "PreTrainedTokenizerBase") -> str:
    """SHA-256 of what the tokenizer does; its padding and truncation do not count."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        content = {"vocabulary": tokenizer.get_vocab(), "class": type(tokenizer).__name__}
    else:
        content = json.loads(backend.to_str()) | {"padding": None, "truncation": None}
    return hashlib.sha256(_as_text(content)).hexdigest()


def hash_sequences(sequences: Sequence[np.ndarray]) -> str:
    """SHA-256 of base codes, one after the other with their lengths."""
    digest = hashlib.sha256()
    for codes in sequences:
        digest.update(len(codes).to_bytes(8, "little"))
        digest.update(np.ascontiguousarray(codes, dtype=np.uint8))
    return digest.hexdigest()


def hash_file(path: str | Path) -> str:
    """SHA-256 of a file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, content: dict[str, Any]) -> None:
    """A readable JSON file, whole or not at all."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.write_text(json.dumps(content, indent=1, default=str) + "\n")
    partial.replace(path)


def _as_text(content: dict[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True, default=str).encode()
