"""A map of the shared embedding space, by side and label."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_warn
from numpy.typing import NDArray

from igcl_lightning.callbacks.validation_pairs import ValidationPairs, ValidationPairsCallback
from igcl_lightning.errors import IgclError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METHODS = {"tsne": "t-SNE", "umap": "UMAP"}
MIN_POINTS = 10

GAP = (
    "{} and {} may lie apart (modality gap): their encoders start apart,\n"
    "and the loss, which only ranks pairs across the sides, need not close it."
)
"""Caption of a map of two encoders; see Liang et al., Mind the Gap, NeurIPS 2022."""

LOOKS = (("present", 1.0, "#D55E00"), ("absent", 0.0, "#0072B2"), ("not known", np.nan, "0.6"))
"""Name, value and colour of a label."""


class EmbeddingMap(ValidationPairsCallback):
    """Draws `plots/embedding_map.png`: both sides of the validation pairs in one map, coloured by a label.

    Labels come from `trainer.datamodule.row_labels(row)`; without it all points have one colour.

    Args:
        label: label that colours the points (default: the one nearest to half present).
        max_pairs: number of pairs.
        every_n_epochs: epochs between drawings during fit.
        method: "tsne", or "umap", which needs umap-learn.

    Raises:
        IgclError: the method is unknown, or its library is not installed.
    """

    picture = "embedding_map"

    def __init__(
        self, label: str | None = None, max_pairs: int = 300, every_n_epochs: int = 10, method: str = "tsne"
    ) -> None:
        super().__init__(max_pairs, num_images=0, every_n_epochs=every_n_epochs)
        if method not in METHODS:
            raise IgclError(f"EmbeddingMap.method is {method!r}, not one of {', '.join(METHODS)}")
        if method == "umap" and find_spec("umap") is None:
            raise IgclError("EmbeddingMap.method umap needs umap-learn: pip install 'igcl-lightning[umap]'")
        self.label = label
        self.method = method

    def draw(self, pairs: ValidationPairs, trainer: Trainer) -> Figure | None:
        """Return the map, or None if embeddings are not finite or fewer than four."""
        from matplotlib.figure import Figure

        embeddings = torch.cat([pairs.first, pairs.second]).numpy()
        if len(embeddings) < 4 or not np.isfinite(embeddings).all():
            return None
        label, values = self._colouring(pairs.row.tolist(), trainer)
        figure = Figure(figsize=(6.2, 4.4), layout="constrained")
        axes = figure.subplots(subplot_kw={"xticks": [], "yticks": []})
        module: Any = trainer.lightning_module
        sides = zip(module.sides, "o^", np.split(plane(embeddings, self.method), 2), strict=True)
        for side, marker, points in sides:
            for state, value, colour in LOOKS:
                chosen = np.isclose(values, value, equal_nan=True)
                if chosen.any():
                    name = f"{side}, {state}" if label else side
                    x, y = points[chosen].T
                    axes.scatter(x, y, s=16, c=colour, marker=marker, alpha=0.7, lw=0, label=name)
        method = "PCA" if len(embeddings) < MIN_POINTS else METHODS[self.method]
        axes.set_title(f"{len(pairs.row)} validation pairs, {method}", fontsize="medium")
        first, second = module.sides
        one, other = (getattr(module, f"{side}_encoder", None) for side in (first, second))
        if one is not other:  # SimCLR has one encoder
            figure.supxlabel(GAP.format(first.capitalize(), second), fontsize="small", color="0.3")
        figure.legend(loc="outside right upper", title=label, frameon=False)
        return figure

    def _colouring(self, rows: Sequence[int], trainer: Trainer) -> tuple[str | None, NDArray[np.float64]]:
        """Return the label that colours the points and its values [N], all NaN if it is unavailable."""
        row_labels = getattr(getattr(trainer, "datamodule", None), "row_labels", None)
        labels = pd.DataFrame([row_labels(row) for row in rows] if row_labels else [], dtype=float)
        known = labels.dropna(axis=1, how="all")
        if self.label is not None and self.label not in known:
            rank_zero_warn(f"EmbeddingMap.label: {self.label!r} is unknown for all rows, known are {list(known)}")
        elif not known.empty:
            name = self.label or str((known.mean() - 0.5).abs().idxmin())
            return name, known[name].to_numpy()
        return None, np.full(len(rows), np.nan)


def plane(embeddings: NDArray[np.float32], method: str = "tsne") -> NDArray[np.float32]:
    """Project embeddings [N, D] to points [N, 2], the same each time.

    By t-SNE (van der Maaten and Hinton 2008) or UMAP (McInnes et al. 2018); fewer than `MIN_POINTS`, which have no
    neighbourhoods, by PCA.
    """
    projection: Any
    if len(embeddings) < MIN_POINTS:
        from sklearn.decomposition import PCA

        projection = PCA(2)
    elif method == "umap":
        from umap import UMAP

        projection = UMAP(n_neighbors=min(15, len(embeddings) - 1), init="pca", random_state=0, n_jobs=1)
    else:
        from sklearn.manifold import TSNE

        projection = TSNE(perplexity=min(30.0, (len(embeddings) - 1) / 3), init="pca", random_state=0)
    return np.asarray(projection.fit_transform(embeddings), dtype=np.float32)
