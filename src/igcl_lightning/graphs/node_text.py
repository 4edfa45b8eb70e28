"""Frozen language-model features of the entities of a report, in the context of the whole report.

The feature of an entity is the mean over its words, the feature of a word the mean over its wordpieces, and the feature
of a wordpiece the sum of the last four hidden layers, as in IGCL. A report longer than the model's input is read in
overlapping windows.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from igcl_lightning.errors import IgclError, one_line
from igcl_lightning.graphs.batching import Ids
from igcl_lightning.graphs.schema import ReportGraph
from igcl_lightning.graphs.tokens import words_of_pieces

if TYPE_CHECKING:
    from transformers import BatchEncoding, PreTrainedModel, PreTrainedTokenizerBase

NUM_SUMMED_LAYERS = 4

WORDS = ("mean", "sum")

Floats = NDArray[np.float32]


class NodeText:
    """Features of the entities of report graphs from a frozen language model.

    Args:
        folder: folder or hub name of a Hugging Face encoder, such as BERT, with a fast tokenizer.
        word: reduction of wordpieces to a word: "mean", or "sum" as in the authors' code, which grows with the number
            of pieces.

    Attributes:
        channels: width of the features.
        name: name of the model and a short hash of its weights, and "-sum" for sums.

    Raises:
        IgclError: `transformers` is missing, or `folder` holds no encoder with a fast tokenizer.
        ValueError: unknown word.
    """

    def __init__(self, folder: str, word: str = "mean") -> None:
        if word not in WORDS:
            raise ValueError(f"word {word!r} is not one of {', '.join(WORDS)}")
        self.word = word
        self.tokenizer, self.model = _load(folder)
        self.channels = int(self.model.config.hidden_size)
        self.name = f"{Path(folder).name}-{_weights_hash(self.model)}{'-sum' if word == 'sum' else ''}"
        # RoBERTa and similar models number positions from the one after the padding's.
        unused = getattr(self.model.embeddings, "padding_idx", None)
        places = int(self.model.config.max_position_embeddings) - (0 if unused is None else int(unused) + 1)
        self.window = min(self.tokenizer.model_max_length, places)

    def __call__(self, graph: ReportGraph) -> NDArray[np.float16]:
        """Return the features of a graph's N entities, float16 [N, channels]; zero without any wordpiece."""
        features = np.zeros((len(graph.entities), self.channels), dtype=np.float32)
        if graph.entities:
            words, read = self.word_features(graph.words)
            for row, entity in enumerate(graph.entities):
                span = slice(entity.start, entity.end + 1)
                if read[span].any():
                    features[row] = words[span][read[span]].mean(axis=0)
        return features.astype(np.float16)

    def word_features(self, words: list[str]) -> tuple[Floats, NDArray[np.bool_]]:
        """Return the features of the words of a text [W, channels], and which words have any wordpiece [W]."""
        pieces, word = self._read(words)
        count = np.bincount(word, minlength=len(words))
        total = np.zeros((len(words), self.channels), dtype=np.float32)
        np.add.at(total, word, pieces)
        if self.word == "mean":
            total /= np.maximum(count, 1)[:, None]
        return total, count > 0

    def _read(self, words: list[str]) -> tuple[Floats, Ids]:
        """Return the P wordpieces of a text, [P, channels], and the number of the word each belongs to, [P].

        Windows overlap by half; each word is taken from the window with most context on its shorter side.
        """
        text = " ".join(words)
        pieces = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        word = words_of_pieces(text, [end for _, end in pieces["offset_mapping"]])
        overlap = (self.window - self.tokenizer.num_special_tokens_to_add()) // 2
        windows = self.tokenizer(
            text,
            truncation=True,
            max_length=self.window,
            stride=overlap,
            padding=True,
            return_overflowing_tokens=True,
            return_special_tokens_mask=True,
            return_tensors="pt",
        )
        own = windows.pop("special_tokens_mask").numpy() == 0
        size = own.sum(axis=1)
        start = np.arange(len(size)) * (size[0] - overlap)
        choice = _best_window(word, start, start + size)
        place = own.argmax(axis=1)[choice] + np.arange(len(word)) - start[choice]
        return self._hidden(windows)[choice, place], word

    def _hidden(self, windows: BatchEncoding) -> Floats:
        """Return the sum of the last hidden layers of each token, [windows, tokens, channels]."""
        import torch

        known = {name: windows[name].to(self.model.device) for name in self.tokenizer.model_input_names}
        with torch.inference_mode():
            layers = self.model(**known, output_hidden_states=True).hidden_states[1:]
        summed: Floats = torch.stack(layers[-NUM_SUMMED_LAYERS:]).sum(dim=0).float().cpu().numpy()
        return summed


def _best_window(word: Ids, start: Ids, end: Ids) -> Ids:
    """Return for each wordpiece the window [start, end) with most context on the shorter side of its word, [P]."""
    piece = np.arange(len(word))
    first, last = np.searchsorted(word, word, side="left"), np.searchsorted(word, word, side="right") - 1
    context = np.minimum(first - start[:, None], end[:, None] - 1 - last)
    held = (piece >= start[:, None]) & (piece < end[:, None])
    best: Ids = np.where(held, context, -len(word) - 1).argmax(axis=0)
    return best


def _load(folder: str) -> tuple[PreTrainedTokenizerBase, PreTrainedModel]:
    try:
        import torch
        from transformers import AutoModel, AutoTokenizer
    except ImportError:
        raise IgclError("node text needs the package transformers: pip install 'igcl-lightning[text]'") from None
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model = AutoModel.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise IgclError(f"node text: no language model found at {folder!r} ({one_line(error)})") from error
    if not tokenizer.is_fast:
        raise IgclError(f"node text: {folder!r} has no fast tokenizer; save one with tokenizer.json")
    return tokenizer, model.float().eval().to("cuda" if torch.cuda.is_available() else "cpu")


def _weights_hash(model: PreTrainedModel) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:8]
