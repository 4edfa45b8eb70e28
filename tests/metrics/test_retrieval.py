from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from igcl_lightning.metrics import ranking, retrieval
from igcl_lightning.metrics.ranking import hit_rank
from igcl_lightning.metrics.retrieval import PairRetrieval, within_patient_choices


def pairs(count=40, dim=8, keys=12, seed=0):
    """Normalised embeddings, graph keys with repeats and empty graphs, patients, row ids."""
    generator = torch.Generator().manual_seed(seed)
    image, graph = torch.nn.functional.normalize(torch.randn(2, count, dim, generator=generator), dim=-1)
    graph_key = torch.randint(keys, (count,), generator=generator)
    graph_key[::9] = -1
    return image, graph, graph_key, torch.arange(count) // 3, torch.arange(count) * 104729


def looped_ranks(query, candidate, graph_key):
    """Sort the candidates of each query, wrong ones first among equals, and walk to the first right one."""
    ranks = []
    for i in range(len(query)):
        right = [j == i or (graph_key[i] >= 0 and bool(graph_key[i] == graph_key[j])) for j in range(len(candidate))]
        order = sorted(range(len(candidate)), key=lambda j: (-float(query[i] @ candidate[j]), right[j]))
        ranks.append(1 + [right[j] for j in order].index(True))
    return torch.tensor(ranks)


def test_pair_retrieval_equals_the_double_loop(monkeypatch):
    monkeypatch.setattr(ranking, "CHUNK_QUERIES", 16)
    image, graph, graph_key, patient, row = pairs()
    metric = PairRetrieval(k=(1, 5, 100))
    for batch in torch.arange(40).split(13):
        metric.update(image[batch], graph[batch], graph_key[batch], patient[batch], row[batch])
    values = metric.compute()
    for name, ranks in {
        "image_to_graph": looped_ranks(image, graph, graph_key),
        "graph_to_image": looped_ranks(graph, image, graph_key),
    }.items():
        for k in (1, 5, 100):
            assert values[f"{name}_recall@{k}"] == pytest.approx((ranks <= k).float().mean().item())
        assert values[f"{name}_median_rank"] == ranks.float().quantile(0.5)
    assert values["image_to_graph_recall@100"] == 1


class Words(NamedTuple):
    units: Tensor
    mask: Tensor
    relation: Tensor | None = None


def best_match(image, report):
    """The mean over the words of a report of their best match among the regions of an image."""
    match = torch.einsum("qrd,cud->qcur", image, report.units).amax(dim=3) * report.mask
    return match.sum(dim=2) / report.mask.sum(dim=1)


def test_any_scorer_is_searched_with_batches_of_any_number_of_units(monkeypatch):
    monkeypatch.setattr(ranking, "CHUNK_QUERIES", 16)
    *_, graph_key, patient, row = pairs()
    generator = torch.Generator().manual_seed(1)
    image = torch.randn(40, 3, 8, generator=generator)
    reports = [torch.randn(1, 1 + number % 5, 8, generator=generator) for number in range(40)]
    metric = PairRetrieval(k=(1, 5), score=best_match)
    for start in range(0, 40, 8):
        of_batch = reports[start : start + 8]
        units = retrieval.concatenate(of_batch)
        mask = torch.arange(units.shape[1]) < torch.tensor([len(report[0]) for report in of_batch])[:, None]
        at = slice(start, start + 8)
        metric.update(image[at], Words(units, mask), graph_key[at], patient[at], row[at])
    similarity = torch.tensor(
        [[float((regions @ report[0].T).amax(dim=0).mean()) for report in reports] for regions in image]
    )
    same = (graph_key[:, None] == graph_key) & (graph_key >= 0) | torch.eye(40, dtype=torch.bool)
    values = metric.compute()
    for name, table in {"image_to_graph": similarity, "graph_to_image": similarity.T}.items():
        ranks = hit_rank(table, same)
        assert values[f"{name}_recall@5"] == pytest.approx((ranks <= 5).float().mean().item())
        assert values[f"{name}_median_rank"] == ranks.float().quantile(0.5)
    metric.reset()
    metric.update(image[:8], Words(units, mask), *[torch.arange(8)] * 3)
    assert len(metric._collected(1, torch.arange(8)).units) == 8


def test_embeddings_in_half_precision_are_compared_in_single():
    image, graph, *others = pairs()
    image, graph = image.to(torch.bfloat16), graph.to(torch.bfloat16)
    half, single = PairRetrieval(), PairRetrieval()
    half.update(image, graph, *others)
    single.update(image.float(), graph.float(), *others)
    assert half.compute() == single.compute()


