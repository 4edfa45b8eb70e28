"""A BERT of a few thousand weights and its tokenizer, made on the spot, for what reads Hugging Face models."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PIECES = ["no", "effusion", "left", "right", "pleural", "pneumo", "##thorax", "heart", "##s", "large", "."]


def save_tiny_bert(folder: Path, layers: int = 3, max_position: int = 64, kind: str = "bert", **config) -> str:
    """Write model and fast tokenizer; return the folder. `pneumothorax` is two pieces, `clear` is unknown.

    `kind` is another type of model with the same options, such as "roberta".
    """
    vocabulary = {piece: number for number, piece in enumerate([*SPECIAL, *PIECES])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL, strict=True))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=max_position, **names).save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {
        "vocab_size": len(vocabulary),
        "hidden_size": 16,
        "num_hidden_layers": layers,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": max_position,
        "pad_token_id": 0,
    }
    AutoModel.from_config(AutoConfig.for_model(kind, **{**sizes, **config})).save_pretrained(folder)
    return str(folder)
