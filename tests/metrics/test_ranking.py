"""Ranks, nearest candidates and precision by label against loops over queries and candidates in plain Python."""

import gc

import pytest
import torch

from igcl_lightning.metrics import ranking
from igcl_lightning.metrics.ranking import (
    Pool,
    backwards,
    hit_rank,
    joined_ids,
    label_precision,
    matches,
    numbered,
    reranked,
    search,
)
from igcl_lightning.nn.scoring import cosine_similarity

NUM = 500
K = (1, 5, 10)


def made(seed=0):
    """Pairs with equal embeddings, equal and empty statements, two rows in a study, and one of three labels or none.

    Products of the embeddings are multiples of 1 / 4096, so that scores are equal or differ by more than rounding.
    """
    generator = torch.Generator().manual_seed(seed)
    first, second = torch.randint(-20, 21, (2, NUM, 8), generator=generator) / 64
    second[NUM // 2 :] = second[: NUM - NUM // 2]  # exact ties, with right and with wrong candidates
    first[::7] = first[0]
    key = torch.randint(60, (NUM,), generator=generator)
    text = torch.randint(300, (NUM,), generator=generator)
    study = torch.arange(NUM) // 2
    empty = torch.arange(NUM) % 11 == 3
    match = torch.where(empty, -1, torch.where(key < 30, key, 1000 + text))
    target = torch.eye(4, 3, dtype=torch.bool)[torch.randint(4, (NUM,), generator=generator)]
    return first, second, Pool(match, study, target)


def ordered(scores, last):
    """Candidates by falling score; among equals, those that are `last` come last."""
    return sorted(range(len(scores)), key=lambda j: (-scores[j], last[j]))


def loop(scores, pool, top):
    """Rank of the first match and the nearest candidates of each query, with the own pair and without its study."""
    ids, study = pool.match.tolist(), pool.study.tolist()
    labels = [{label for label, has in enumerate(row) if has} for row in pool.target.tolist()]
    ranks, nearest = [[], []], [[], []]
    for i, row in enumerate(scores):
        right = [i == j or (ids[i] == ids[j] and ids[i] >= 0) for j in range(len(row))]
        alike = [bool(labels[i] & labels[j]) for j in range(len(row))]
        by_match, by_label = ordered(row, right), ordered(row, alike)
        for pool_number, others in enumerate((range(-1, 0), [j for j in range(len(row)) if study[j] == study[i]])):
            kept = [right[j] for j in by_match if j not in others]
            ranks[pool_number].append(1 + kept.index(True) if any(kept) else 0)
            near = [j for j in by_label if j not in others][:top]
            nearest[pool_number].append([labels[j] for j in near])
    return torch.tensor(ranks), nearest


@pytest.fixture(scope="module")
def pairs():
    return made()


def assert_precision_equals_the_loop(found, nearest, pool):
    for number in range(2):
        precision = label_precision(found.nearest[number], pool.target, K)
        shares = [
            [[sum(label in each for each in near[:k]) / k for label in range(pool.target.shape[1])] for k in K]
            for near in nearest[number]
        ]
        expected = torch.tensor(shares).masked_fill(~pool.target[:, None], torch.nan)
        torch.testing.assert_close(precision, expected, equal_nan=True)


@pytest.mark.parametrize("back", [False, True])
def test_search_equals_the_loop(pairs, monkeypatch, back):
    first, second, pool = pairs
    query, candidate = (second, first) if back else (first, second)
    score = backwards(cosine_similarity) if back else cosine_similarity
    found = search(lambda at: score(query[at], candidate), pool, 10)
    ranks, nearest = loop((query @ candidate.T).tolist(), pool, 10)
    assert torch.equal(found.rank, ranks)
    assert (ranks[0] > 0).all()
    assert 0 < (ranks[1] == 0).sum() < NUM, "some have no other match, and some have"
    assert_precision_equals_the_loop(found, nearest, pool)
    monkeypatch.setattr(ranking, "CHUNK_QUERIES", 64)
    chunked = search(lambda at: score(query[at], candidate), pool, 10)
    assert torch.equal(chunked.rank, found.rank)
    assert torch.equal(chunked.nearest, found.nearest)


def test_a_query_with_several_labels_counts_for_each(pairs):
    generator = torch.Generator().manual_seed(1)
    # No ties: among equals that share a label with the query, any may come first.
    scores = torch.rand(NUM, NUM, generator=generator).argsort(dim=1).float()
    target = torch.rand(NUM, 3, generator=generator) < torch.tensor([0.5, 0.2, 0.1])
    assert target.sum(dim=1).unique().tolist() == [0, 1, 2, 3]
    pool = pairs[2]._replace(target=target)
    _, nearest = loop(scores.tolist(), pool, 10)
    assert_precision_equals_the_loop(search(lambda at: scores[at], pool, 10), nearest, pool)


def test_memory_bounds_the_queries_of_a_chunk(monkeypatch):
    monkeypatch.setattr(ranking, "CHUNK_CELLS", 5000)
    assert {len(chunk) for chunk in ranking.chunks(NUM)} == {10}
    assert torch.cat(ranking.chunks(NUM)).tolist() == list(range(NUM))


def test_nothing_is_kept_from_chunk_to_chunk(pairs, monkeypatch):
    first, second, pool = pairs
    tensors = []

    def strip(at):
        tensors.append(sum(type(each) is torch.Tensor for each in gc.get_objects()))
        return first[at] @ second.T

    monkeypatch.setattr(ranking, "CHUNK_QUERIES", 64)
    gc.collect()
    search(strip, pool, 10)
    assert len(tensors) == 8
    assert tensors[2:] == tensors[2:3] * 6, "after the first chunks, whose tables are replaced, the same are alive"


def test_scores_that_differ_by_rounding_are_equal():
    assert hit_rank(torch.tensor([[0.5, 0.5 - 5e-7, 0.4]]), torch.tensor([[True, False, False]])).tolist() == [2]
    assert hit_rank(torch.tensor([[90.0, 90.0 - 5e-5, 4]]), torch.tensor([[True, False, False]])).tolist() == [2]
    assert hit_rank(torch.tensor([[0.5, 0.5 - 5e-6, 0.4]]), torch.tensor([[True, False, False]])).tolist() == [1]


def test_a_small_table():
    similarity = torch.tensor([[0.9, 0.1, 0.5], [0.9, 0.1, 0.5], [0.9, 0.1, 0.5]])
    positives = torch.tensor([[True, False, False], [False, True, False], [False, False, False]])
    assert hit_rank(similarity, positives).tolist() == [1, 3, 0]
    left_out = torch.arange(3), torch.zeros(3, dtype=torch.int64)
    assert hit_rank(similarity, positives, left_out).tolist() == [0, 2, 0]


def test_rows_are_joined_by_any_id_and_through_others():
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(-40, 120, (NUM // 5, 3), generator=generator)
    joined = [{row} for row in range(len(ids))]  # the set of rows that each row belongs to
    for i in range(len(ids)):
        for j in range(i):
            if ((ids[i] == ids[j]) & (ids[i] >= 0)).any():
                both = joined[i] | joined[j]
                for row in both:
                    joined[row] = both
    found = joined_ids(ids).tolist()
    for i in range(len(ids)):
        assert (found[i] == -1) == bool((ids[i] < 0).all())
        if found[i] >= 0:
            assert {j for j in range(len(ids)) if found[j] == found[i]} == joined[i]
    assert 10 < len(set(found)) < len(ids)


def test_a_diverged_model_finds_nothing():
    pool = Pool(torch.full((5,), -1), torch.arange(5), torch.ones(5, 1, dtype=torch.bool))
    found = search(lambda at: torch.full((len(at), 5), torch.nan), pool, 2)
    assert found.rank[0].tolist() == [5] * 5
    assert (label_precision(found.nearest[0], pool.target, (1, 2)) == 0).all()


def test_fewer_candidates_than_k():
    pool = Pool(torch.full((3,), -1), torch.arange(3), torch.ones(3, 1, dtype=torch.bool))
    found = search(lambda at: torch.eye(3)[at], pool, 4)
    assert (found.nearest >= 0).sum(dim=2).tolist() == [[3] * 3, [2] * 3]
    assert (label_precision(found.nearest[1], pool.target, (4,)) == 1).all()


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"\(1, 2\) and positives \(2, 1\) do not fit"):
        hit_rank(torch.zeros(1, 2), torch.ones(2, 1, dtype=torch.bool))


@pytest.mark.parametrize("shortlist", [NUM, 40])
def test_a_shortlist_is_ordered_anew_and_stays_before_the_rest(pairs, shortlist):
    first, second, pool = pairs
    near = first @ second.T
    fine = 0.1 * torch.randn(NUM, NUM, generator=torch.Generator().manual_seed(2)).double()
    found = search(reranked(lambda at: near[at], lambda one, some: fine[one, some].float(), shortlist), pool, 10)
    for i in range(0, NUM, 25):
        by_cosine = near[i].argsort(descending=True, stable=True).tolist()
        chosen = set(near[i].topk(shortlist).indices.tolist())
        order = sorted(chosen, key=lambda j: -fine[i, j]) + [j for j in by_cosine if j not in chosen]
        assert found.nearest[0, i].tolist() == order[:10]
        right = matches(numbered(pool.match), torch.tensor([i]))[0]
        first_hit = 1 + right[order].tolist().index(1)
        if first_hit <= shortlist or shortlist == NUM:
            assert found.rank[0, i] == first_hit
        else:
            assert found.rank[0, i] > shortlist
