import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.nn.utils.rnn import pad_sequence

from igcl_lightning.data.sources.phantom import phantom_study
from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.identity import NO_FACT, graph_identity, stated_facts
from igcl_lightning.losses.contrastive import (
    ContrastiveLoss,
    ContrastiveOptions,
    Similarity,
    batch_similarity,
)
from igcl_lightning.losses.semantic import fact_overlap
from igcl_lightning.losses.targets import TARGETS, PairIds, contrastive_targets, distribution
from igcl_lightning.nn.scoring import cosine_similarity

STUDY = [0, 0, 1, 2, 3]
PATIENT = [0, 0, 0, 1, 2]
KEY = [7, 7, 8, 7, -1]


def ids(study=STUDY, patient=PATIENT, key=KEY, facts=None, row=None):
    size = len(study)
    row = torch.arange(size) + 100 if row is None else torch.tensor(row)
    facts = torch.arange(size)[:, None] if facts is None else facts
    return PairIds(row, torch.tensor(study), torch.tensor(patient), torch.tensor(key), facts)


def taken(every, rows):
    """The ids of some rows."""
    return PairIds(*(value if value is None else value[rows] for value in every))


def cosines(first, second):
    return batch_similarity(cosine_similarity, first, second)


def distinct(size):
    return ids(list(range(size)), list(range(size)), list(range(size)))


def embeddings(size, seed=0, channels=6):
    generator = torch.Generator().manual_seed(seed)
    pair = torch.randn(2, size, channels, generator=generator, dtype=torch.float64)
    return F.normalize(pair, dim=-1).unbind()


def info_nce_by_loops(image, graph, scale, positive, kept, first_weight=0.5):
    """The equations term by term: the weighted mean over rows and directions of -log of the positives' share."""
    size, total = len(image), 0.0
    for one, other, weight in ((image, graph, first_weight), (graph, image, 1 - first_weight)):
        for i in range(size):
            logit = [
                scale * sum(float(a) * float(b) for a, b in zip(one[i], other[j], strict=True)) for j in range(size)
            ]
            denominator = sum(math.exp(logit[j]) for j in range(size) if kept(i, j))
            positives = [j for j in range(size) if positive(i, j)]
            share = [math.log(math.exp(logit[j]) / denominator) for j in positives]
            total -= weight * sum(share) / len(positives) / size
    return total


@pytest.mark.parametrize(
    ("targets", "positive", "kept"),
    [
        ("identity", lambda i, j: i == j, lambda i, j: True),
        ("study", lambda i, j: STUDY[i] == STUDY[j], lambda i, j: STUDY[i] == STUDY[j] or PATIENT[i] != PATIENT[j]),
        ("graph", lambda i, j: i == j or (KEY[i] == KEY[j] and KEY[i] >= 0), lambda i, j: True),
    ],
)
def test_loss_is_the_equation_by_loops(targets, positive, kept):
    image, graph = embeddings(5)
    loss = ContrastiveLoss(ContrastiveOptions(temperature=0.2, targets=targets)).double()
    expected = info_nce_by_loops(image, graph, 5.0, positive, kept)
    assert loss(cosines(image, graph), ids()).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("first_weight", [0.0, 0.75, 1.0])
def test_directions_are_weighted_as_in_convirt(first_weight):
    image, report = embeddings(5)
    loss = ContrastiveLoss(ContrastiveOptions(temperature=0.1, targets="identity", image_weight=first_weight)).double()
    expected = info_nce_by_loops(image, report, 10.0, lambda i, j: i == j, lambda i, j: True, first_weight)
    assert loss(cosines(image, report), ids()).item() == pytest.approx(expected, rel=1e-6)


def test_a_fixed_temperature_is_no_parameter_but_travels_with_the_weights():
    loss = ContrastiveLoss(ContrastiveOptions(temperature=0.1, learn_temperature=False))
    assert not list(loss.parameters())
    other = ContrastiveLoss(ContrastiveOptions(temperature=0.5, learn_temperature=False))
    other.load_state_dict(loss.state_dict())
    assert other.logit_scale.exp().item() == pytest.approx(10, rel=1e-5)


