"""What the local branch of a module sees: matchings of the units of reports, as tensors and as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeGuard

import pandas as pd
import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import to_dense_batch

from igcl_lightning.data.samples import PairBatch
from igcl_lightning.graphs.schema import ReportGraph
from igcl_lightning.modules.matching import MatchingModule

NAMES = ("text", "label", "relates_to")
"""Columns of `unit_table` that tell what a unit is."""


class Matchings(NamedTuple):
    """Matchings of B pairs, image b with report b: L units of the report, regions of the image in R rows, C columns.

    Attributes:
        attention: weight of each region for each unit, float32 [B, L, R, C].
        before: score of each unit without semantic relations, float32 [B, L].
        after: score of each unit with them, float32 [B, L].
        weight: share of each unit in the score of its pair, float32 [B, L].
        mask: True where there is a unit, bool [B, L].
        entity: True where a unit is an entity, False where it is a word, bool [B, L].
        place: number of the unit among the words (`ReportGraph.words`) or entities of its report, int64 [B, L]; -1 for
            the learned unit of a report without words or entities.
        score: score of each pair by each of the module's `score_names`, float32 [B, S].
        row: hash of the row's id, int64 [B].
    """

    attention: Tensor
    before: Tensor
    after: Tensor
    weight: Tensor
    mask: Tensor
    entity: Tensor
    place: Tensor
    score: Tensor
    row: Tensor


def has_local_branch(module: Any) -> TypeGuard[MatchingModule]:
    """Return whether a module matches words or entities of reports with regions of images."""
    return (
        isinstance(module, MatchingModule)
        and module.local is not None
        and module.embedded_kind(module.sides[1]) in ("report", "graph", "report and graph")
    )


def say_no_local_branch(asker: str, module: Any) -> None:
    """Warn, once for all processes, that a callback has nothing to do."""
    rank_zero_warn(
        f"{asker} does nothing: {type(module).__name__} matches no words or entities with image regions "
        "(IGCL does with model.matching.weight above 0)"
    )


def matchings_of(module: MatchingModule, batch: PairBatch) -> Matchings:
    """Return the matchings of B pairs, by a module in evaluation mode that has a local branch."""
    assert module.local is not None
    encoded = {side: module.encode(side, module.side_input(side, batch)) for side in module.sides}
    image, report = (module.matched(side, each, module.project(side, each)) for side, each in encoded.items())
    grid = encoded[module.sides[0]].grid
    assert grid is not None  # as `matched` made sure
    seen = module.local.explain(image.regions, report.units)
    entity, place = _sources(module.embedded_kind(module.sides[1]), batch)
    attention = seen.attention.float().unflatten(2, grid)
    before, after, weight = seen.before.float(), seen.after.float(), seen.weight.float()
    score = torch.stack([module.aligned(name, image, report).float() for name in module.score_names], dim=1)
    return Matchings(attention, before, after, weight, report.mask, entity, place, score, batch.row)


def unit_table(matchings: Matchings, graphs: Sequence[ReportGraph]) -> pd.DataFrame:
    """Return the units of B pairs, in the order of their reports, one per row.

    Args:
        matchings: matchings of the pairs.
        graphs: the graphs of the B reports, which have the texts of the units.

    Returns:
        Columns `pair` (its number in the batch), `unit` (its number in the report), `text` (a word, or the words of an
        entity; empty for the learned unit of an empty report), `label` (that of an entity; None for a word),
        `relates_to` (the words of the entity that an entity modifies, is located at or suggests; None without),
        `weight`, `before`, `after`, `attention` (of all regions, row by row, float32 [R * C]), `grid_rows` (R) and
        `grid_columns` (C).
    """
    pair, unit = matchings.mask.nonzero(as_tuple=True)
    named = zip(pair.tolist(), matchings.entity[pair, unit].tolist(), matchings.place[pair, unit].tolist(), strict=True)
    names = [_name(graphs[number], is_entity, place) for number, is_entity, place in named]
    table = pd.DataFrame({"pair": pair.numpy()})
    table["unit"] = table.groupby("pair").cumcount()
    table[[*NAMES]] = pd.DataFrame(names, columns=NAMES, dtype=object)
    for name in ("weight", "before", "after"):
        table[name] = getattr(matchings, name)[pair, unit].numpy()
    table["attention"] = list(matchings.attention[pair, unit].flatten(1).numpy())
    return table.assign(grid_rows=matchings.attention.shape[2], grid_columns=matchings.attention.shape[3])


def _name(graph: ReportGraph, is_entity: bool, place: int) -> tuple[str, str | None, str | None]:
    """Return the values of `NAMES` of a unit."""
    if place < 0:
        return "", None, None
    if not is_entity:
        return graph.words[place], None, None
    entity = graph.entities[place]
    # The modified entity says more than the place: "small -> effusion".
    related = sorted((each for each in graph.relations if each.head == place), key=lambda each: each.type != "modify")
    return entity.tokens, entity.label, next((graph.entities[each.tail].tokens for each in related), None)


def _sources(kind: str, batch: PairBatch) -> tuple[Tensor, Tensor]:
    """Return `entity` and `place` of `Matchings`, for a kind of input of the encoder of reports (`embedded_kind`)."""
    parts = []
    if "report" in kind:
        parts.append((False, _word_places(batch.report)))
    if "graph" in kind:
        parts.append((True, _entity_places(batch.graph)))
    entity = torch.cat([torch.full_like(place, is_entity, dtype=torch.bool) for is_entity, place in parts], dim=1)
    return entity, torch.cat([place for _, place in parts], dim=1)


def _word_places(report: Data) -> Tensor:
    """Return the number of the word of each unit, [B, L], -1 where there is none: encoders merge pieces of a word."""
    of_word = report.word >= 0
    key = torch.unique_consecutive((report.batch * 2**32 + report.word)[of_word])
    return _filled(key % 2**32, key // 2**32, report.num_graphs)


def _entity_places(graph: Data) -> Tensor:
    """Return the number of the entity of each unit, [B, L], -1 where there is none."""
    place = torch.arange(len(graph.batch), device=graph.batch.device) - graph.ptr[graph.batch]
    return _filled(place, graph.batch, graph.num_graphs)


def _filled(place: Tensor, batch: Tensor, batch_size: int) -> Tensor:
    """Return the values of each sample, [B, L], -1 where there is none; L is at least 1, as of encoded reports."""
    filled: Tensor = to_dense_batch(place, batch, fill_value=-1, batch_size=batch_size)[0]
    return filled if filled.shape[1] else filled.new_full((batch_size, 1), -1)
