"""Report text -> tokens, as `torch_geometric.data.Data`, so that reports of any length collate like graphs.

The text is the parsed one: words joined by single spaces, the same that the report's graph was read from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.featurizer import subword_ids

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch_geometric.data import Data

WORD_SUBWORDS = 16
"""S of a hashed report: subwords kept of one word."""

SENTENCE_ENDS = (".", "!", "?")

Ids = NDArray[np.int64]


class ReportTokenizer:
    """Turn the text of a report into tokens.

    Without a model each word is one token of hashed subwords, in the same buckets as the nodes of a graph
    (`subword_ids`): a text encoder and a graph encoder then start from equal knowledge of words.

    Args:
        model: folder or hub name of a Hugging Face model with a fast tokenizer; hashed subwords by default.
        max_tokens: tokens kept of a report, special ones included; the rest of it is cut off.
        wordpieces: the tokenizer itself, as `described` returns it, in place of the model's files.

    Raises:
        IgclError: `transformers` is missing, the tokenizer cannot be had or is not a fast one, or `max_tokens` is not
            positive.
    """

    def __init__(self, model: str | None = None, max_tokens: int = 256, wordpieces: str | None = None) -> None:
        if max_tokens < 1:
            raise IgclError(f"data.max_tokens is {max_tokens}, not at least 1")
        self.model = model
        self.max_tokens = max_tokens
        self.wordpieces = None if model is None else _wordpieces(model, max_tokens, wordpieces)

    def described(self) -> dict[str, str | int | None]:
        """Return the arguments that make this tokenizer again, where no file of the model is."""
        wordpieces = None if self.wordpieces is None else self.wordpieces.to_str()
        return {"model": self.model, "max_tokens": self.max_tokens, "wordpieces": wordpieces}

    def __call__(self, text: str) -> Data:
        """Return the T tokens of a report.

        Returns:
            `Data` with `x` int64 [T, S] (subword buckets, 0 = padding; or wordpiece ids, S = 1), `word` int64 [T] (the
            number of the token's word in `text.split(" ")`), `sentence` int64 [T] (the number of its sentence), both
            -1 for special tokens, and `num_nodes` = T, which may be 0.
        """
        import torch
        from torch_geometric.data import Data

        words = text.split(" ") if text else []
        sentence = _sentences(words)
        if self.wordpieces is None:
            x = _hashed(words[: self.max_tokens])
            word = np.arange(len(x))
        else:
            x, word = _encode(self.wordpieces, text, words)
        # The last place, which -1 finds, is for special tokens: they belong to no sentence.
        of_token = np.append(sentence, -1)[word]
        return Data(
            x=torch.from_numpy(x), word=torch.from_numpy(word), sentence=torch.from_numpy(of_token), num_nodes=len(x)
        )


def _sentences(words: list[str]) -> Ids:
    """Return the number of each word's sentence, [W]; a sentence ends after a word that ends in `SENTENCE_ENDS`."""
    ends = np.fromiter((word.endswith(SENTENCE_ENDS) for word in words), dtype=np.int64, count=len(words))
    return ends.cumsum() - ends


def _hashed(words: list[str]) -> Ids:
    """Return the subword buckets of each word, [W, S]."""
    rows = [subword_ids(word.lower(), WORD_SUBWORDS) for word in words]
    return np.stack(rows) if rows else np.zeros((0, WORD_SUBWORDS), dtype=np.int64)


def _encode(wordpieces: Tokenizer, text: str, words: list[str]) -> tuple[Ids, Ids]:
    """Return wordpiece ids [T, 1] and the number of the word each belongs to [T], -1 for special tokens."""
    encoding = wordpieces.encode(text)
    word_end = np.cumsum([len(word) + 1 for word in words], dtype=np.int64) - 1
    # The last character of a piece tells its word: some tokenizers count the space before a word to its first piece.
    piece_end = np.array([end for _, end in encoding.offsets], dtype=np.int64)
    word = np.searchsorted(word_end, piece_end)
    word[np.array(encoding.special_tokens_mask, dtype=bool)] = -1
    return np.array(encoding.ids, dtype=np.int64)[:, None], word.astype(np.int64)


def _wordpieces(model: str, max_tokens: int, stored: str | None) -> Tokenizer:
    """Load a fast tokenizer, which cuts after `max_tokens` or after what its model can read."""
    if stored is not None:
        return _from_json(model, stored)
    try:
        from transformers import AutoTokenizer
    except ImportError:
        raise IgclError("data.tokenizer needs the package transformers: pip install 'igcl-lightning[text]'") from None
    try:
        tokenizer = AutoTokenizer.from_pretrained(model)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise IgclError(f"data.tokenizer {model!r}: no tokenizer to be had from there ({reason})") from error
    if not tokenizer.is_fast:
        raise IgclError(f"data.tokenizer {model!r}: not a fast tokenizer; save it with tokenizer.json")
    wordpieces: Tokenizer = tokenizer.backend_tokenizer
    wordpieces.enable_truncation(min(max_tokens, tokenizer.model_max_length))
    wordpieces.no_padding()
    return wordpieces


def _from_json(model: str, stored: str) -> Tokenizer:
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise IgclError("data.tokenizer needs the package transformers: pip install 'igcl-lightning[text]'") from None
    try:
        return Tokenizer.from_str(stored)
    except Exception as error:  # the package raises nothing more particular
        raise IgclError(f"data.tokenizer {model!r}: what is stored of it is no tokenizer ({error})") from error