@pytest.mark.parametrize("targets", TARGETS)
def test_distinct_pairs_give_plain_info_nce(targets):
    loss, sides = ContrastiveLoss(ContrastiveOptions(targets=targets)).double(), []
    for _ in range(2):
        sides.append([side.requires_grad_() for side in embeddings(4)])
    (image, graph), (plain_image, plain_graph) = sides
    logits = plain_image @ plain_graph.T * loss.logit_scale.exp().detach()
    own = torch.arange(4)
    plain = (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
    got = loss(cosines(image, graph), distinct(4))
    torch.testing.assert_close(got, plain, atol=1e-12, rtol=0)
    for value in (got, plain):
        value.backward()
    torch.testing.assert_close(image.grad, plain_image.grad, atol=1e-12, rtol=0)
    torch.testing.assert_close(graph.grad, plain_graph.grad, atol=1e-12, rtol=0)


def test_the_two_sides_are_treated_alike():
    image, graph = embeddings(5)
    loss = ContrastiveLoss().double()
    torch.testing.assert_close(loss(cosines(image, graph), ids()), loss(cosines(graph, image), ids()))


def test_identical_embeddings_give_log_of_the_batch_size():
    same = F.normalize(torch.ones(8, 4), dim=1)
    assert ContrastiveLoss()(cosines(same, same), distinct(8)).item() == pytest.approx(math.log(8), rel=1e-5)


def test_pairs_of_one_graph_attract_and_never_repel():
    image, graph = (side.requires_grad_() for side in embeddings(4))
    same = [5, 5, 5, 5]
    loss = ContrastiveLoss(ContrastiveOptions(temperature=0.5, targets="graph")).double()
    before = (image @ graph.T).std().item()
    # Gradient descent on the similarities themselves must leave all pairs equally similar, not the own pair most.
    for _ in range(300):
        gradients = torch.autograd.grad(
            loss(cosines(image, graph), ids([0, 1, 2, 3], [0, 1, 2, 3], same)), [image, graph]
        )
        with torch.no_grad():
            image, graph = (
                F.normalize(side - gradient, dim=1).requires_grad_()
                for side, gradient in zip((image, graph), gradients, strict=True)
            )
    assert (image @ graph.T).std().item() < before / 20
    assert loss(cosines(image, graph), ids([0, 1, 2, 3], [0, 1, 2, 3], same)).item() == pytest.approx(
        math.log(4), abs=1e-2
    )


@pytest.mark.parametrize("targets", ["study", "graph", "soft"])
def test_a_batch_of_identical_reports_pushes_no_pair_below_the_others(targets):
    """Only differences between equal pairs are reduced: no row is pushed away on the whole, equal ones not at all."""
    same = ids([3] * 5, [3] * 5, [7] * 5, torch.tensor([[1, 4, -1]] * 5))
    loss = ContrastiveLoss(ContrastiveOptions(targets=targets)).double()
    image, graph = embeddings(5)
    for matrix in (image @ graph.T, torch.full((5, 5), 0.3, dtype=torch.float64)):
        rows, columns = (side.clone().requires_grad_() for side in (matrix, matrix.T))
        value = loss(Similarity(rows, columns), same)
        value.backward()
        assert value.isfinite()
        for side in (rows, columns):
            torch.testing.assert_close(side.grad.sum(dim=1), torch.zeros(5).double(), atol=1e-8, rtol=0)
    assert rows.grad.abs().max() < 1e-7


def test_soft_targets_follow_the_overlap_of_facts():
    facts = torch.tensor([[2, 5, -1], [2, 5, -1], [5, 9, -1], [-1, -1, -1]])
    overlap = fact_overlap(facts, facts)
    torch.testing.assert_close(overlap[0], torch.tensor([1.0, 1.0, 0.5, 0.0]))
    weight, keep = contrastive_targets("soft", *[ids(list(range(4)), list(range(4)), [1, 1, 2, -1], facts)] * 2)
    torch.testing.assert_close(weight[0], torch.tensor([1.0, 1.0, 0.25, 0.0]))
    torch.testing.assert_close(distribution(weight)[0], torch.tensor([1.0, 1.0, 0.25, 0.0]) / 2.25)
    assert weight[3].tolist() == [0, 0, 0, 1]
    assert keep.all()


def overlap_of_sets(one, other):
    return len(one & other) / math.sqrt(len(one) * len(other)) if one and other else 0.0


@pytest.fixture(scope="module")
def reports():
    """The facts of 300 phantom reports, as sets of texts and as the tensor that batches hold."""
    graphs = [phantom_study(index, size=64).graph for index in range(300)]
    facts = [torch.tensor(graph_identity(graph)[1]) for graph in graphs]
    return [set(stated_facts(graph)) for graph in graphs], pad_sequence(facts, True, NO_FACT)


def test_graphs_without_a_common_fact_never_overlap(reports):
    sets, facts = reports
    apart = torch.tensor([[not one & other for other in sets] for one in sets])
    assert len(set.union(*sets)) > 1000
    assert 0.1 < apart.float().mean() < 0.9
    assert torch.equal(fact_overlap(facts, facts) == 0, apart)


def test_overlap_is_that_of_the_sets(reports):
    sets, facts = reports
    rows = slice(40, 90)  # one process has some of the rows of all
    expected = torch.tensor([[overlap_of_sets(one, other) for other in sets] for one in sets[rows]])
    torch.testing.assert_close(fact_overlap(facts[rows], facts), expected)
    own = fact_overlap(facts, facts).diagonal()
    assert own.tolist() == [float(bool(stated)) for stated in sets]  # exactly, and some state nothing
    assert not own.all()


@pytest.mark.parametrize("seed", range(20))
def test_overlap_of_awkward_lists_is_that_of_the_sets(seed):
    rng = np.random.default_rng(seed)
    # Few values that collide often, the largest hash there is, and lists that are empty or full.
    values = np.array([0, 1, 2, 3, 1024, 2**63 - 1])
    lists = [sorted(rng.choice(values, rng.integers(0, 5), replace=False).tolist()) for _ in range(12)]
    facts = torch.tensor([numbers + [-1] * (4 - len(numbers)) for numbers in lists])
    expected = torch.tensor([[overlap_of_sets(set(one), set(other)) for other in lists] for one in lists[:5]])
    torch.testing.assert_close(fact_overlap(facts[:5], facts), expected)


def test_graphs_that_state_nothing_overlap_with_none():
    assert fact_overlap(torch.full((2, 3), -1), torch.tensor([[4, 5, 6], [-1, -1, -1]])).tolist() == [[0, 0], [0, 0]]


def test_gradient_reaches_both_sides_and_the_temperature():
    image, graph = (side.requires_grad_() for side in embeddings(4))
    loss = ContrastiveLoss().double()
    loss(cosines(image, graph), distinct(4)).backward()
    assert all(value.grad.abs().sum() > 0 for value in (image, graph, loss.logit_scale))


def test_a_temperature_beyond_its_bound_comes_back_and_keeps_its_gradient():
    loss = ContrastiveLoss(ContrastiveOptions(temperature=0.001))
    assert loss.logit_scale.shape == (1,)
    assert loss.logit_scale.item() == pytest.approx(math.log(100))
    with torch.no_grad():
        loss.logit_scale.add_(1)
    image, graph = (side.float() for side in embeddings(4, seed=1))
    loss(cosines(image, graph), distinct(4)).backward()
    assert loss.logit_scale.item() == pytest.approx(math.log(100) + 1), "a forward pass changes no parameter"
    assert loss.logit_scale.grad.item() > 0
    loss.clamp_logit_scale()
    assert loss.logit_scale.item() == pytest.approx(math.log(100))
    fixed = ContrastiveLoss(ContrastiveOptions(temperature=0.001, learn_temperature=False))
    assert fixed.logit_scale.item() == pytest.approx(math.log(100))


def test_the_loss_reads_a_matrix_of_any_scorer_and_its_directions_apart():
    generator = torch.Generator().manual_seed(3)
    rows, columns = torch.randn(2, 5, 5, generator=generator, dtype=torch.float64)
    loss = ContrastiveLoss(ContrastiveOptions(temperature=0.5, targets="identity", image_weight=0.75)).double()
    own = torch.arange(5)
    expected = 0.75 * F.cross_entropy(rows * 2, own) + 0.25 * F.cross_entropy(columns * 2, own)
    torch.testing.assert_close(loss(Similarity(rows, columns), ids()), expected)


@pytest.mark.parametrize("targets", TARGETS)
def test_empty_graphs_are_nobodys_positive(targets):
    many = ids([0, 1, 2, 3], [0, 1, 2, 3], [-1, -1, 5, -1], torch.tensor([[-1], [-1], [7], [-1]]))
    weight, keep = contrastive_targets(targets, many, many)
    torch.testing.assert_close(weight, torch.eye(4))
    assert keep.all()


@pytest.mark.parametrize("targets", TARGETS)
def test_targets_of_a_slice_of_rows_are_rows_of_the_whole(targets):
    facts = torch.tensor([[1, 2], [1, 2], [2, 3], [9, -1], [-1, -1]])
    every = ids(facts=facts)
    whole = contrastive_targets(targets, every, every)
    for first_row, last_row in ((0, 2), (2, 3), (3, 5)):
        tile = taken(every, slice(first_row, last_row))
        for part, expected in zip(contrastive_targets(targets, tile, every, first_row), whole, strict=True):
            torch.testing.assert_close(part, expected[first_row:last_row])


@pytest.mark.parametrize("targets", TARGETS)
def test_a_row_that_is_repeated_counts_once(targets):
    """Samplers repeat the last rows, so that all processes have equally many."""
    facts = torch.tensor([[1, 2], [1, 2], [2, 3], [9, -1], [-1, -1]])
    once, again = torch.arange(5), torch.tensor([0, 1, 2, 3, 4, 4, 4])
    image, graph = embeddings(5)
    loss = ContrastiveLoss(ContrastiveOptions(targets=targets)).double()
    every = ids(facts=facts)
    repeated = taken(every, again)
    expected = loss(cosines(image[once], graph[once]), every)
    torch.testing.assert_close(loss(cosines(image[again], graph[again]), repeated), expected)


def test_a_repeated_row_has_no_gradient_and_leaves_those_of_others_finite():
    again = [0, 1, 2, 2]
    every = ids(again, again, again, row=again)
    image, graph = (side.requires_grad_() for side in embeddings(4))
    loss = ContrastiveLoss(ContrastiveOptions(targets="identity")).double()
    value = loss(cosines(image, graph), every)
    value.backward()
    assert all(number.isfinite().all() for number in (value, image.grad, graph.grad, loss.logit_scale.grad))
    for side in (image, graph):
        assert side.grad.any(dim=1).tolist() == [True, True, True, False]


def test_half_precision_embeddings_are_compared_in_single():
    image, graph = (side.to(torch.bfloat16) for side in embeddings(4))
    loss = ContrastiveLoss()
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(cosines(image, graph), distinct(4))
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, loss(cosines(image.float(), graph.float()), distinct(4)))


