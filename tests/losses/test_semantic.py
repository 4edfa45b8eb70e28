"""Targets that are spread over pairs that are alike, by labels, facts or words."""

import math

import pytest
import torch
import torch.nn.functional as F
from sklearn.feature_extraction.text import TfidfTransformer

from igcl_lightning.errors import IgclError
from igcl_lightning.losses.contrastive import ContrastiveLoss, ContrastiveOptions, batch_similarity
from igcl_lightning.losses.semantic import label_likeness
from igcl_lightning.losses.targets import (
    SEMANTIC_SOURCES,
    TARGETS,
    PairIds,
    contrastive_targets,
    distribution,
    likeness,
    soften,
)
from igcl_lightning.nn.scoring import cosine_similarity

SIZE = 12


def drawn_ids(seed=0, size=SIZE, **fields):
    """Ids with pairs of one study, of one patient and of one graph, and pairs without labels, facts or words."""
    generator = torch.Generator().manual_seed(seed)
    facts = torch.stack([torch.randperm(7, generator=generator)[:4] for _ in range(size)])
    facts[torch.arange(size) % 3 == 0, 2:] = -1  # fewer facts
    labels = torch.randint(0, 3, (size, 5), generator=generator).float()
    words = torch.randint(0, 3, (size, 9), generator=generator).float() * (torch.arange(9) < 8)
    empty = size - 1
    facts[empty], labels[empty], words[empty] = -1, 2, 0
    drawn = {
        "row": torch.arange(size) + 50,
        "study": torch.arange(size) // 2,
        "patient": torch.arange(size) // 3,
        "graph_key": torch.randint(0, 6, (size,), generator=generator),
        "graph_facts": facts,
        "labels": torch.where(labels == 2, torch.nan, labels),
        "words": words,
    }
    return PairIds(**{**drawn, **fields})


def taken(every, rows):
    return PairIds(*(value[rows] for value in every))


def hard_targets(kind, ids):
    positive, keep = contrastive_targets(kind, ids, ids)
    return distribution(positive), keep


