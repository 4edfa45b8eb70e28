"""Fully sharded training (FSDP2): each process keeps a share of parameters, gradients and optimiser state."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lightning.pytorch import LightningModule
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor

from igcl_lightning.errors import IgclError

STEPS = ("training_step", "validation_step", "test_step", "predict_step")


def shard(module: LightningModule) -> None:
    """Shard a module over the processes of Lightning's `ModelParallelStrategy`; does nothing a second time.

    Repeated layers of encoders are gathered one by one when they run; all other parameters once per step.

    Raises:
        IgclError: the strategy also splits tensors, or would write checkpoints as folders.
    """
    if isinstance(module, FSDPModule):
        return
    assert module.device_mesh is not None
    strategy: Any = module.trainer.strategy
    mesh = module.device_mesh["data_parallel"]
    if mesh.size() < module.device_mesh.size():
        raise IgclError(
            f"trainer.strategy: set data_parallel_size to {module.device_mesh.size()}, the number of processes, and "
            "tensor_parallel_size to 1; tensors are not split"
        )
    if strategy._save_distributed_checkpoint:
        raise IgclError("trainer.strategy: set save_distributed_checkpoint to false; a checkpoint is one file")
    if strategy._layer_sync and module.trainer.state.fn == TrainerFn.FITTING:  # Lightning does so for DDP only
        strategy._layer_sync.apply(module)
    for parameter in module.parameters():
        parameter.data = parameter.data.contiguous()  # `fully_shard` refuses kernels whose channels come last
    for layer in reversed([*_repeated_layers(module)]):  # innermost first
        fully_shard(layer, mesh=mesh)
    fully_shard(module, mesh=mesh)
    for step in STEPS:
        register_fsdp_forward_method(module, step)


def reshard(module: nn.Module) -> None:
    """Make `parameters()` of a sharded module those that optimiser and checkpoint hold; a step may leave others."""
    if isinstance(module, FSDPModule):
        module.reshard()


def whole(value: Any) -> Any:
    """Return a sharded tensor in one piece, on the CPU; all processes call this together. Others are returned as is."""
    return value.full_tensor().cpu() if isinstance(value, DTensor) else value


def share(value: Tensor) -> Tensor:
    """Return this process's share of a sharded tensor, which may be empty; any other tensor is returned as it is."""
    return value.to_local() if isinstance(value, DTensor) else value


def like(parameter: Tensor, value: Tensor) -> Tensor:
    """Return what `share` gave of a tensor that is sharded as a parameter, as such a tensor again."""
    if not isinstance(parameter, DTensor):
        return value
    mesh, placements = parameter.device_mesh, parameter.placements
    sizes = parameter.shape, parameter.stride()
    return DTensor.from_local(value, mesh, placements, run_check=False, shape=sizes[0], stride=sizes[1])


def plain_class(cls: type) -> type:
    """Return the class of which `fully_shard` made `cls`, or `cls` itself."""
    return next(base for base in cls.__mro__ if not issubclass(base, FSDPModule))


def _repeated_layers(module: nn.Module) -> Iterator[nn.Module]:
    """Yield the layers of stacks of one class in the encoders of a module, such as the blocks of a transformer."""
    for name, child in module.named_children():
        if name.endswith("encoder"):
            for part in child.modules():
                stack = [*part] if isinstance(part, (nn.ModuleList, nn.Sequential)) else []
                if len({type(layer) for layer in stack}) == 1 and any(True for _ in part.parameters()):
                    yield from stack
