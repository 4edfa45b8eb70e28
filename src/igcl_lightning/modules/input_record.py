"""Record of how the inputs of a module were made: stored in checkpoints, compared with the data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from lightning.pytorch import LightningModule
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_warn

from igcl_lightning.data.inputs import InputReader, describe_inputs, differences
from igcl_lightning.errors import IgclError

INPUTS = "inputs"


class InputRecord(LightningModule):
    """A module with a record of how its training inputs were made.

    Attributes:
        input_record: the record (`describe_inputs`), None if it is unknown.
    """

    def __init__(self) -> None:
        super().__init__()
        self.input_record: dict[str, Any] | None = None

    @property
    def input_kinds(self) -> tuple[str, ...]:
        """Kinds of inputs that the module reads, of `data.inputs.COMPARED`."""
        return ("image",)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store the record, and those of pretrained parts."""
        self._note_inputs()
        checkpoint[INPUTS] = self.input_record
        checkpoint.update({f"{name}_{INPUTS}": part.input_record for name, part in self._pretrained_parts()})

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the records; warn once if the data module's inputs were made differently."""
        stored = checkpoint.get(INPUTS)
        self.input_record = stored if isinstance(stored, dict) else None
        for name, part in self._pretrained_parts():
            part.input_record = checkpoint.get(f"{name}_{INPUTS}")
        self._warn_of_other_inputs(self.input_record, self.input_kinds)

    def warn_of_other_images(self) -> None:
        """Warn if a pretrained part was trained on images made differently from those of the data module."""
        for _, part in self._pretrained_parts():
            self._warn_of_other_inputs(part.input_record, ("image",))

    def input_reader(self) -> InputReader:
        """Return a reader that turns files and texts into tensors as in training; `IgclError` without a record."""
        self._note_inputs()
        if self.input_record is None:
            raise IgclError(
                f"the preprocessing of this {type(self).__name__} is unknown: it was not trained on a store made by "
                "igcl prepare; pass tensors to its encoders instead"
            )
        return InputReader(self.input_record)

    def _warn_of_other_inputs(self, trained: dict[str, Any] | None, kinds: Sequence[str]) -> None:
        here = describe_inputs(self._data())
        if trained is not None and here is not None and (apart := differences(trained, here, kinds)):
            rank_zero_warn(f"the store was prepared differently from that of the checkpoint: {', '.join(apart)}")

    def _note_inputs(self) -> None:
        """Record how the inputs of a fit are made; other stages keep the record of the checkpoint."""
        trainer = self._trainer
        if self.input_record is None or (trainer is not None and trainer.state.fn == TrainerFn.FITTING):
            self.input_record = describe_inputs(self._data(), words=True) or self.input_record

    def _pretrained_parts(self) -> Iterator[tuple[str, Any]]:
        """Yield the parts with an input record of their own, by name."""
        return ((name, part) for name, part in self.named_children() if hasattr(part, "input_record"))

    def _data(self) -> Any:
        return getattr(self._trainer, "datamodule", None)
