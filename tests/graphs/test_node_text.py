import sys

import numpy as np
import pytest
import torch
from torch_geometric.data import Batch

from igcl_lightning.data.preparing.options import Options
from igcl_lightning.data.row_datasets import PairDataset
from igcl_lightning.data.store import Store
from igcl_lightning.data.study import Study, StudyImage
from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.node_text import NodeText
from igcl_lightning.graphs.schema import Entity, ReportGraph
from igcl_lightning.nn.graph_encoder import GraphEncoder, GraphOptions
from stores import prepare_studies

transformers = pytest.importorskip("transformers", reason="the extra `text` is not installed")

WINDOW = 16
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "small", "effusion", "no", "."]
LETTERS = "abcdefghijklmnopqrstuvwxyz"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny BERT of random weights that reads 16 wordpieces: a few whole words, all others letter by letter."""
    path = tmp_path_factory.mktemp("models") / "tiny-bert"
    path.mkdir()
    pieces = [*VOCABULARY, *LETTERS, *(f"##{letter}" for letter in LETTERS)]
    (path / "vocab.txt").write_text("\n".join(pieces) + "\n")
    tokenizer = transformers.BertTokenizerFast(vocab={piece: i for i, piece in enumerate(pieces)}, do_lower_case=True)
    tokenizer.model_max_length = WINDOW
    tokenizer.save_pretrained(path)
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(pieces),
        hidden_size=16,
        num_hidden_layers=5,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=WINDOW,
        initializer_range=0.5,
    )
    transformers.BertModel(config).save_pretrained(path)
    return path


def graph(text, *spans):
    words = text.split(" ")
    return ReportGraph(
        text, tuple(Entity(" ".join(words[first : last + 1]), "OBS-DP", first, last) for first, last in spans)
    )


def slow_features(folder, report, word):
    """The same by loops: pieces of each word, windows cut by hand, the best window of each word by trying all."""
    model = transformers.BertModel.from_pretrained(folder).eval()
    ids = {piece: number for number, piece in enumerate((folder / "vocab.txt").read_text().split())}

    def pieces_of(text):
        if text in ids:
            return [ids[text]]
        return [ids[letter if place == 0 else f"##{letter}"] for place, letter in enumerate(text)]

    flat, spans = [], []
    for text in report.text.lower().split(" "):
        spans.append((len(flat), len(flat) + len(pieces_of(text))))
        flat += pieces_of(text)
    room = WINDOW - 2
    starts = [0]
    while starts[-1] + room < len(flat):
        starts.append(starts[-1] + room // 2)
    vectors = []
    for first, end in spans:
        options = [
            (min(first - start, min(start + room, len(flat)) - end), start)
            for start in starts
            if start <= first and end <= start + room
        ]
        start = max(options, key=lambda option: (option[0], -option[1]))[1]
        window = [ids["[CLS]"], *flat[start : start + room], ids["[SEP]"]]
        with torch.no_grad():
            states = model(torch.tensor([window]), output_hidden_states=True).hidden_states
        summed = sum(state[0] for state in states[-4:])[1 + first - start : 1 + end - start]
        vectors.append(summed.sum(0) if word == "sum" else summed.mean(0))
    return torch.stack([torch.stack(vectors[e.start : e.end + 1]).mean(0) for e in report.entities]).numpy()


SHORT = graph("Small pleural effusion", (0, 0), (1, 2), (2, 2))
LONG = graph(
    "no small effusion . no lung mass . effusion small no . a rib line no effusion . no mass . effusion",
    *((place, place) for place in range(20)),
    (5, 6),
    (12, 14),
)


@pytest.mark.parametrize("report", [SHORT, LONG], ids=["one window", "longer than the window"])
@pytest.mark.parametrize("word", ["mean", "sum"])
def test_features_are_those_of_the_slow_loop(folder, report, word):
    node_text = NodeText(str(folder), word)
    got = node_text(report)
    assert got.dtype == np.float16
    assert got.shape == (len(report.entities), node_text.channels) == (len(report.entities), 16)
    expected = slow_features(folder, report, word)
    np.testing.assert_allclose(got, expected.astype(np.float16), rtol=2e-3, atol=2e-3 * np.abs(expected).max())


def test_the_long_report_needs_several_windows(folder):
    assert len(NodeText(str(folder)).tokenizer(LONG.text, verbose=False)["input_ids"]) > 2 * WINDOW


def test_the_same_words_mean_something_else_in_another_report(folder):
    node_text = NodeText(str(folder))
    one, two = node_text(graph("small effusion", (1, 1))), node_text(graph("no effusion", (1, 1)))
    assert not np.allclose(one, two, atol=1e-2)


def test_a_word_longer_than_the_window_and_a_blank_one_do_no_harm(folder):
    features = NodeText(str(folder))(graph(f"small {'x' * 90}  effusion", (0, 0), (1, 1), (2, 2), (2, 3)))
    assert np.isfinite(features).all()
    assert not features[2].any()
    np.testing.assert_array_equal(features[3], NodeText(str(folder))(graph(f"small {'x' * 90}  effusion", (3, 3)))[0])


def test_a_graph_without_entities_has_no_features(folder):
    assert NodeText(str(folder))(ReportGraph("")).shape == (0, 16)


def test_the_name_follows_the_weights(folder, tmp_path):
    name = NodeText(str(folder)).name
    assert name.startswith("tiny-bert-")
    assert NodeText(str(folder)).name == name
    assert NodeText(str(folder), word="sum").name == f"{name}-sum"
    other = tmp_path / "tiny-bert"
    transformers.AutoTokenizer.from_pretrained(folder).save_pretrained(other)
    model = transformers.BertModel.from_pretrained(folder)
    model.embeddings.word_embeddings.weight.data += 1
    model.save_pretrained(other)
    assert NodeText(str(other)).name != name


def test_features_travel_through_the_store_to_the_model(folder, tmp_path):
    studies = [
        Study(
            f"study-{n}",
            f"patient-{n}",
            (StudyImage(f"image-{n}", np.zeros((16, 16), np.uint8)),),
            {},
            report,
            split="train",
        )
        for n, report in enumerate((LONG, ReportGraph(""), SHORT))
    ]
    prepare_studies(studies, tmp_path / "store", options=Options(size=16, node_text=str(folder)))
    store = Store(tmp_path / "store")
    node_text = NodeText(str(folder))
    assert store.manifest["node_text"] == {"model": node_text.name, "channels": 16}
    batch = Batch.from_data_list([pair.graph for pair in PairDataset(store, "train", node_text=True)])
    expected = np.concatenate([node_text(report) for report in (LONG, SHORT)])
    torch.testing.assert_close(batch.node_text, torch.from_numpy(expected).float())
    encoded = GraphEncoder(GraphOptions(channels=8, join="primary", node_text_channels=16))(batch)
    assert encoded.pooled.shape == (3, 8)
    assert encoded.pooled.isfinite().all()


@pytest.mark.parametrize("content", [None, "{}"])
def test_a_folder_without_a_model_is_one_line(tmp_path, content):
    path = tmp_path / "nothing"
    if content:
        path.mkdir()
        (path / "config.json").write_text(content)
    with pytest.raises(IgclError, match=r"node text: no language model found at '.*nothing'") as error:
        NodeText(str(path))
    assert "\n" not in str(error.value)


def test_an_unreachable_hub_is_one_line(monkeypatch):
    def refuse(*args, **options):
        raise OSError("no network\nand more lines")

    monkeypatch.setattr("transformers.AutoTokenizer.from_pretrained", refuse)
    with pytest.raises(IgclError, match=r"at 'bert-base-uncased' \(no network and more lines\)$"):
        NodeText("bert-base-uncased")


def test_the_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(IgclError, match=r"pip install 'igcl-lightning\[text\]'"):
        NodeText("bert-base-uncased")


def test_unknown_word_is_named():
    with pytest.raises(ValueError, match="word 'first' is not one of mean, sum"):
        NodeText("bert-base-uncased", word="first")
