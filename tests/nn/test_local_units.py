import torch
from matching_cases import sides

from igcl_lightning.nn.encoded import UnitRelations
from igcl_lightning.nn.local_units import groups_of_similar_length, relation_matrix


def test_relations_are_at_tail_and_head_and_the_highest_counts():
    # Unit u of report b is numbered 4 b + u.
    edges = [(0, 1, 2), (4, 6, 0), (6, 4, 4), (11, 8, 1), (11, 8, 5), (11, 8, 3)]
    head, tail, edge_type = torch.tensor(edges).T
    expected = torch.zeros(3, 4, 4, dtype=torch.int8)
    for one, other, kind in edges:
        report, row, column = other // 4, other % 4, one % 4
        expected[report, row, column] = max(expected[report, row, column].item(), kind + 1)
    found = relation_matrix(UnitRelations(torch.stack([head, tail]), edge_type), 3, 4)
    assert found.dtype == torch.int8
    assert found.equal(expected)


def test_a_batch_without_edges_has_no_relations():
    none = UnitRelations(torch.zeros(2, 0, dtype=torch.long), torch.zeros(0, dtype=torch.long))
    assert relation_matrix(none, 2, 3).equal(torch.zeros(2, 3, 3, dtype=torch.int8))


def test_groups_hold_every_report_once_without_common_padding():
    sizes = (3, 1, 6, 2, 2, 5, 1)
    _, units = sides(sizes)
    groups = list(groups_of_similar_length(units, 3))
    assert sorted(torch.cat([rows for rows, _ in groups]).tolist()) == list(range(7))
    assert [len(rows) for rows, _ in groups] == [3, 3, 1]
    assert [part.mask.shape[1] for _, part in groups] == [2, 5, 6]
    for rows, part in groups:
        for row, feature, mask, relation in zip(rows, part.feature, part.mask, part.relation, strict=True):
            size = sizes[row]
            assert mask.sum() == size
            assert feature[mask].equal(units.feature[row, :size])
            assert relation[mask][:, mask].equal(units.relation[row, :size, :size])