def embeddings(size=SIZE):
    pair = torch.randn(2, size, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return F.normalize(pair, dim=-1).unbind()


def loss_of(ids, **options):
    loss = ContrastiveLoss(ContrastiveOptions(**options)).double()
    return loss(batch_similarity(cosine_similarity, *embeddings(len(ids.row))), ids)


def sign(label):
    return 0 if math.isnan(label) else 1 if label == 1 else -1


def cosine(one, other):
    norm = math.sqrt(sum(a * a for a in one) * sum(b * b for b in other))
    return sum(a * b for a, b in zip(one, other, strict=True)) / norm if norm else 0.0


def alike_by_loops(source, ids):
    """Similarities [N][N] as the papers write them."""
    if source == "graph":
        sets = [{fact for fact in facts if fact >= 0} for facts in ids.graph_facts.tolist()]
        return [[len(a & b) / math.sqrt(len(a) * len(b) or 1) for b in sets] for a in sets]
    if source == "text":
        vectors = TfidfTransformer().fit_transform(ids.words.numpy()).toarray()
    else:
        vectors = [[sign(label) for label in row] for row in ids.labels.tolist()]
    return [[cosine(one, other) for other in vectors] for one in vectors]


def targets_by_loops(hard, keep, alike, share, temperature):
    """(1 - e) T + e softmax(similarity / temperature), a row at a time; T for rows that say nothing."""
    rows = []
    for i, similarity in enumerate(alike):
        if similarity[i] == 0:
            rows.append(hard[i])
            continue
        power = [math.exp(value / temperature) if kept else 0 for value, kept in zip(similarity, keep[i], strict=True)]
        spread = [value / sum(power) for value in power]
        rows.append([(1 - share) * one + share * other for one, other in zip(hard[i], spread, strict=True)])
    return torch.tensor(rows)


@pytest.mark.parametrize("source", SEMANTIC_SOURCES)
def test_similarities_are_those_of_loops(source):
    ids = drawn_ids()
    alike = likeness(source, ids, ids).tile()
    torch.testing.assert_close(alike, torch.tensor(alike_by_loops(source, ids)), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(alike.diagonal(), torch.tensor([1.0] * (SIZE - 1) + [0.0]))
    assert alike[SIZE - 1].eq(0).all()
    assert alike.fill_diagonal_(0).unique().numel() > 4


def test_labels_count_as_present_absent_and_unknown():
    known, absent, unknown = [1.0, 0.0], [0.0, 0.0], [1.0, math.nan]
    labels = torch.tensor([known, absent, unknown])
    half = math.sqrt(0.5)
    expected = torch.tensor([[1, 0, half], [0, 1, -half], [half, -half, 1]])
    torch.testing.assert_close(label_likeness(labels, labels).tile(), expected)


@pytest.mark.parametrize("source", SEMANTIC_SOURCES)
@pytest.mark.parametrize("targets", TARGETS)
def test_targets_are_the_equation_by_loops(targets, source):
    ids = drawn_ids()
    hard, keep = hard_targets(targets, ids)
    weight = soften(hard, keep, likeness(source, ids, ids).tile(), 0.3, 0.2)
    by_loops = targets_by_loops(hard.tolist(), keep.tolist(), alike_by_loops(source, ids), 0.3, 0.2)
    torch.testing.assert_close(weight, by_loops, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(weight.sum(dim=1), torch.ones(SIZE))
    assert weight[~keep].eq(0).all()
    assert torch.equal(weight[-1], hard[-1]), "a report that says nothing keeps its hard target"


@pytest.mark.parametrize("source", SEMANTIC_SOURCES)
@pytest.mark.parametrize("targets", TARGETS)
def test_the_loss_is_cross_entropy_with_these_targets_in_both_directions(targets, source):
    ids = drawn_ids()
    image, report = embeddings()
    hard, keep = hard_targets(targets, ids)
    weight = targets_by_loops(hard.tolist(), keep.tolist(), alike_by_loops(source, ids), 0.4, 0.1).double()
    logits = image @ report.T / 0.2
    directions = [F.cross_entropy(rows.masked_fill(~keep, -1e9), weight) for rows in (logits, logits.T)]
    options = {"temperature": 0.2, "targets": targets, "image_weight": 0.75}
    got = loss_of(ids, semantic_weight=0.4, semantic_source=source, **options)
    torch.testing.assert_close(got, 0.75 * directions[0] + 0.25 * directions[1], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("source", SEMANTIC_SOURCES)
@pytest.mark.parametrize("targets", TARGETS)
def test_without_weight_the_loss_is_that_without_the_option_to_the_bit(targets, source):
    ids = drawn_ids()
    off = loss_of(ids, targets=targets, semantic_weight=0.0, semantic_source=source, semantic_temperature=0.5)
    assert torch.equal(off, loss_of(ids, targets=targets))
    assert torch.equal(off, loss_of(ids._replace(labels=None, words=None), targets=targets))
    assert not torch.equal(off, loss_of(ids, targets=targets, semantic_weight=0.2, semantic_source=source))


@pytest.mark.parametrize("targets", ["identity", "soft"])
def test_reports_that_say_nothing_are_contrasted_as_without_the_option(targets):
    silent = drawn_ids(labels=torch.full((SIZE, 5), torch.nan))
    assert torch.equal(loss_of(silent, targets=targets, semantic_weight=0.7), loss_of(silent, targets=targets))


@pytest.mark.parametrize(("temperature", "own"), [(0.1, 0.998), (1.0, 0.055)])
def test_the_temperature_decides_how_much_stays_on_the_full_match(temperature, own):
    weight = soften(torch.eye(48), torch.ones(48, 48, dtype=torch.bool), torch.eye(48), 1.0, temperature)
    torch.testing.assert_close(weight.diagonal(), torch.full((48,), own), atol=5e-4, rtol=0)


@pytest.mark.parametrize("source", SEMANTIC_SOURCES)
def test_targets_of_a_slice_of_rows_are_rows_of_the_whole(source):
    ids = drawn_ids()
    whole = likeness(source, ids, ids).tile()
    hard, keep = hard_targets("graph", ids)
    for rows in (slice(0, 5), slice(5, SIZE)):
        part = likeness(source, taken(ids, rows), ids).tile()
        torch.testing.assert_close(part, whole[rows])
        expected = soften(hard, keep, whole, 0.5, 0.1)[rows]
        torch.testing.assert_close(soften(hard[rows], keep[rows], part, 0.5, 0.1, rows.start), expected)


@pytest.mark.parametrize("source", SEMANTIC_SOURCES)
@pytest.mark.parametrize("targets", TARGETS)
def test_a_row_that_is_repeated_counts_once(targets, source):
    again = torch.tensor([*range(SIZE), 3, 3, SIZE - 1])
    image, report = (side.requires_grad_() for side in embeddings())
    loss = ContrastiveLoss(ContrastiveOptions(targets=targets, semantic_weight=0.5, semantic_source=source)).double()
    expected = loss(batch_similarity(cosine_similarity, image, report), drawn_ids())
    got = loss(batch_similarity(cosine_similarity, image[again], report[again]), taken(drawn_ids(), again))
    torch.testing.assert_close(got, expected)
    got.backward()
    assert image.grad.isfinite().all()
    assert report.grad.isfinite().all()


def test_a_row_that_keeps_no_column_has_no_target():
    keep = torch.tensor([[True, True, False], [True, True, False], [False, False, False]])
    weight = soften(torch.eye(3) * keep, keep, torch.ones(3, 3), 0.5, 0.1)
    torch.testing.assert_close(weight.sum(dim=1), torch.tensor([1.0, 1.0, 0.0]))


def test_targets_are_exact_in_half_precision():
    ids = drawn_ids()
    for source in SEMANTIC_SOURCES:
        with torch.autocast("cpu", torch.bfloat16):
            half = likeness(source, ids, ids).tile()
        assert torch.equal(half, likeness(source, ids, ids).tile())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"semantic_weight": 1.5}, r"model.loss.semantic_weight is 1.5, not in \[0, 1\]"),
        ({"semantic_weight": -0.1}, r"model.loss.semantic_weight is -0.1, not in \[0, 1\]"),
        ({"semantic_temperature": 0.0}, "model.loss.semantic_temperature is 0.0, not above 0"),
        (
            {"semantic_source": "label"},
            "model.loss.semantic_source 'label' is not one of labels, graph, text, did you mean labels?",
        ),
        (
            {"semantic_weight": 0.5, "kind": "siglip"},
            "model.loss.semantic_weight is 0.5, but siglip has no semantic targets: set it to 0, and "
            "model.loss.targets to soft for positives that share facts",
        ),
    ],
)
def test_impossible_options_are_named(options, message):
    with pytest.raises(IgclError, match=message):
        ContrastiveLoss(ContrastiveOptions(**options))


@pytest.mark.parametrize(("source", "field"), [("labels", "labels"), ("text", "words")])
@pytest.mark.parametrize("value", [None, torch.zeros(SIZE, 0)])
def test_a_batch_without_what_the_source_reads_is_named(source, field, value):
    message = f"model.loss.semantic_source is '{source}', but the batches have no {field}; use 'graph'"
    with pytest.raises(IgclError, match=message):
        loss_of(drawn_ids(**{field: value}), semantic_weight=0.1, semantic_source=source)