@pytest.mark.parametrize("targets", TARGETS)
def test_a_scorer_in_half_precision_is_contrasted_in_single(targets):
    matrix = torch.randn(5, 5, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    half, single = Similarity(matrix, matrix.T), Similarity(matrix.float(), matrix.T.float())
    loss = ContrastiveLoss(ContrastiveOptions(targets=targets))
    facts = torch.tensor([[1, 2], [1, 2], [2, 3], [9, -1], [-1, -1]])
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(half, ids(facts=facts))
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, loss(single, ids(facts=facts)))


def rate_by_loops(targets, every):
    """Of the ordered pairs of different rows that are negative, those of which both graphs are equal and not empty."""
    rows = torch.stack([every.row, every.study, every.patient, every.graph_key], dim=1).tolist()
    rows = [row for number, row in enumerate(rows) if row not in rows[:number]]
    negatives = [
        (one, other) for one in rows for other in rows if one != other and (targets == "identity" or one[2] != other[2])
    ]
    return sum(one[3] == other[3] >= 0 for one, other in negatives) / len(negatives)


def test_false_negatives_are_negative_pairs_of_one_graph():
    every = ids([0, 0, 1, 2, 3, 4, 4], [0, 0, 0, 1, 2, 3, 3], [7, 7, 8, 7, -1, -1, -1], row=[0, 1, 2, 3, 4, 5, 5])
    image, graph = embeddings(7)
    for targets in ("identity", "study"):
        loss = ContrastiveLoss(ContrastiveOptions(targets=targets)).double()
        loss(cosines(image, graph), every)
        assert loss.false_negative_rate.item() == pytest.approx(rate_by_loops(targets, every))
    assert rate_by_loops("identity", every) == pytest.approx(6 / 30)
    assert loss.false_negative_rate.item() == pytest.approx(4 / 24)
    loss.eval()
    loss(cosines(image[:2], graph[:2]), distinct(2))
    assert loss.false_negative_rate.item() == pytest.approx(4 / 24), "that of training"


@pytest.mark.parametrize("targets", ["graph", "soft"])
def test_equal_graphs_are_no_false_negatives_of_targets_that_read_graphs(targets):
    facts = torch.tensor([[1, 2], [1, 2], [3, -1], [1, 2], [-1, -1]])
    loss = ContrastiveLoss(ContrastiveOptions(targets=targets)).double()
    loss(cosines(*embeddings(5)), ids(facts=facts))
    assert loss.false_negative_rate.item() == 0
    loss(cosines(*embeddings(5)), ids(key=[7] * 5, facts=facts[:1].expand(5, 2)))  # no negatives at all
    assert loss.false_negative_rate.item() == 0


def test_unknown_targets_are_named():
    with pytest.raises(IgclError, match=r"model.loss.targets 'clip' is not one of identity, study, graph, soft$"):
        ContrastiveLoss(ContrastiveOptions(targets="clip"))


def test_an_unknown_exchange_is_named():
    with pytest.raises(ValueError, match="exchange 'both' is not one of sides, scores"):
        batch_similarity(cosine_similarity, *embeddings(3), exchange="both")
