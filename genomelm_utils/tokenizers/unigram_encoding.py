"""Token ids of many sequences at once: what a unigram tokenizer gives, in one compiled pass.

Letters: S texts, N nodes of a trie, A letter codes, V vocabulary.
"""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from genomelm_utils.tokenizers.unigram import SPACE, SPECIAL_TOKENS, make_layout

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_UNKNOWN_PENALTY = 10.0  # below the smallest weight. Source: the library `tokenizers`


class LetterEncoder:
    """Cuts sequences as a unigram tokenizer does, many times as fast.

    The best cut is the one of the greatest sum of weights; letters that are no token, neighbours
    together, are `<unk>`. For sequences: letters without spaces or special tokens in them.

    tokenizer: in genomeNLP's layout (`unigram.load_unigram`). tokens: the string of every id.
    Raises: ValueError for a tokenizer of another layout, or sequences with spaces.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerFast") -> None:
        layout = json.loads(tokenizer.backend_tokenizer.to_str())
        model = layout["model"]
        plain = make_layout([])
        same = all(layout[part] == plain[part] for part in ("normalizer", "pre_tokenizer"))
        if model["type"] != "Unigram" or not same or tokenizer.num_special_tokens_to_add():
            raise ValueError("the tokenizer is not of genomeNLP's layout; encode with it itself")
        self.unk_id = model["unk_id"]
        self.tokens = [token for token, _ in model["vocab"]]
        self._grow_trie(model["vocab"])

    def _grow_trie(self, vocab: list[list]) -> None:
        """Pieces of the trie are numbered as the vocabulary is, from 1; 0 is an unknown letter."""
        words = {token: (i, weight) for i, (token, weight) in enumerate(vocab)}
        for token in SPECIAL_TOKENS:
            words.pop(token, None)
        letters = sorted(set("".join(words)) | {SPACE})
        # 0 closes a text, 1 is a letter that is in no token
        self._code = {letter: i for i, letter in enumerate(letters, 2)}
        self._table = np.ones(256, np.uint8)
        for letter, code in self._code.items():
            if ord(letter) < 128:
                self._table[ord(letter)] = code
        nodes: list[dict[int, int]] = [{}]
        piece = [-1]
        for word, (index, _) in words.items():
            at = 0
            for letter in word:
                code = self._code[letter]
                if (to := nodes[at].get(code)) is None:
                    to = nodes[at][code] = len(nodes)
                    nodes.append({})
                    piece.append(-1)
                at = to
            piece[at] = index + 1
        self._children = np.full((len(nodes), len(letters) + 2), -1, np.int32)
        for i, node in enumerate(nodes):
            self._children[i, list(node)] = list(node.values())
        self._piece = np.array(piece, np.int32)
        weights = np.array([weight for _, weight in vocab], np.float64)
        self._score = np.append(weights.min() - _UNKNOWN_PENALTY, weights)

    def encode(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """(ids, offsets): int32, token ids of all texts end to end; int64[S + 1], text i has
        ids[offsets[i] : offsets[i + 1]]. An empty text has none."""
        from genomelm_utils.tokenizers.unigram_lattice import cut_texts

        lengths = np.array([len(text) for text in texts], np.int64)
        joined = "".join(texts)
        if " " in joined or SPACE in joined:
            raise ValueError("a sequence holds a space: encode it with the tokenizer itself")
        data = np.frombuffer(joined.encode("ascii", errors="replace"), np.uint8)
        is_text = lengths > 0
        starts = np.zeros(len(texts) + 1, np.int64)
        np.cumsum(lengths + 1 + is_text, out=starts[1:])  # with a prefix, where there is a text
        letters = np.zeros(starts[-1], np.uint8)
        begins = starts[:-1][is_text]
        body = np.ones(len(letters), bool)
        body[begins] = False
        body[starts[1:] - 1] = False
        letters[body] = self._table[data]
        letters[begins] = self._code[SPACE]
        ids = np.empty(len(letters), np.int32)
        n_ids = np.zeros(len(texts), np.int64)
        n = cut_texts(letters, starts, self._children, self._piece, self._score, ids, n_ids)
        found = np.where(ids[:n] > 0, ids[:n] - 1, self.unk_id).astype(np.int32)
        return found, np.append(0, np.cumsum(n_ids))


class TextEncoder:
    """Cuts texts of any kind with a Hugging Face tokenizer; `encode` is as `LetterEncoder.encode`.

    tokens: the string of every id.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerFast") -> None:
        self._backend = tokenizer.backend_tokenizer
        self.tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))

    def encode(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """(ids int32, offsets int64), see `LetterEncoder.encode`."""
        rows = [row.ids for row in self._backend.encode_batch_fast(list(texts))]
        offsets = np.append(0, np.cumsum([len(row) for row in rows])).astype(np.int64)
        flat = (index for row in rows for index in row)
        return np.fromiter(flat, np.int32, int(offsets[-1])), offsets