def test_matching_embeddings_are_found_at_once():
    image, *_, row = pairs()
    metric = PairRetrieval(k=(1,))
    metric.update(image, image, torch.arange(40), torch.arange(40), row)
    assert metric.compute() == {
        "image_to_graph_recall@1": 1,
        "image_to_graph_median_rank": 1,
        "graph_to_image_recall@1": 1,
        "graph_to_image_median_rank": 1,
    }


def test_names_of_the_default_metrics():
    metric = PairRetrieval()
    metric.update(*pairs())
    assert {"image_to_graph_recall@1", "image_to_graph_recall@5", "image_to_graph_recall@10"} < set(metric.compute())


@pytest.mark.parametrize("value", [1.0, float("nan")])
def test_collapsed_or_diverged_embeddings_earn_nothing(value):
    metric = PairRetrieval(k=(1, 39))
    metric.update(torch.full((40, 4), value), torch.full((40, 4), value), *[torch.arange(40)] * 3)
    values = metric.compute()
    assert values["image_to_graph_recall@39"] == 0
    assert values["image_to_graph_median_rank"] == 40


def test_equal_graphs_hit_each_other_and_empty_ones_do_not():
    image = torch.eye(4)
    graph = torch.eye(4)[[1, 0, 3, 2]]
    metric = PairRetrieval(k=(1,))
    metric.update(image, graph, torch.tensor([5, 5, -1, -1]), torch.arange(4), torch.arange(4))
    assert metric.compute()["image_to_graph_recall@1"] == 0.5


def test_repeated_rows_of_a_distributed_sampler_count_once():
    image, graph, graph_key, patient, row = pairs()
    whole = PairRetrieval()
    whole.update(image, graph, graph_key, patient, row)
    ranks = [PairRetrieval(), PairRetrieval()]
    for rank, metric in enumerate(ranks):
        share = torch.cat([torch.arange(rank, 40, 2), torch.tensor([0, 1, 2])])
        metric.update(image[share], graph[share], graph_key[share], patient[share], row[share])
    ranks[0].merge_state(ranks[1])
    assert ranks[0].compute() == whole.compute()


@pytest.mark.parametrize("k", [(), (0, 1)])
def test_k_must_be_positive(k):
    with pytest.raises(ValueError, match="k must name"):
        PairRetrieval(k=k)


def test_choice_within_a_patient_equals_the_double_loop(monkeypatch):
    monkeypatch.setattr(ranking, "CHUNK_QUERIES", 7)
    image, graph, graph_key, patient, _ = pairs(keys=3)
    answers = [
        bool(image[i] @ graph[i] > image[i] @ graph[j])
        for i in range(40)
        for j in range(40)
        if patient[i] == patient[j] and graph_key[i] != graph_key[j] and min(graph_key[i], graph_key[j]) >= 0
    ]
    assert 10 < len(answers) < 80
    right, asked = within_patient_choices(image, graph, graph_key, patient)
    assert (right.sum(), asked.sum()) == (sum(answers), len(answers))
    metric = PairRetrieval()
    metric.update(image, graph, graph_key, patient, torch.arange(40))
    assert metric.compute()["within_patient_accuracy"] == pytest.approx(sum(answers) / len(answers))


def test_equal_reports_of_a_patient_earn_nothing():
    image = torch.nn.functional.normalize(torch.randn(200, 128, generator=torch.Generator().manual_seed(0)), dim=1)
    report = torch.nn.functional.normalize(torch.rand(1, 128, generator=torch.Generator().manual_seed(1)), dim=1)
    right, asked = within_patient_choices(image, report.repeat(200, 1), torch.arange(200), torch.arange(200) // 2)
    assert (right.sum(), asked.sum()) == (0, 200)


def test_choice_within_a_patient_is_left_out_where_there_is_none():
    image, graph, graph_key, _, row = pairs()
    metric = PairRetrieval()
    metric.update(image, graph, graph_key, row, row)
    assert "within_patient_accuracy" not in metric.compute()


def test_results_are_named_after_the_sides():
    metric = PairRetrieval(("signal", "report"), k=(3,))
    metric.update(*pairs())
    assert set(metric.compute()) == {
        "signal_to_report_recall@3",
        "signal_to_report_median_rank",
        "report_to_signal_recall@3",
        "report_to_signal_median_rank",
        "within_patient_accuracy",
    }
