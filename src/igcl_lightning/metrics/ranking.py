"""Exact ranks among all candidates, some queries at a time: the whole table of scores is never in memory.

Ties count against the model: a match ranks behind every other candidate of the same score.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from igcl_lightning.nn.scoring import Scorer

CHUNK_CELLS = 4_000_000
"""Scores in memory at once: 16 MB in single precision. More are slower: they leave the processor's cache."""

CHUNK_QUERIES = 1024
"""Most queries that are scored at once."""

TIE = 1e-6
"""Scores that differ by no more, relative to scores above 1, are equal: equal inputs of different batches differ by
rounding, and so do the products of tables of different shapes."""

FAR = 1e30
"""More than any score."""

Strip = Callable[[Tensor], Tensor]
"""Maps the numbers of Q queries, int64 [Q], to their scores with all N candidates, [Q, N]."""


class Pool(NamedTuple):
    """What is known of N pairs.

    Attributes:
        match: id of what their second sides state, int64 [N]. Pairs match if they have the same id, and none but itself
            if it is negative (see `joined_ids`).
        study: id of the study, int64 [N]. Pairs of one study have one report: they are left out with the own pair.
        target: whether the pair has each label, bool [N, L]; L may be 0.
    """

    match: Tensor
    study: Tensor
    target: Tensor


class Found(NamedTuple):
    """What N queries found among the N candidates, each twice: with the own pair, and without pairs of its study.

    Attributes:
        rank: rank of the first match, 1 is best, int64 [2, N]; 0 where nothing else matches.
        nearest: numbers of the K nearest candidates, nearest first, int64 [2, N, K]; -1 where there are no more. Among
            equals, those that share no label with the query come first.
    """

    rank: Tensor
    nearest: Tensor


