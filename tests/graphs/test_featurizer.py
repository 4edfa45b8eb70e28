import subprocess
import sys

import numpy as np
import pytest
import torch
from torch_geometric.data import Batch

from igcl_lightning.graphs.featurizer import (
    MAX_FACTS,
    MAX_SUBWORDS,
    NO_FACT,
    NUM_BUCKETS,
    GraphFeaturizer,
    graph_facts,
    subword_ids,
)
from igcl_lightning.graphs.identity import stated_facts
from igcl_lightning.graphs.schema import Entity, Relation, ReportGraph, stable_hash

GRAPH = ReportGraph(
    "small pleural effusion .",
    (
        Entity("small", "OBS-DP", 0, 0),
        Entity("pleural", "ANAT-DP", 1, 1),
        Entity("effusion", "OBS-DP", 2, 2),
    ),
    (Relation(0, "modify", 2), Relation(2, "located_at", 1)),
)


def crc32(data):
    """Cyclic redundancy check of IEEE 802.3, bit by bit."""
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = (register >> 1) ^ (0xEDB88320 if register & 1 else 0)
    return register ^ 0xFFFFFFFF


def bucket(subword):
    return 1 + crc32(subword.encode()) % (NUM_BUCKETS - 1)


def test_three_nodes():
    data = GraphFeaturizer()(GRAPH)

    assert data.edge_index.tolist() == [[0, 2], [2, 1]]
    assert data.edge_type.tolist() == [1, 0]
    assert data.node_type.tolist() == [1, 0, 1]
    assert data.x.shape == (3, MAX_SUBWORDS)
    assert data.num_nodes == 3
    assert {data[key].dtype for key in ("x", "node_type", "edge_index", "edge_type")} == {torch.int64}


def test_subwords_are_words_then_grams_with_boundary_marks():
    subwords = ["<lung>", "<of>", "<lu", "lun", "ung", "ng>", "<lun", "lung", "ung>", "<lung", "lung>", "<of", "of>"]
    ids = subword_ids("lung of", 16)

    assert ids.tolist() == [bucket(subword) for subword in subwords] + [0, 0, 0]


def test_hash_is_pinned():
    assert subword_ids("effusion", 3).tolist() == [4992, 4578, 2558]


def test_whole_words_come_first_when_there_is_no_room():
    assert subword_ids("right lower lobe", 3).tolist() == [bucket(word) for word in ("<right>", "<lower>", "<lobe>")]


def test_same_text_gives_the_same_row_whatever_its_case():
    graph = ReportGraph("Edema edema", (Entity("Edema", "OBS-DP", 0, 0), Entity("edema", "OBS-DA", 1, 1)))
    rows = GraphFeaturizer()(graph).x

    assert torch.equal(rows[0], rows[1])
    rows[0] = 0
    assert GraphFeaturizer()(graph).x[0].any()


def test_buckets_stay_in_the_table():
    ids = np.concatenate([subword_ids(f"word{number}", MAX_SUBWORDS) for number in range(500)])

    assert ids.min() == 0
    assert ids.max() < NUM_BUCKETS


def test_empty_graph_keeps_its_shapes_and_its_place_in_a_batch():
    featurizer = GraphFeaturizer(max_subwords=5)
    empty = featurizer(ReportGraph("clear"))

    assert empty.num_nodes == 0
    assert empty.x.shape == (0, 5)
    assert empty.edge_index.shape == (2, 0)
    batch = Batch.from_data_list([featurizer(GRAPH), empty])
    assert batch.num_graphs == 2
    assert batch.x.shape == (3, 5)


def test_arrays_give_the_same_as_the_graph():
    data = GraphFeaturizer()(GRAPH)
    columns = GraphFeaturizer().featurize_arrays(
        ["small", "pleural", "effusion"], np.array([1, 0, 1]), np.array([[0, 2], [2, 1]]), np.array([1, 0])
    )

    assert data.keys() == columns.keys()
    assert all(torch.equal(data[key], columns[key]) for key in ("x", "node_type", "edge_index", "edge_type"))


def test_bad_width_is_refused():
    with pytest.raises(ValueError, match="max_subwords must be at least 1, got 0"):
        GraphFeaturizer(max_subwords=0)


def test_facts_are_hashes_in_order_and_padded():
    facts = graph_facts(GRAPH)
    expected = sorted({stable_hash(fact) for fact in stated_facts(GRAPH)})

    assert facts.dtype == np.int64
    assert facts.tolist() == expected + [NO_FACT] * (MAX_FACTS - len(expected))
    assert graph_facts(ReportGraph("")).tolist() == [NO_FACT] * MAX_FACTS


def test_of_too_many_facts_the_lowest_hashes_are_kept():
    words = [f"mass{number}" for number in range(MAX_FACTS + 50)]
    entities = tuple(Entity(word, "OBS-DP", place, place) for place, word in enumerate(words))
    graph = ReportGraph(" ".join(words), entities)
    facts = graph_facts(graph)

    assert len(set(stated_facts(graph))) == MAX_FACTS + 50
    assert facts.tolist() == sorted(stable_hash(fact) for fact in stated_facts(graph))[:MAX_FACTS]


def test_module_does_not_import_torch():
    script = "import sys, igcl_lightning.graphs.featurizer; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=60).returncode == 0
