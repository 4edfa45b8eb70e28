"""Zero-shot classification: images scored against prompts that state and deny a label."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Self

import pandas as pd
import torch
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor, nn

from igcl_lightning.data.inputs import InputReader
from igcl_lightning.data.samples import LabeledBatch
from igcl_lightning.data.words import recorded_words
from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.labels import label_table
from igcl_lightning.graphs.prompts import Prompt, PromptLine, joined_prompts, make_prompts, prompt_words, read_prompts
from igcl_lightning.metrics.prompts import PromptQuality
from igcl_lightning.modules.base import BaseModule, rebuild
from igcl_lightning.modules.checkpoint import CLASS_PATH, HYPER_PARAMETERS, read_checkpoint
from igcl_lightning.modules.classifier import ClassifierModule, Scores
from igcl_lightning.modules.contrastive import ContrastiveModule
from igcl_lightning.nn.checks import check_at_least, check_choice
from igcl_lightning.nn.encoded import Encoded
from igcl_lightning.nn.scoring import at_least_single

STATEMENTS = 5
"""Statements of a label in a prompt for a model of whole reports. Mean AUROC with 1, 4, 5 and 6, on the validation rows
of phantoms, of four pretrained models: .679, .686, .689, .686."""

NOTHING_TO_TRAIN = "ZeroShot has nothing to train: validate, test or predict with it"

NAMED = 4
"""Prompts or words that a warning names."""

UNIT_TOLERANCE = 0.02
"""How far the length of an embedding may be from 1, in reduced precision too."""


class ZeroShot(ClassifierModule):
    r"""Score labels by how much better an image fits prompts that state them than prompts that deny them.

    .. math:: s = \log \sum_k \exp a_k - \log \sum_k \exp b_k

    Prompt k states the label, with the similarity a_k to the image, and denies it, b_k. Similarities are logits of the
    pretrained model, each branch divided by its temperature as in training, so that global and local scores are of one
    scale, and a score depends on no other row. Exchanging statements and denials changes its sign. Nothing is trained.

    `validate` and `test` warn of each prompt whose AUROC is below .5 on the validation rows.

    Args:
        checkpoint: pretraining checkpoint of a module that contrasts images with reports, as graphs or as texts.
        prompts: file of prompts (default: `graphs/prompts.tsv`, which explains the format).
        statements: statements of a label in a prompt, in different words as in a report (default: 5, or 1 for a model
            trained on single sentences).
        score: "global", "local" or "both" (default: the score of the model's retrieval).
        name: name of the results; by default that of the method.
        encoder: arguments that rebuild the pretrained module; written into checkpoints.
        prompt_lines: content of the file of prompts; written into checkpoints.
        label_names: names of the labels; taken from the data module when None.
        origin: method of the results; written into checkpoints.

    Raises:
        IgclError: there is no pretrained module, it reads no reports or has no such score, or a prompt is malformed.
    """

    protocol = "zero_shot"
    trains = False

    def __init__(
        self,
        checkpoint: str | None = None,
        prompts: str | None = None,
        statements: int | None = None,
        score: str | None = None,
        name: str | None = None,
        encoder: dict[str, Any] | None = None,
        prompt_lines: list[list[str]] | None = None,
        label_names: list[str] | None = None,
        origin: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(name, label_names, origin)
        self.save_hyperparameters()
        self.encoder = None
        self.pretrained, self.stored = _pretrained(checkpoint, encoder)
        self.score_name = str(score or getattr(self.pretrained, "score_name", "global"))
        check_choice("model.score", self.score_name, self.pretrained.score_names)
        sentences = getattr(getattr(self.pretrained, "text", None), "sentence_sampling", False)
        self.statements = (1 if sentences else STATEMENTS) if statements is None else statements
        check_at_least("model.statements", self.statements, 1)
        given = [PromptLine(*line) for line in prompt_lines or []]
        self.lines = given or read_prompts(Path(prompts) if prompts else None)
        self.prompts: list[Prompt] = []
        self._asked: list[list[Any]] | None = None
        self._quality: dict[str, Tensor] = {}
        if label_names is not None:
            self.build_head(len(label_names))

    @property
    def image_encoder(self) -> nn.Module:
        """The image encoder of the pretrained module."""
        encoder: nn.Module = self.pretrained.image_encoder  # type: ignore[assignment]  # no tensor
        return encoder

    def default_name(self) -> str:
        """Return the method that trained the model."""
        return str(self.stored[CLASS_PATH]).rpartition(".")[2].lower()

    def train(self, mode: bool = True) -> Self:
        """Stay in eval mode."""
        return super().train(False)

    def input_reader(self) -> InputReader:
        """Return the reader of files and texts that the pretrained module has; `IgclError` without a record."""
        return self.pretrained.input_reader()

    def portable_hyperparameters(self) -> dict[str, Any]:
        """Return the arguments that rebuild this module, with its prompts and without files."""
        lines = {"prompts": None, "prompt_lines": [list(line) for line in self.lines]}
        return super().portable_hyperparameters() | {"checkpoint": None, "encoder": self.stored} | lines

    def setup(self, stage: str) -> None:
        """Take the label names from the data module, and the prompts of these labels.

        Raises:
            IgclError: the stage is fit, or a label has no prompts.
        """
        if stage == "fit":
            raise IgclError(NOTHING_TO_TRAIN)
        if self.label_names is None:
            self.label_names = self.data.label_names or self._labels_of_prompts()
            self.build_head(len(self.label_names))
        super().setup(stage)
        self.origin = {"method": self.name or self.default_name()}

    def _labels_of_prompts(self) -> list[str]:
        """Return the labels of the user's prompts, or those of CheXpert."""
        names = list(dict.fromkeys(line.name for line in self.lines))
        own = {label.name for label in label_table()["chexpert"]} if self.hparams["prompts"] is None else names
        return [name for name in names if name in own]

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """Raise `IgclError`; without it Lightning would refuse a fit before `setup` does, and not say why."""
        raise IgclError(NOTHING_TO_TRAIN)

    def build_head(self, num_labels: int) -> None:
        """Choose the prompts of the labels; `IgclError` if a label has none."""
        super().build_head(num_labels)
        names = self.label_names or []
        self.prompts = joined_prompts(make_prompts(lines_of(names, self.lines)), self.statements)
        self.label_of = torch.tensor([names.index(prompt.label) for prompt in self.prompts])
        self.quality: Any = nn.ModuleDict({stage: PromptQuality(self.label_of.tolist()) for stage in ("val", "test")})

    def score(self, batch: LabeledBatch) -> Tensor:
        """Return the scores [B, L] of a batch."""
        return self.score_image(batch.image)

    def score_image(self, image: Tensor) -> Tensor:
        """Return the scores [B, L] of grey values 0-255 [B, 1, H, W], log-likelihood ratios of present and absent."""
        return prompt_contrast(*self.score_prompts(image), self.label_of, len(self.trained))

    def score_prompts(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits of images with the P prompts, as they state and as they deny their label, both [B, P].

        Raises:
            IgclError: the model's embeddings are no unit vectors.
        """
        if self._asked is None:
            self._asked = [list(self.matched_prompts(name)) for name in ("present", "absent")]
        seen = self._matched("image", self.pretrained.encode("image", image))
        present, absent = (torch.cat([self._logits(seen, each) for each in parts], dim=1) for parts in self._asked)
        return present, absent

    def matched_prompts(self, name: str) -> Iterator[Any]:
        """Yield what scorers read of the prompts, batch by batch; `name` is "present" or "absent"."""
        side = self.pretrained.report_side
        for encoded in self.pretrained.encode_inputs(side, [getattr(prompt, name) for prompt in self.prompts]):
            yield self._matched(side, encoded)

    def _matched(self, side: str, encoded: Encoded) -> Any:
        """Return what scorers read of a side."""
        embedding = self.pretrained.project(side, encoded)
        length = embedding.detach().float().norm(dim=1)
        if not bool(((length - 1).abs() < UNIT_TOLERANCE).all()):
            raise IgclError(
                f"the {side} embeddings of {type(self.pretrained).__name__} have lengths from {length.min():.3g} to "
                f"{length.max():.3g}, not 1: its {side}_projection does not normalise them"
            )
        return self.pretrained.matched(side, encoded, embedding)

    def _logits(self, image: Any, prompt: Any) -> Tensor:
        """Return similarities [B, P] divided by the temperature of training; those of "both" are logits already."""
        logits = at_least_single(self.pretrained.scorer(self.score_name)(image, prompt))
        loss = self.pretrained.trained_losses.get("local_" if self.score_name == "local" else "")
        return logits if self.score_name == "both" or loss is None else logits * loss.logit_scale.exp()

    def on_validation_start(self) -> None:
        """Look at the prompts anew: a checkpoint may have been loaded since `setup`.

        Raises:
            IgclError: a prompt has only words that no training report had.
        """
        self._asked = None
        self.warn_of_other_images()
        self.warn_of_unseen_words()

    def on_predict_start(self) -> None:
        """Look at the prompts anew."""
        self.on_validation_start()

    def on_test_start(self) -> None:
        """Look at the prompts anew, and on the validation rows whether one is inverted."""
        self.on_validation_start()
        data: Any = self.data
        limit = self.trainer.limit_val_batches
        if "valid" not in data.store.splits or not limit:
            rank_zero_info(f"{data.store_path}: no validation rows, so no prompt is checked")
            return
        loader = data.val_dataloader()
        for batch in islice(loader, limit if isinstance(limit, int) else int(limit * len(loader))):
            with self.trainer.precision_plugin.test_step_context():
                moved = self.trainer.strategy.batch_to_device(batch, self.device)
                self._evaluate_prompts(moved, *self.score_prompts(moved.image), "val")
        self._note_quality("val")

    def _evaluate(self, batch: LabeledBatch, stage: str) -> Scores:
        sides = self.score_prompts(batch.image)
        self._evaluate_prompts(batch, *sides, stage)
        scores = Scores(prompt_contrast(*sides, self.label_of, len(self.trained)), batch.target, batch.row)
        self.update_metrics(scores, stage)
        return scores

    def _evaluate_prompts(self, batch: LabeledBatch, present: Tensor, absent: Tensor, stage: str) -> None:
        self.quality[stage].update(present - absent, batch.target, batch.row)

    def log_metrics(self, stage: str) -> None:
        """Log the AUROC of each label and their mean."""
        super().log_metrics(stage)
        self._note_quality(stage)

    def _note_quality(self, stage: str) -> None:
        """Keep AUROC and agreement of each prompt; name those that are inverted on the validation rows."""
        self._quality[stage] = self.quality[stage].compute().cpu()
        self.quality[stage].reset()
        value = self._quality[stage][:, 0]
        below = [at for at in value.argsort(stable=True).tolist() if value[at] < 0.5]
        if stage != "val" or not below:
            return
        named = [f"{self.prompts[at].label} {_first(self.prompts[at])!r} {value[at]:.2f}" for at in below]
        all_of_them = "; so many may mean an inverted model, or images made differently" * (2 * len(below) > len(value))
        rank_zero_warn(
            f"{len(below)} of {len(value)} prompts have an AUROC below .5 on the validation rows{all_of_them}: "
            f"{_some(named)}"
        )

    def prompt_table(self) -> pd.DataFrame:
        """Return a line per prompt: label, both texts, and AUROC and agreement by split (see `PromptQuality`)."""
        table = pd.DataFrame([(each.label, each.present.text, each.absent.text) for each in self.prompts])
        table.columns = ["label", "present", "absent"]
        for stage, split in (("val", "valid"), ("test", "test")):
            if stage in self._quality:
                table[[f"{split}_auroc", f"{split}_agreement"]] = self._quality[stage].double().numpy()
        return table

    def refuse_unknown_words(self) -> set[str]:
        """Return the words of the training reports, empty if unknown; `IgclError` as `refuse_unknown_words`."""
        seen = recorded_words(self.pretrained.input_record, self.pretrained.report_side)
        refuse_unknown_words(self.prompts, seen)
        return seen

    def warn_of_unseen_words(self) -> None:
        """Name words of the prompts that no training report had; `IgclError` as `refuse_unknown_words`."""
        seen = self.refuse_unknown_words()
        if not seen:
            rank_zero_info(
                "the words of the training reports are unknown: it is not checked whether prompts use others"
            )
            return
        side = self.pretrained.report_side
        used = set().union(*(prompt_words(graph, side) for each in self.prompts for graph in each[1:]))
        if unseen := sorted(used - seen):
            count = f"{len(unseen)} of {len(used)} words of the prompts"
            rank_zero_warn(f"{count} are in no training report: {_some(unseen)}")


def lines_of(labels: Sequence[str], lines: Sequence[PromptLine]) -> list[PromptLine]:
    """Return the lines of some labels, under their names and in their order; `IgclError` if a label has none."""
    found = {label: [line._replace(label=label) for line in lines if line.is_of(label)] for label in labels}
    if lacking := [label for label in labels if not found[label]]:
        raise IgclError(
            f"no prompts for {', '.join(lacking)}: add a line for each to a file of your own (prompts), or name other "
            "labels (labels)"
        )
    return [line for own in found.values() for line in own]


def refuse_unknown_words(prompts: Iterable[Prompt], seen: set[str]) -> None:
    """Raise `IgclError` for a prompt of words only that no training report had; `seen` is empty if they are unknown."""
    for prompt in prompts:
        if seen and not prompt_words(prompt.present, "graph") & seen:
            raise IgclError(
                f"no training report had any word of the prompt {prompt.present.text!r} for {prompt.label}: state "
                "it in other words (--model.prompts)"
            )


def prompt_contrast(present: Tensor, absent: Tensor, label: Tensor, num_labels: int) -> Tensor:
    """Return the scores of labels, [B, L], from logits of prompts that state and deny them, both [B, P].

    Args:
        present: logits of the statements.
        absent: logits of the denials.
        label: index of each prompt's label, [P].
        num_labels: L; each label has at least one prompt.
    """
    own = [(label == each).nonzero().flatten().to(present.device) for each in range(num_labels)]
    stated, denied = (torch.stack([side[:, at].logsumexp(dim=1) for at in own], dim=1) for side in (present, absent))
    return stated - denied


def _pretrained(checkpoint: str | None, encoder: dict[str, Any] | None) -> tuple[ContrastiveModule, dict[str, Any]]:
    """Return the pretrained module, frozen, and the arguments that rebuild it."""
    if checkpoint is not None:
        stored = read_checkpoint(checkpoint)[HYPER_PARAMETERS]
        module = BaseModule.load_from_checkpoint(checkpoint, map_location="cpu")
    elif encoder is not None:
        stored, module = encoder, rebuild(encoder)
    else:
        raise IgclError("zero-shot needs a pretrained model: give its checkpoint with --model.checkpoint")
    name = type(module).__name__
    if not isinstance(module, ContrastiveModule) or module.report_side not in module.sides:
        raise IgclError(f"{checkpoint or 'model.encoder'}: {name} reads no reports, and so no prompts")
    module.eval().requires_grad_(False)
    return module, stored


def _first(prompt: Prompt) -> str:
    """Return the first statement of a prompt."""
    return prompt.present.text.partition(" .")[0]


def _some(names: list[str]) -> str:
    """Return names as a list, with the number of those that are left out."""
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
