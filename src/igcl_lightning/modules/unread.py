"""What training never reads of report graphs: errors in it would change nothing."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from igcl_lightning.losses.contrastive import ContrastiveLoss
from igcl_lightning.nn.graph_encoder import GraphEncoder
from igcl_lightning.nn.matching import LocalMatching


def unread_of_graphs(module: nn.Module, losses: Iterable[ContrastiveLoss]) -> dict[str, str]:
    """Return what no part of a module reads of graphs, "assertions" or "relations", and the options that say so.

    Args:
        module: its graph encoder, and a local branch that reads relations, if any, are found among its parts.
        losses: the losses that are trained; empty if they are not known.

    Returns:
        empty also if the module has no `GraphEncoder`, whose reading is known.
    """
    encoders = [part for part in module.modules() if isinstance(part, GraphEncoder)]
    losses = list(losses)
    if len(encoders) != 1 or not losses or any(loss.reads_graphs for loss in losses):
        return {}
    options = f"model.loss.targets {losses[0].targets}"
    unread = {part: f"{option} and {options}" for part, option in encoders[0].unread.items()}
    if any(isinstance(part, LocalMatching) and part.reads_relations for part in module.modules()):
        unread.pop("relations", None)
    return unread
