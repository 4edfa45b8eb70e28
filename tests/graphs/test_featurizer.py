import numpy as np
import torch

from igcl_lightning.graphs.featurizer import MAX_SUBWORDS, NUM_BUCKETS, featurize, subword_ids
from igcl_lightning.graphs.schema import Entity, Relation, ReportGraph

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
    data = featurize([GRAPH])

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
    rows = featurize([graph]).x

    assert torch.equal(rows[0], rows[1])
    rows[0] = 0
    assert featurize([graph]).x[0].any()


def test_buckets_stay_in_the_table():
    ids = np.concatenate([subword_ids(f"word{number}", MAX_SUBWORDS) for number in range(500)])

    assert ids.min() == 0
    assert ids.max() < NUM_BUCKETS


def test_empty_graph_keeps_its_shapes_and_its_place_in_a_batch():
    empty = featurize([ReportGraph("clear")])

    assert empty.num_nodes == 0
    assert empty.x.shape == (0, MAX_SUBWORDS)
    assert empty.edge_index.shape == (2, 0)
    batch = featurize([GRAPH, ReportGraph("clear"), GRAPH, ReportGraph("")])
    assert batch.num_graphs == 4
    assert batch.ptr.tolist() == [0, 3, 3, 6, 6]
    assert batch.edge_index.tolist() == [[0, 2, 3, 5], [2, 1, 5, 4]]


def test_node_text_is_a_field_of_its_own():
    features = np.arange(6, dtype=np.float32).reshape(3, 2)
    first, second = featurize([ReportGraph(""), GRAPH], features).to_data_list()

    assert first.node_text.shape == (0, 2)
    np.testing.assert_array_equal(second.node_text, features)


def test_cached_subwords_cannot_be_changed():
    with np.testing.assert_raises_regex(ValueError, "read-only"):
        subword_ids("effusion", 3)[0] = 0