def chunks(number: int, device: Any = None) -> tuple[Tensor, ...]:
    """Return the numbers of `number` queries in chunks whose scores with as many candidates fit into memory."""
    size = max(1, min(CHUNK_QUERIES, CHUNK_CELLS // max(1, number)))
    return tuple(torch.arange(number, device=device).split(size))


def hit_rank(similarity: Tensor, positives: Tensor, left_out: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """Return the rank of each query's first positive, int64 [Q] in 1..N; 1 is best, 0 says that it has none.

    Wrong candidates that tie (`TIE`) with the best positive rank before it; a query with a NaN has the last rank.

    Args:
        similarity: scores of Q queries and N candidates, float [Q, N].
        positives: which candidates are right, [Q, N], True or 1.
        left_out: numbers of queries and of their candidates that are not in the pool, int64 [M] each.

    Raises:
        ValueError: the shapes differ.
    """
    if similarity.shape != positives.shape or similarity.ndim != 2:
        raise ValueError(f"similarity {tuple(similarity.shape)} and positives {tuple(positives.shape)} do not fit")
    # Floating point numbers, exact below 2 ** 24 candidates, and few new tables: much faster than masks of bool.
    wrong = 1 - positives.float()
    table = torch.add(similarity, wrong, alpha=-FAR)
    if left_out is not None:
        table[left_out], wrong[left_out] = -FAR, 0
    best = table.amax(dim=1, keepdim=True)
    before = torch.ge(similarity, best - _tie(best), out=table).mul_(wrong).sum(dim=1)
    rank = torch.where(best[:, 0].isnan(), similarity.shape[1], before.long() + 1)
    return rank * ~(best[:, 0] < -FAR / 2)


def joined_ids(ids: Tensor) -> Tensor:
    """Return one id for rows that share one of G ids, directly or through others, int64 [N].

    Args:
        ids: int64 [N, G]; negative ids are shared by none. A row of which all are negative gets -1.
    """
    rows = torch.arange(len(ids), device=ids.device)
    joined, before = rows, rows - 1
    columns = [(known, each[known].unique(return_inverse=True)[1]) for each in ids.T if (known := each >= 0).any()]
    while not torch.equal(joined, before):
        before, joined = joined, joined.clone()
        for known, group in columns:
            lowest = joined.new_full((len(ids),), len(ids)).scatter_reduce(0, group, joined[known], "amin")
            joined[known] = lowest[group]
    return joined.masked_fill((ids < 0).all(dim=1), -1)


def numbered(ids: Tensor) -> Tensor:
    """Return ids int64 [N] as `matches` compares them, float32 [N]: as numbers from 0 up, NaN for negative ones.

    Numbers in single precision are compared several times as fast as int64, and NaN equals nothing.
    """
    return torch.where(ids < 0, torch.nan, ids.unique(return_inverse=True)[1].float())


def matches(number: Tensor, queries: Tensor) -> Tensor:
    """Return 1 where a candidate is the query itself or has its number (`numbered`), else 0, float32 [Q, N]."""
    found = number.new_empty(len(queries), len(number))
    torch.eq(number[queries, None], number, out=found)
    found[torch.arange(len(queries), device=number.device), queries] = 1
    return found


def search(strip: Strip, pool: Pool, top: int) -> Found:
    """Search the whole pool for each of its N queries, and keep the `top` nearest candidates."""
    match, target, studies = numbered(pool.match), pool.target.float(), _Groups(pool.study)
    number = len(pool.study)
    # Made before the tables of scores: small results among them would split the memory that each chunk leaves.
    found = Found(pool.study.new_empty(2, number), pool.study.new_empty(2, number, top))
    for at in chunks(number, pool.study.device):
        score, right = strip(at), matches(match, at)
        found.rank[:, at] = torch.stack([hit_rank(score, right), hit_rank(score, right, studies.members(at))])
        alike = (target[at] @ target.T).clamp_(max=1)
        nearest = _nearest(score, alike, top + int(studies.size.max()))
        others = nearest.masked_fill(studies.number[nearest] == studies.number[at, None], -1)
        others = others.gather(1, (others < 0).byte().sort(dim=1, stable=True).indices)
        found.nearest[:, at] = torch.stack([nearest[:, :top], others[:, :top]])
    return found


def _nearest(score: Tensor, alike: Tensor, top: int) -> Tensor:
    """Return the candidates of the highest scores, int64 [Q, top], at last those `alike` among equals; -1 for none."""
    order = torch.sub(score, alike.mul_(_tie(score.amax(dim=1, keepdim=True))), out=alike).nan_to_num_(nan=-FAR)
    near = order.topk(min(top, order.shape[1]), dim=1)
    found = near.indices.masked_fill(near.values < -FAR / 2, -1)
    return torch.nn.functional.pad(found, (0, top - found.shape[1]), value=-1)


class _Groups:
    """Rows by an id, int64 [N]: the `number` of each row's group, [N], and the `size` of each group."""

    def __init__(self, ids: Tensor) -> None:
        self.number = ids.unique(return_inverse=True)[1]
        self.size = self.number.bincount()
        self._rows = self.number.argsort(stable=True)
        self._start = self.size.cumsum(0) - self.size

    def members(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return places in `rows` and the members of their groups, themselves included, int64 [M] each."""
        group = self.number[rows]
        size = self.size[group]
        place = torch.arange(len(rows), device=rows.device).repeat_interleave(size)
        within = torch.arange(len(place), device=rows.device) - (size.cumsum(0) - size)[place]
        return place, self._rows[self._start[group][place] + within]


def _tie(score: Tensor) -> Tensor:
    """Return the largest difference to a score at which another one is equal."""
    return score.abs().clamp_(min=1).mul_(TIE)


def label_precision(nearest: Tensor, target: Tensor, k: Sequence[int]) -> Tensor:
    """Return precision at k by label, float32 [Q, len(k), L]; NaN for a query without the label.

    It is the share of a query's k nearest candidates (of all, where there are fewer) that have the label. Where each
    pair has one label, as in CheXpert-5x200, this is GLoRIA's precision at k; a query with several labels counts once
    for each of them.

    Args:
        nearest: numbers of candidates, nearest first, int64 [Q, K]; -1 for none. Query q is pair q.
        target: whether a pair has each label, bool [Q, L].
        k: numbers of candidates, at most K each.
    """
    shares = []
    for number in k:
        near = nearest[:, :number]
        shown = near >= 0
        carried = (target[near] & shown[..., None]).sum(dim=1)
        share = carried / shown.sum(dim=1, keepdim=True).clamp(min=1)
        shares.append(share.masked_fill(~target, torch.nan))
    return torch.stack(shares, dim=1)


def reranked(near: Strip, score: Callable[[Tensor, Tensor], Tensor], shortlist: int) -> Strip:
    """Return a strip in which each query's nearest candidates are ordered by a score, before all others.

    Args:
        near: scores that find the nearest candidates and order the rest, within -1 and 1.
        score: maps the number of a query and numbers of candidates [S] to scores [S].
        shortlist: number of nearest candidates, S.
    """

    def strip(at: Tensor) -> Tensor:
        first = near(at)
        chosen = first.topk(min(shortlist, first.shape[1]), dim=1).indices
        fine = torch.stack([score(query, candidates) for query, candidates in zip(at, chosen, strict=True)])
        lowest = fine.amin(dim=1, keepdim=True)
        return (first - 2 + lowest).scatter(1, chosen, fine)

    return strip


def backwards(score: Scorer) -> Scorer:
    """Return a scorer of second sides as queries and first sides as candidates."""
    return lambda second, first: score(first, second).T
