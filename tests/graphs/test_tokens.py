import pickle
import sys
from collections import Counter

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.featurizer import NUM_BUCKETS, subword_ids
from igcl_lightning.graphs.tokens import WORD_SUBWORDS, ReportTokenizer, word_counts
from tiny_bert import save_tiny_bert

REPORT = "No effusion . Heart is large . Lungs clear"


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return save_tiny_bert(tmp_path_factory.mktemp("bert"))


def test_each_word_is_one_token_of_the_buckets_that_graph_nodes_use():
    tokens = ReportTokenizer()([REPORT])
    words = REPORT.split(" ")
    expected = np.stack([subword_ids(word.lower(), WORD_SUBWORDS) for word in words])
    np.testing.assert_array_equal(tokens.x, expected)
    assert tokens.word.tolist() == list(range(len(words)))
    assert tokens.num_nodes == len(words)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (REPORT, [0, 0, 0, 1, 1, 1, 1, 2, 2]),
        ("No effusion. Heart large! Edema? None", [0, 0, 1, 1, 2, 3]),
        ("Tube 3.5 cm above .", [0, 0, 0, 0, 0]),
    ],
)
def test_a_sentence_ends_after_its_full_stop(text, sentence):
    assert ReportTokenizer()([text]).sentence.tolist() == sentence


def test_an_empty_report_has_no_tokens_and_batches():
    tokenizer = ReportTokenizer()
    empty = tokenizer([""])
    assert empty.num_nodes == 0
    assert empty.x.shape == (0, WORD_SUBWORDS)
    assert {value.dtype for value in (empty.x, empty.word, empty.sentence)} == {torch.int64}
    batch = tokenizer(["", REPORT, ""])
    assert batch.batch.tolist() == [1] * 9
    assert batch.num_graphs == 3


def test_word_and_sentence_keep_their_numbers_in_a_batch():
    tokens = ReportTokenizer()([REPORT])
    batch = ReportTokenizer()([REPORT, REPORT])
    assert batch.word.tolist() == tokens.word.tolist() * 2
    assert batch.sentence.tolist() == tokens.sentence.tolist() * 2


def test_what_exceeds_the_limit_is_cut_off():
    tokens = ReportTokenizer(max_tokens=5)([REPORT])
    assert tokens.word.tolist() == [0, 1, 2, 3, 4]
    assert tokens.sentence.tolist() == [0, 0, 0, 1, 1]


def test_wordpieces_know_their_words_and_sentences(bert):
    tokens = ReportTokenizer(bert)(["no pneumothorax . hearts enlarged x-ray ."])
    # [CLS] no pneumo ##thorax . heart ##s [UNK] x - ray . [SEP]: "x-ray" is one word of the report, three of BERT.
    assert tokens.x[:7, 0].tolist() == [2, 5, 10, 11, 15, 12, 13]
    assert tokens.x.shape[1] == 1
    assert tokens.word.tolist() == [-1, 0, 1, 1, 2, 3, 3, 4, 5, 5, 5, 6, -1]
    assert tokens.sentence.tolist() == [-1, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, -1]


def test_wordpieces_are_cut_at_the_limit_of_options_and_model(bert, tmp_path):
    report = " ".join(["pneumothorax"] * 100)
    assert ReportTokenizer(bert, max_tokens=7)([report]).word.tolist() == [-1, 0, 0, 1, 1, 2, -1]
    assert ReportTokenizer(bert, max_tokens=500)([report]).num_nodes == 64


def test_the_padding_of_a_saved_tokenizer_is_left_out(bert, tmp_path):
    padding = AutoTokenizer.from_pretrained(bert)
    padding.backend_tokenizer.enable_padding(length=12)
    padding.save_pretrained(tmp_path)
    assert ReportTokenizer(str(tmp_path))([""]).num_nodes == 2


def test_an_empty_report_in_wordpieces_is_special_tokens_only(bert):
    tokens = ReportTokenizer(bert)([""])
    assert tokens.x[:, 0].tolist() == [2, 3]
    assert tokens.word.tolist() == tokens.sentence.tolist() == [-1, -1]


@pytest.mark.parametrize("hub", [False, True])
def test_it_travels_to_worker_processes(bert, hub):
    tokenizer = ReportTokenizer(bert if hub else None)
    copy = pickle.loads(pickle.dumps(tokenizer))
    torch.testing.assert_close(copy([REPORT]).x, tokenizer([REPORT]).x)


def test_a_folder_without_tokenizer_is_named(tmp_path):
    with pytest.raises(IgclError, match=r"data.tokenizer '.*': no tokenizer found at that path or name") as caught:
        ReportTokenizer(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(IgclError, match=r"needs the package transformers: pip install 'igcl-lightning\[text\]'"):
        ReportTokenizer("bert")


def test_a_limit_of_nothing_is_refused():
    with pytest.raises(IgclError, match="data.max_tokens is 0, not at least 1"):
        ReportTokenizer(max_tokens=0)


def test_words_are_counted_per_report_whatever_their_case():
    texts = [REPORT, "", "no no heart"]
    counts = word_counts(ReportTokenizer()(texts))
    assert counts.shape == (3, NUM_BUCKETS)
    for row, text in zip(counts, texts, strict=True):
        expected = Counter(int(subword_ids(word, WORD_SUBWORDS)[0]) for word in text.lower().split())
        assert {int(place): int(row[place]) for place in row.nonzero()} == expected


def test_wordpieces_are_counted_without_special_tokens(bert):
    texts = ["left effusion left", "", "pneumothorax"]
    pieces = AutoTokenizer.from_pretrained(bert)
    for row, text in zip(word_counts(ReportTokenizer(bert)(texts)), texts, strict=True):
        expected = Counter(pieces(text, add_special_tokens=False)["input_ids"])
        assert {int(place): int(row[place]) for place in row.nonzero()} == expected


def test_no_report_at_all_has_no_words():
    assert word_counts(ReportTokenizer()(["", ""])).eq(0).all()
