"""Which weights of an image encoder are trained: all, those of its last block, or adapters of its attention."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from igcl_lightning.errors import IgclError
from igcl_lightning.nn.checks import check_at_least, check_positive

FULL, LAST_BLOCK, LORA = TUNINGS = ("full", "last_block", "lora")


@dataclass(frozen=True)
class LoraOptions:
    """Low-rank adapters (LoRA, Hu et al., ICLR 2022): a layer W x becomes W x + alpha / rank * B A x.

    Args:
        rank: rows of A and columns of B; B starts at zero.
        alpha: weight of an adapter, before it is divided by the rank.
        dropout: dropout of x in front of A.
    """

    rank: int = 8
    alpha: float = 16.0
    dropout: float = 0.0


def check_lora(tune: str, options: LoraOptions) -> None:
    """Raise `IgclError` for options of adapters that are out of range, or given where there are no adapters."""
    if tune != LORA and options != LoraOptions():
        raise IgclError(f"model.lora is of model.tune {LORA}, not of {tune}: leave it out")
    check_at_least("model.lora.rank", options.rank, 1)
    check_positive("model.lora.alpha", options.alpha)
    if not 0 <= options.dropout < 1:
        raise IgclError(f"model.lora.dropout is {options.dropout}, not at least 0 and below 1")


def last_block(encoder: nn.Module) -> list[str]:
    """Return the names of the modules of an encoder that are its last block, or follow it.

    A block is what timm lists as source of a feature map: a stage of a CNN, a layer of a ViT. Modules follow in the
    order in which the backbone registers them, which is that of its forward pass.

    Raises:
        IgclError: the backbone does not say what its blocks are.
    """
    block = f"backbone.{getattr(encoder, 'last_block', None) or _last_stage(encoder)}"
    names = [name for name, _ in encoder.named_modules()]
    return names[names.index(block) :]


def _last_stage(encoder: Any) -> str:
    modules = dict(encoder.backbone.named_modules())
    stages = [stage["module"] for stage in getattr(encoder.backbone, "feature_info", None) or []]
    # Maps may also come from an activation, a norm or a single layer behind the last stage, which are no blocks.
    blocks = [name for name in stages if name in modules and _num_layers(modules[name]) > 1]
    if not blocks:
        raise IgclError(f"model.tune {LAST_BLOCK}: {encoder.name} does not say what its blocks are; use {FULL}")
    parent, dot, _ = blocks[-1].rpartition(".")
    kind = type(modules[blocks[-1]])  # timm lists no map of the last block of a DenseNet, only of the norm behind it
    alike = [name for name, child in modules[parent].named_children() if type(child) is kind]
    return f"{parent}{dot}{alike[-1]}"


def _num_layers(module: nn.Module) -> int:
    """Return the number of layers with a weight matrix or a kernel."""
    return sum(any(weight.ndim > 1 for weight in part.parameters(recurse=False)) for part in module.modules())


def add_adapters(encoder: nn.Module, options: LoraOptions) -> list[str]:
    """Add adapters to the linear layers of attention of an encoder, in place; returns the names of their modules.

    Raises:
        IgclError: the encoder has no such layers, or peft is not installed.
    """
    targets = attention_layers(encoder)
    if not targets:
        raise IgclError(
            f"model.tune {LORA}: {encoder.name} has no linear layers of attention; use {FULL} or {LAST_BLOCK}, or a "
            "transformer such as vit_small_patch16_224"
        )
    peft = _peft()
    config = peft.LoraConfig(
        r=options.rank,
        lora_alpha=options.alpha,
        lora_dropout=options.dropout,
        target_modules="|".join(map(re.escape, targets)),
    )
    peft.inject_adapter_in_model(config, encoder)
    return [name for name, _ in encoder.named_modules() if name.rpartition(".")[2].startswith("lora_")]


def attention_layers(encoder: nn.Module) -> list[str]:
    """Return the names of the linear layers of attention that are called: queries, keys, values and the output.

    Some of timm's transformers only read the weight of such a layer, and would pass an adapter by.
    """
    linear = {name: part for name, part in encoder.named_modules() if isinstance(part, nn.Linear)}
    attending = {name: part for name, part in linear.items() if name.split(".")[-2:][0].endswith("attn")}
    called: set[str] = set()
    modes = {module: module.training for module in encoder.modules()}
    with ExitStack() as hooks, torch.no_grad():
        for name, part in attending.items():
            handle = part.register_forward_hook(lambda *_, name=name: called.add(name))
            hooks.callback(handle.remove)
        if attending:
            weight = next(encoder.parameters())
            side: Any = encoder.size
            encoder.eval()(torch.zeros(1, 1, side, side, device=weight.device))
    for module, mode in modes.items():
        module.training = mode
    return [name for name in attending if name in called]


def merge_adapters(encoder: nn.Module) -> None:
    """Add adapters to the weights that they belong to, in place; the encoder then has plain layers."""
    for name, layer in [*_adapted(encoder)]:
        layer.merge()
        parent, _, child = name.rpartition(".")
        setattr(encoder.get_submodule(parent), child, layer.get_base_layer())
    vars(encoder).pop("peft_config", None)


def _adapted(encoder: nn.Module) -> Iterator[tuple[str, Any]]:
    yield from ((name, part) for name, part in encoder.named_modules() if hasattr(part, "lora_A"))


def _peft() -> Any:
    """Import peft, which takes seconds."""
    try:
        import peft
    except ImportError as error:
        raise IgclError(f"model.tune {LORA} needs peft: pip install 'igcl-lightning[lora]'") from error
    return peft
