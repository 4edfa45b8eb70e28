"""Tiles give the loss and the gradients of a whole matrix that autograd goes through, and no such matrix exists."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from igcl_lightning.losses import tiled
from igcl_lightning.losses.contrastive import ContrastiveLoss, ContrastiveOptions, Similarity, batch_similarity
from igcl_lightning.losses.targets import SEMANTIC_SOURCES, TARGETS, PairIds, false_negative_rate
from igcl_lightning.nn.scoring import cosine_similarity

SIZE, LABELS, WORDS = 11, 5, 6
FORMS = {f"siglip, {targets}": {"kind": "siglip", "targets": targets, "bias": -2.0} for targets in TARGETS}
for source in (None, *SEMANTIC_SOURCES):
    spread = {} if source is None else {"semantic_weight": 0.4, "semantic_source": source, "semantic_temperature": 0.3}
    FORMS |= {
        f"infonce, {targets}, {source}": {"targets": targets, "image_weight": 0.3, **spread} for targets in TARGETS
    }


def drawn(size=SIZE, seed=0, dtype=torch.float64):
    """Embeddings and ids: pairs of one study, patient and graph, two that say nothing, two that are repeated."""
    generator = torch.Generator().manual_seed(seed)

    def integers(high, *shape):
        return torch.randint(0, high, shape, generator=generator)

    row = torch.arange(size)
    facts = torch.stack([torch.randperm(8, generator=generator)[:4] for _ in row])
    facts[row % 3 == 0, 1:] = -1
    facts[row % 3 == 1, 3:] = -1
    labels, words = (integers(3, size, LABELS) / 2), integers(3, size, WORDS).float()
    labels[labels == 0.5] = math.nan
    key = integers(4, size)
    facts[[2, 7]], labels[[2, 7]], words[[2, 7]], key[[2, 7]] = -1, math.nan, 0, -1
    again = row.clone()
    again[[5, size - 1]] = torch.tensor([1, 4])
    ids = PairIds(row + 40, row // 2, row // 3, key, facts, labels, words)
    sides = F.normalize(torch.randn(2, size, 4, generator=generator, dtype=torch.float64), dim=-1).to(dtype)[:, again]
    return [side.clone().requires_grad_() for side in sides], PairIds(*(value[again] for value in ids))


def gradients(loss, similarity, sides, ids):
    value = loss(similarity(*sides), ids)
    inputs = [*sides, *loss.parameters()]
    return value.detach(), torch.autograd.grad(value, inputs)


def tiles_of(size, monkeypatch):
    monkeypatch.setattr(tiled, "CPU_TILE", size)


def cosines(first, second):
    return batch_similarity(cosine_similarity, first, second)


# What follows up to `expected` is slow and shares nothing with the package.


def positive(kind, ids, i, j):
    """How positive a pair is; None if it takes no part."""
    if i == j:
        return 1.0
    if kind == "study" and ids.study[i] != ids.study[j]:
        return None if ids.patient[i] == ids.patient[j] else 0.0
    if kind == "soft":
        one, other = ({fact for fact in ids.graph_facts[k].tolist() if fact >= 0} for k in (i, j))
        return len(one & other) ** 2 / (len(one) * len(other)) if one and other else 0.0
    return float(kind == "study" or (kind == "graph" and bool(ids.graph_key[i] == ids.graph_key[j] >= 0)))


def vectors(source, ids, rows):
    if source == "graph":
        return [[float(fact in ids.graph_facts[i].tolist()) for fact in range(8)] for i in rows]
    if source == "labels":
        return [[0.0 if math.isnan(label) else 2 * label - 1 for label in ids.labels[i].tolist()] for i in rows]
    counts = [ids.words[i].tolist() for i in rows]
    held = [sum(count[word] > 0 for count in counts) for word in range(WORDS)]
    weight = [math.log((1 + len(rows)) / (1 + number)) + 1 for number in held]
    return [[count * each for count, each in zip(row, weight, strict=True)] for row in counts]


def cosine(one, other):
    norm = math.sqrt(sum(a * a for a in one) * sum(b * b for b in other))
    return sum(a * b for a, b in zip(one, other, strict=True)) / norm if norm else 0.0


def target_matrix(ids, rows, targets, semantic_weight=0.0, semantic_source="", semantic_temperature=1.0, **_):
    hard = [[positive(targets, ids, i, j) for j in rows] for i in rows]
    weight = [[(value or 0.0) / sum(each or 0.0 for each in row) for value in row] for row in hard]
    if semantic_weight:
        vector = vectors(semantic_source, ids, rows)
        for i, one in enumerate(vector):
            if not any(one):
                continue
            power = [
                0.0 if hard[i][j] is None else math.exp(cosine(one, other) / semantic_temperature)
                for j, other in enumerate(vector)
            ]
            weight[i] = [
                (1 - semantic_weight) * each + semantic_weight * exponent / sum(power)
                for each, exponent in zip(weight[i], power, strict=True)
            ]
    return hard, torch.tensor(weight, dtype=torch.float64)


def expected(sides, ids, scale, logit_bias, kind="infonce", image_weight=0.5, bias=0.0, **options):
    """The loss from the whole matrix of the rows that are not repeated."""
    every = ids.row.tolist()
    rows = [number for number, row in enumerate(every) if row not in every[:number]]
    hard, weight = target_matrix(ids, rows, **options)
    first, second = (side.double()[rows] for side in sides)
    logits = scale.double() * (first @ second.T)
    left_out = torch.tensor([[value is None for value in row] for row in hard])
    if kind == "siglip":
        share = torch.tensor([[value or 0.0 for value in row] for row in hard], dtype=torch.float64)
        logits = logits + logit_bias
        each = -share * F.logsigmoid(logits) - (1 - share) * F.logsigmoid(-logits)
        return each.masked_fill(left_out, 0).sum() / len(rows)
    total = 0.0
    for matrix, part in ((logits, image_weight), (logits.T, 1 - image_weight)):
        log_probability = matrix - matrix.masked_fill(left_out, -math.inf).exp().sum(1, keepdim=True).log()
        total = total - part * (weight * log_probability).sum() / len(rows)
    return total


def expected_gradients(loss, sides, ids, options):
    value = expected(sides, ids, loss.logit_scale.exp(), loss.logit_bias, **options)
    return value.detach(), torch.autograd.grad(value, [*sides, *loss.parameters()])


@pytest.mark.parametrize("size", [1, 3, 4, 32])
@pytest.mark.parametrize("name", FORMS)
def test_tiles_give_loss_and_gradients_of_the_whole_matrix(name, size, monkeypatch):
    tiles_of(size, monkeypatch)
    sides, ids = drawn()
    loss = ContrastiveLoss(ContrastiveOptions(temperature=0.2, **FORMS[name])).double()
    # The parameters of a fresh loss are rounded to single precision; all else is double.
    torch.testing.assert_close(
        gradients(loss, cosines, sides, ids), expected_gradients(loss, sides, ids, FORMS[name]), atol=1e-12, rtol=1e-10
    )


@pytest.mark.parametrize("name", FORMS)
def test_tiles_in_single_precision_are_those_in_double(name, monkeypatch):
    tiles_of(4, monkeypatch)
    sides, ids = drawn(dtype=torch.float32)
    loss = ContrastiveLoss(ContrastiveOptions(temperature=0.2, **FORMS[name]))
    value, found = gradients(loss, cosines, sides, ids)
    right, known = expected_gradients(loss, sides, ids, FORMS[name])
    assert value.dtype == torch.float32
    torch.testing.assert_close(value.double(), right, atol=0, rtol=1e-6)
    for one, other in zip(found, known, strict=True):
        torch.testing.assert_close(one, other, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("name", FORMS)
def test_a_matrix_of_a_scorer_gives_the_same(name):
    sides, ids = drawn()
    loss = ContrastiveLoss(ContrastiveOptions(temperature=0.2, **FORMS[name])).double()

    def matrices(first, second):
        return Similarity(first @ second.T, second @ first.T)

    torch.testing.assert_close(
        gradients(loss, matrices, sides, ids), expected_gradients(loss, sides, ids, FORMS[name]), atol=1e-12, rtol=1e-10
    )


@pytest.mark.parametrize("kind", ["infonce", "siglip"])
def test_the_lowest_temperature_overflows_nothing(kind, monkeypatch):
    """A pair whose sides are opposite, beside pairs whose sides are equal, is 200 below them."""
    tiles_of(2, monkeypatch)
    first = torch.eye(6)
    second = first.clone()
    second[0] = -first[0]
    sides, (_, ids) = [first.requires_grad_(), second.requires_grad_()], drawn()
    ids = ids.part(slice(6))._replace(row=torch.arange(6))
    options = {"kind": kind, "targets": "identity"}
    loss = ContrastiveLoss(ContrastiveOptions(temperature=0.01, **options))
    value, found = gradients(loss, cosines, sides, ids)
    right, known = expected_gradients(loss, sides, ids, options)
    torch.testing.assert_close(value.double(), right, atol=0, rtol=1e-6)
    for one, other in zip(found, known, strict=True):
        # Logits near 100 are rounded to 4e-6, and the gradient of a side is 100 times that of a logit.
        torch.testing.assert_close(one, other.float(), atol=1e-3, rtol=1e-5)


@pytest.mark.parametrize("name", FORMS)
def test_gradients_follow_what_is_made_of_the_loss_and_are_not_needed_for_it(name, monkeypatch):
    tiles_of(4, monkeypatch)
    sides, ids = drawn()
    loss = ContrastiveLoss(ContrastiveOptions(temperature=0.2, **FORMS[name])).double()
    value, found = gradients(loss, cosines, sides, ids)
    tripled = torch.autograd.grad(3 * loss(cosines(*sides), ids), sides)
    torch.testing.assert_close(tripled, tuple(3 * each for each in found[:2]))
    with torch.no_grad():
        alone = loss(cosines(*sides), ids)
    assert not alone.requires_grad
    torch.testing.assert_close(alone, value)
    # A side that is frozen costs the other nothing.
    frozen = torch.autograd.grad(loss(cosines(sides[0], sides[1].detach()), ids), sides[0])
    torch.testing.assert_close(frozen[0], found[0])


class Largest(TorchDispatchMode):
    """The number of elements of the largest tensor that any operation returns."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for each in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(each, torch.Tensor) and each.untyped_storage().nbytes():
                self.numel = max(self.numel, each.untyped_storage().nbytes() // each.element_size())
        return result


@pytest.mark.parametrize("name", FORMS)
def test_no_tensor_is_as_large_as_the_matrix(name, monkeypatch):
    tiles_of(8, monkeypatch)
    sides, ids = drawn(48)
    loss = ContrastiveLoss(ContrastiveOptions(temperature=0.2, **FORMS[name])).double()
    with Largest() as tile:
        loss(cosines(*sides), ids).backward()
    # Embeddings have 48 x 4 elements, words 48 x 6; nothing is wider.
    assert 48 * 4 <= tile.numel <= 48 * 8
    with Largest() as whole:
        loss(Similarity(sides[0] @ sides[1].T, sides[1] @ sides[0].T), ids)
    assert whole.numel >= 46 * 46


def test_half_precision_and_autocast_leave_products_in_single(monkeypatch):
    tiles_of(4, monkeypatch)
    sides, ids = drawn(dtype=torch.bfloat16)
    options = FORMS["infonce, soft, labels"]
    loss = ContrastiveLoss(ContrastiveOptions(temperature=0.2, **options))
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(cosines(*sides), ids)
    right, known = expected_gradients(loss, sides, ids, options)
    torch.testing.assert_close(value.double(), right, atol=0, rtol=1e-6)
    found = torch.autograd.grad(value, sides)
    for one, other in zip(found, known, strict=False):
        assert one.dtype == torch.bfloat16
        torch.testing.assert_close(one.float(), other.float(), atol=1e-3, rtol=1e-2)


@pytest.mark.parametrize("targets", TARGETS)
def test_false_negatives_are_counted_as_by_loops(targets):
    """Also where a study has two patients, which inclusion and exclusion must not count twice."""
    _, ids = drawn(40)
    ids = PairIds(*(value[:39] for value in ids))
    first = [number for number, row in enumerate(ids.row.tolist()) if row not in ids.row[:number].tolist()]
    ids = ids.part(torch.tensor(first))
    pairs = [(i, j) for i in range(len(first)) for j in range(len(first)) if positive(targets, ids, i, j) == 0]
    same = sum(bool(ids.graph_key[i] == ids.graph_key[j] >= 0) for i, j in pairs)
    if targets == "soft":  # keys and facts are drawn apart here; from one graph they agree
        same = 0
    assert false_negative_rate(targets, ids).item() == pytest.approx(same / len(pairs))
    assert (same > 0) == (targets in ("identity", "study"))
