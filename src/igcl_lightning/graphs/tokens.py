"""Report texts -> tokens, as `torch_geometric.data.Batch`, so that reports of any length collate like graphs.

The text is that of the report's graph: words joined by single spaces.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor
from torch_geometric.data import Batch, Data

from igcl_lightning.errors import IgclError, one_line
from igcl_lightning.graphs.batching import Ids, bounds, part_and_place, starts, to_batch
from igcl_lightning.graphs.featurizer import NUM_BUCKETS, subword_rows

if TYPE_CHECKING:
    from tokenizers import Tokenizer

WORD_SUBWORDS = 16  # subwords kept per word of a hashed report

SENTENCE_ENDS = (".", "!", "?")


class ReportTokenizer:
    """Tokenize report texts.

    Without a model each word is one token of hashed subwords, in the same buckets as the nodes of a graph
    (`subword_ids`): a text encoder and a graph encoder then start from equal knowledge of words.

    Args:
        model: folder or hub name of a Hugging Face model with a fast tokenizer; hashed subwords by default.
        max_tokens: maximum number of tokens per report, including special ones; the rest is cut off.
        wordpieces: the tokenizer itself, as returned by `described`, instead of the model's files.

    Raises:
        IgclError: `transformers` is missing, `max_tokens` is not positive, or there is no such fast tokenizer.
    """

    def __init__(self, model: str | None = None, max_tokens: int = 256, wordpieces: str | None = None) -> None:
        if max_tokens < 1:
            raise IgclError(f"data.max_tokens is {max_tokens}, not at least 1")
        self.model = model
        self.max_tokens = max_tokens
        self.wordpieces = None if model is None else _wordpieces(model, max_tokens, wordpieces)

    def described(self) -> dict[str, str | int | None]:
        """Return the arguments that rebuild this tokenizer without the model's files."""
        wordpieces = None if self.wordpieces is None else self.wordpieces.to_str()
        return {"model": self.model, "max_tokens": self.max_tokens, "wordpieces": wordpieces}

    def __call__(self, texts: Sequence[str]) -> Batch:
        """Return the PyG batch of B reports with T tokens in total, with the fields `x`, `word` and `sentence`."""
        arrays = self.arrays(pa.array(texts, pa.string()))
        return to_batch({name: torch.from_numpy(array) for name, array in arrays.items()})

    def arrays(self, texts: pa.StringArray) -> dict[str, Ids]:
        """Return the arrays of B reports that `to_batch` turns into a batch, without Python work per hashed word.

        Returns:
            `x` int64 [T, S] (subword buckets, 0 = padding; or wordpiece ids, S = 1), `word` int64 [T] (the number of
            the token's word in `text.split(" ")`), `sentence` int64 [T] (the number of its sentence), both -1 for
            special tokens, and those of `bounds`.
        """
        words = pc.split_pattern(texts, " ")
        start = words.offsets.to_numpy()[:-1]
        unique = words.values.dictionary_encode()
        if self.wordpieces is None:
            # Splitting an empty text gives one empty word.
            empty = pc.equal(texts, "").to_numpy(zero_copy_only=False)
            count = np.where(empty, 0, np.minimum(words.value_lengths(), self.max_tokens))
            report, word = part_and_place(count)
            x = subword_rows(unique.take(pa.array(start[report] + word)), WORD_SUBWORDS)
        else:
            x, word, count = _encode(self.wordpieces, texts.to_pylist())
            report, _ = part_and_place(count)
        ends = np.array([text.endswith(SENTENCE_ENDS) for text in unique.dictionary.to_pylist()], np.int64)
        ended = starts(ends[unique.indices.to_numpy()])  # sentences that ended before each word of the batch
        sentence = np.where(word < 0, -1, ended[start[report] + word] - ended[start[report]])
        return {"x": x, "word": word, "sentence": sentence, **bounds(starts(count))}


def word_counts(report: Data) -> Tensor:
    """Return how often each word occurs in B reports, float32 [B, NUM_BUCKETS]; words are hashed to buckets.

    Wordpieces count as words; special tokens do not count.

    Args:
        report: `Batch` with fields x, word and batch (see `ReportTokenizer`).
    """
    of_word = report.word >= 0
    # The first subword of a word is the word itself.
    place = report.batch[of_word] * NUM_BUCKETS + report.x[of_word, 0] % NUM_BUCKETS
    counts = torch.zeros(report.num_graphs * NUM_BUCKETS, device=place.device)
    return counts.index_add_(0, place, counts.new_ones(len(place))).view(-1, NUM_BUCKETS)


def words_of_pieces(text: str, piece_end: Sequence[int]) -> Ids:
    """Return the number of each wordpiece's word in `text.split(" ")`, [P].

    Args:
        text: the text.
        piece_end: end of each piece in characters. The end is used because some tokenizers include the space
            before a word in its first piece.
    """
    word_end = np.cumsum([len(word) + 1 for word in text.split(" ")], dtype=np.int64) - 1
    return np.searchsorted(word_end, np.array(piece_end, dtype=np.int64)).astype(np.int64)


def _encode(wordpieces: Tokenizer, texts: list[str]) -> tuple[Ids, Ids, Ids]:
    """Return wordpiece ids [T, 1], the number of each one's word [T], -1 for special tokens, and of tokens per text."""
    encodings = [wordpieces.encode(text) for text in texts]
    ids = np.concatenate([np.array(encoding.ids, dtype=np.int64) for encoding in encodings])
    special = np.concatenate([np.array(encoding.special_tokens_mask, dtype=bool) for encoding in encodings])
    ends = ([end for _, end in encoding.offsets] for encoding in encodings)
    word = np.concatenate([words_of_pieces(text, end) for text, end in zip(texts, ends, strict=True)])
    return ids[:, None], np.where(special, -1, word), np.array([len(encoding) for encoding in encodings])


def _wordpieces(model: str, max_tokens: int, stored: str | None) -> Tokenizer:
    """Load a fast tokenizer that truncates to `max_tokens` or to the maximum length of its model."""
    try:
        from tokenizers import Tokenizer

        if stored is None:
            from transformers import AutoTokenizer
    except ImportError:
        raise IgclError("data.tokenizer needs the package transformers: pip install 'igcl-lightning[text]'") from None
    if stored is not None:
        try:
            return Tokenizer.from_str(stored)
        except Exception as error:  # the package raises no specific exception
            raise IgclError(f"data.tokenizer {model!r}: the stored tokenizer is unreadable ({error})") from error
    try:
        tokenizer = AutoTokenizer.from_pretrained(model)
    except (OSError, ValueError) as error:
        problem = f"no tokenizer found at that path or name ({one_line(error)})"
        raise IgclError(f"data.tokenizer {model!r}: {problem}") from error
    if not tokenizer.is_fast:
        raise IgclError(f"data.tokenizer {model!r}: not a fast tokenizer; save it with tokenizer.json")
    wordpieces: Tokenizer = tokenizer.backend_tokenizer
    wordpieces.enable_truncation(min(max_tokens, tokenizer.model_max_length))
    wordpieces.no_padding()
    return wordpieces
