"""What `species convert` does: a published checkpoint becomes a folder that loads here."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from genomelm_utils.command_outputs import check_new_folder, missing_file

if TYPE_CHECKING:
    import torch

RECORD = "conversion.json"


def convert(given: argparse.Namespace) -> list[str]:
    """config.json, model.safetensors and tokenizer of the published weights, in a new folder.

    Every weight of the file is used: the encoder, and the masked-LM head (DNABERT-2) or classifier
    where there is one. `conversion.json` says what was read, with hashes. Before the folder gets
    its name it is loaded, and must hold the same numbers.

    Raises: ValueError for a folder that is there, a vocabulary that is not the tokenizer's, weights
    left over; as `models.alibi_loading.load_alibi` and `tokenizers.bpe.load_bpe`.
    """
    from genomelm_utils.models.alibi_loading import load_alibi
    from genomelm_utils.models.weights_files import read_weights, weights_file
    from genomelm_utils.tasks.embedding_models import load_encoder
    from genomelm_utils.tokenizers.bpe import load_bpe
    from genomelm_utils.training.checkpoint import hide_bars, write_folder

    check_new_folder(given.out)
    if not given.folder.is_dir():
        raise FileNotFoundError(
            f"{given.folder}: {missing_file(given.folder)}, expected a folder with config.json, "
            "pytorch_model.bin and tokenizer.json"
        )
    tokenizer = load_bpe(given.folder)
    file = weights_file(given.folder)
    kind = find_kind(read_weights(file))
    model = load_alibi(given.folder, kind)
    check_all_used(model.state_dict(), read_weights(file), file)
    if len(tokenizer) != model.config.vocab_size:
        raise ValueError(
            f"{given.folder}: the tokenizer has {len(tokenizer)} tokens, the model "
            f"{model.config.vocab_size}; expected the tokenizer that the model was trained with"
        )
    record = describe_source(given, file, kind, model.state_dict())
    with write_folder(given.out) as partial, hide_bars():
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        check_same(model.state_dict(), load_alibi(partial, kind).state_dict())
        load_encoder(partial)  # as every other command will
        record["written"] = {path.name: _hash(path) for path in sorted(partial.iterdir())}
        (partial / RECORD).write_text(json.dumps(record, indent=1) + "\n")
    return [
        f"{given.out}: {kind}, {record['n_tensors']} tensors, {record['n_parameters']:,} "
        f"parameters, {len(tokenizer):,} tokens",
        *(f"read\t{given.folder / name}\tsha256 {sha}" for name, sha in record["read"].items()),
        *(f"wrote\t{given.out / name}\tsha256 {sha}" for name, sha in record["written"].items()),
    ]


def find_kind(weights: "dict[str, torch.Tensor]") -> str:
    """What the weights are of, by their names: mlm, classifier or encoder."""
    for kind, head in (("mlm", "cls."), ("classifier", "classifier.")):
        if any(name.startswith(head) for name in weights):
            return kind
    return "encoder"


def check_all_used(
    used: "dict[str, torch.Tensor]", found: "dict[str, torch.Tensor]", file: Path
) -> None:
    """ValueError where the file has weights that the model has no place for."""
    known = {name.removeprefix("bert.") for name in used}
    left = sorted(name for name in found if name.removeprefix("bert.") not in known)
    if left:
        raise ValueError(
            f"{file}: {len(left)} weights have no place in the model, such as {left[0]!r}; "
            "expected one head at most, and no pooler beside a masked-LM head"
        )


def check_same(first: "dict[str, torch.Tensor]", second: "dict[str, torch.Tensor]") -> None:
    """An assertion that both hold the same numbers to the bit."""
    import torch

    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def describe_source(
    given: argparse.Namespace, file: Path, kind: str, weights: "dict[str, torch.Tensor]"
) -> dict[str, object]:
    """What was read: file names with hashes, kind, numbers of tensors and parameters (tied ones
    counted once)."""
    sizes = {weight.data_ptr(): weight.numel() for weight in weights.values()}
    read = [given.folder / "config.json", file, given.folder / "tokenizer.json"]
    return {
        "source": str(given.folder),
        "kind": kind,
        "n_tensors": len(weights),
        "n_parameters": sum(sizes.values()),
        "read": {path.name: _hash(path) for path in read},
    }


def _hash(path: Path) -> str:
    from genomelm_utils.tasks.embedding_cache import hash_file

    return hash_file(path)
