"""SigLIP against its equation by loops, with the targets of InfoNCE."""

import math

import pytest
import torch
import torch.nn.functional as F

from igcl_lightning.errors import IgclError
from igcl_lightning.losses.contrastive import ContrastiveLoss, ContrastiveOptions, Similarity, batch_similarity
from igcl_lightning.losses.targets import TARGETS, PairIds
from igcl_lightning.nn.scoring import cosine_similarity

STUDY, PATIENT, KEY = [0, 0, 1, 2, 3], [0, 0, 0, 1, 2], [7, 7, 8, 7, -1]
FACTS = [{1, 2}, {1, 2}, {2, 3}, {1, 2}, set()]


def ids(study=STUDY, patient=PATIENT, key=KEY, facts=FACTS):
    padded = [sorted(each) + [-1] * (3 - len(each)) for each in facts]
    return PairIds(torch.arange(len(study)) + 9, *map(torch.tensor, (study, patient, key, padded)))


def distinct(size):
    numbers = list(range(size))
    return ids(numbers, numbers, numbers, [{number} for number in numbers])


def identical(size):
    return ids([4] * size, [4] * size, [4] * size, [{4, 5}] * size)


def siglip(targets, temperature=0.2, bias=-3.0, **options):
    return ContrastiveLoss(ContrastiveOptions(temperature, targets, kind="siglip", bias=bias, **options)).double()


def embeddings(size, seed=0):
    pair = torch.randn(2, size, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return [side.requires_grad_() for side in F.normalize(pair, dim=-1).unbind()]


def cosines(first, second):
    return batch_similarity(cosine_similarity, first, second)


def target(kind, i, j):
    """How positive a pair is; None if it takes no part."""
    if i == j:
        return 1.0
    if kind == "study" and PATIENT[i] == PATIENT[j]:
        return 1.0 if STUDY[i] == STUDY[j] else None
    if kind == "soft":
        one, other = FACTS[i], FACTS[j]
        return len(one & other) ** 2 / (len(one) * len(other)) if one and other else 0.0
    return float(kind == "graph" and KEY[i] == KEY[j] >= 0)


def siglip_by_loops(image, graph, kind, scale, bias):
    """Sum over all pairs of the cross-entropy of a sigmoid, over the number of rows (section 3.2 of the paper)."""
    total, image, graph = 0.0, image.tolist(), graph.tolist()
    for i in range(len(image)):
        for j in range(len(graph)):
            if (positive := target(kind, i, j)) is not None:
                cosine = sum(a * b for a, b in zip(image[i], graph[j], strict=True))
                likely = 1 / (1 + math.exp(-(scale * cosine + bias)))
                total -= positive * math.log(likely) + (1 - positive) * math.log(1 - likely)
    return total / len(image)


@pytest.mark.parametrize("targets", TARGETS)
def test_loss_is_the_equation_by_loops(targets):
    image, graph = embeddings(5)
    expected = siglip_by_loops(image, graph, targets, 5.0, -3.0)
    assert siglip(targets)(cosines(image, graph), ids()).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("targets", TARGETS)
def test_distinct_pairs_give_the_loss_of_the_paper(targets):
    image, graph = embeddings(6)
    loss = siglip(targets)
    labels = 2 * torch.eye(6, dtype=torch.float64) - 1
    logits = image @ graph.T * loss.logit_scale.exp() + loss.logit_bias
    paper = -F.logsigmoid(labels * logits).sum() / 6  # the pseudo-code of the paper
    expected = torch.autograd.grad(paper, [image, graph, loss.logit_scale, loss.logit_bias])
    got = loss(cosines(image, graph), distinct(6))
    torch.testing.assert_close(got, paper, atol=1e-12, rtol=0)
    got.backward()
    for value, gradient in zip([image, graph, loss.logit_scale, loss.logit_bias], expected, strict=True):
        torch.testing.assert_close(value.grad, gradient, atol=1e-12, rtol=0)


@pytest.mark.parametrize("targets", ["study", "graph", "soft"])
def test_a_batch_of_identical_reports_repels_nothing(targets):
    matrix = torch.randn(5, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
    value = siglip(targets)(Similarity(matrix, matrix.T), identical(5))
    value.backward()
    assert value.isfinite()
    assert (matrix.grad < 0).all(), "a gradient above 0 would push a pair apart"


def test_identity_repels_identical_reports():
    matrix, loss = torch.zeros(5, 5, dtype=torch.float64, requires_grad=True), siglip("identity")
    loss(Similarity(matrix, matrix.T), identical(5)).backward()
    assert (matrix.grad > 0).equal(~torch.eye(5, dtype=torch.bool))
    assert loss.false_negative_rate == 1, "which training logs"


@pytest.mark.parametrize("targets", TARGETS)
def test_empty_graphs_are_nobodys_positive(targets):
    matrix = torch.zeros(4, 4, dtype=torch.float64, requires_grad=True)
    empty = ids([0, 1, 2, 3], [0, 1, 2, 3], [-1] * 4, [set()] * 4)
    siglip(targets)(Similarity(matrix, matrix.T), empty).backward()
    assert (matrix.grad > 0).equal(~torch.eye(4, dtype=torch.bool))


@pytest.mark.parametrize("targets", TARGETS)
def test_a_row_that_is_repeated_counts_once(targets):
    image, graph = embeddings(5)
    again = torch.tensor([0, 1, 2, 3, 4, 4, 1])
    repeated = PairIds(*(value if value is None else value[again] for value in ids()))
    loss = siglip(targets)
    expected = loss(cosines(image, graph), ids())
    torch.testing.assert_close(loss(cosines(image[again], graph[again]), repeated), expected)


def test_the_direction_does_not_matter():
    image, graph = embeddings(5)
    expected = siglip("study")(cosines(image, graph), ids())
    torch.testing.assert_close(siglip("study", image_weight=0.9)(cosines(graph, image), ids()), expected)


def test_temperature_is_bounded_and_the_bias_travels_with_the_weights():
    loss = siglip("graph", temperature=0.001, bias=-4.5)
    assert loss.logit_scale.item() == pytest.approx(math.log(100))
    assert {name: value.shape for name, value in loss.named_parameters()} == {"logit_scale": (1,), "logit_bias": (1,)}
    fixed = siglip("graph", learn_temperature=False, bias=1)
    assert [name for name, _ in fixed.named_parameters()] == ["logit_bias"]
    fixed.load_state_dict(loss.state_dict())
    assert fixed.logit_bias.item() == -4.5
    assert "logit_bias" not in ContrastiveLoss().state_dict()


def test_a_scorer_in_half_precision_is_contrasted_in_single():
    matrix = torch.randn(5, 5, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    loss = siglip("soft").float()
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(Similarity(matrix, matrix.T), ids())
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, loss(Similarity(matrix.float(), matrix.T.float()), ids()))


def test_an_unknown_kind_is_named():
    with pytest.raises(IgclError, match=r"model.loss.bias is -10, but infonce has none: set model.loss.kind siglip"):
        ContrastiveLoss(ContrastiveOptions(bias=-10))
    with pytest.raises(IgclError, match=r"model.loss.kind 'sigmoid' is not one of infonce, siglip"):
        ContrastiveLoss(ContrastiveOptions(kind="sigmoid"))
