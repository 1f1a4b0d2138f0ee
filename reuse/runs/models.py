"""Models as a run keeps them: how to build them again, and what they predict."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from reuse.data.inputs import Inputs
from reuse.data.preprocessing import Preprocessing
from reuse.data.targets import TargetScale
from reuse.errors import RunError, UsageError
from reuse.layout import Layout, called
from reuse.nn.main_output import main_output
from reuse.reporting import UNHEARD, Progress
from reuse.runs.checkpoints import all_tensors
from reuse.runs.folder import WEIGHTS, RunFolder
from reuse.runs.raw_rows import prepare, refuse_unprepared
from reuse.runs.tensor_files import load_tensors_file
from reuse.training.state import load_tensors

LIKELY = 0.5  # the probability above which a row is said to have a label


class SavedModel(nn.Module):
    """A trained model with what its predictions mean.

    Attributes:
        network: the model itself, in evaluation mode.
        task: "classification", "multilabel" or "regression".
        classes: names of the classes or labels in the order of the outputs; empty for regression.
        preprocessing: what was done to raw samples; give it to `reuse.load(..., preprocessing=...)`.
        target_scale: of numbers: what turns the network's outputs into the targets' own units; None: nothing.
        layout: the tensors of one prepared row; empty: not known.
    """

    def __init__(
        self,
        network: nn.Module,
        task: str,
        classes: tuple[str, ...],
        preprocessing: Preprocessing,
        target_scale: TargetScale | None = None,
        layout: Layout = (),
    ):
        super().__init__()
        self.network = network
        self.task, self.classes, self.preprocessing = task, classes, preprocessing
        self.target_scale, self.layout = target_scale, layout
        self.eval()

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one prepared row, of several tensors that of the first; empty: not known."""
        return self.layout[0].shape if self.layout else ()

    def forward(self, *inputs: Tensor, **named: Tensor) -> Tensor:
        """Return the outputs of preprocessed samples: logits, or numbers in their own units, `(batch, outputs)`.

        Args:
            inputs: a tensor `(batch, *shape)`, or all that the network takes, in the order of `layout`.
            named: the same by name, where the network takes its inputs by name.

        Raises:
            UsageError: the samples are plainly not preprocessed.
        """
        if len(inputs) == 1 and type(inputs[0]) is Tensor and not torch.compiler.is_compiling():
            refuse_unprepared(inputs[0], self.preprocessing, self.input_shape)
        outputs = main_output(self.network(**named) if named else called(self.network, self.layout, inputs))
        return self.target_scale.restored(outputs) if self.target_scale else outputs

    def predict(self, data: Any, batch_size: int = 256) -> np.ndarray:
        """Return what is predicted for each row, as scikit-learn's estimators do.

        The class, by its name, `(rows,)`; of several labels 1 for those that a row has and 0 for the others,
        `(rows, labels)`; numbers in the targets' own units, `(rows,)`, or `(rows, outputs)` where there are several.

        Args:
            data: raw rows, which are prepared as the run did: an array, a data frame, a file, a folder, images' files,
                or what else `reuse.load` reads, labels left aside; records (dictionaries, named tuples), one, or a row
                or column of a frame where it means rows; for a network of several inputs a dictionary or a
                tuple of arrays; or rows that are prepared: a split's `inputs`, or a tensor `(rows, *shape)`.
            batch_size: rows at a time.

        Raises:
            DataError: rows that cannot be read, or that the run was not made for.
            UsageError: a tensor that is plainly not prepared.

        Example:
            >>> load_model("runs/finetune-20261121-090000").predict("holiday.jpg")  # doctest: +SKIP
            array(['beach'], dtype='<U8')
        """
        values = self.values(data, batch_size)
        if self.task == "classification":
            return np.asarray(np.array(self.classes)[values.argmax(1).numpy()])
        if self.task == "multilabel":
            return (values > LIKELY).long().numpy()
        return values[:, 0].numpy() if values.shape[1] == 1 else values.numpy()

    def predict_proba(self, data: Any, batch_size: int = 256) -> np.ndarray:
        """Return the probability of each class or label, `(rows, classes)`, in the order of `classes`.

        Args:
            data: as `predict` takes it.
            batch_size: rows at a time.

        Raises:
            DataError: rows that cannot be read, or that the run was not made for.
            UsageError: the run predicts numbers, which have no probabilities, or a tensor that is plainly not prepared.
        """
        if self.task == "regression":
            raise UsageError("the run predicts numbers, which have no probabilities: call predict")
        return self.values(data, batch_size).numpy()

    def values(self, data: Any, batch_size: int = 256, progress: Progress = UNHEARD) -> Tensor:
        """Return probabilities of classes or labels, or predicted numbers: `(rows, outputs)` on the CPU.

        Numbers that were learned in a standard scale are float64, as near a large mean float32 has no digits.

        Args:
            data: as `predict` takes it.
            batch_size: rows at a time.
            progress: told of the rows that are done.

        Raises:
            DataError: rows that cannot be read, or that the run was not made for.
            UsageError: a tensor that is plainly not prepared.
        """
        if isinstance(data, Tensor) and not data.is_floating_point() and self.preprocessing.num_tokens is None:
            data = data.cpu().numpy()  # whole numbers are never prepared
        if isinstance(data, Tensor):
            refuse_unprepared(data, self.preprocessing, self.input_shape)
        inputs = data if isinstance(data, Inputs | Tensor) else prepare(data, self.preprocessing)
        device, dtype = next(((p.device, p.dtype) for p in self.parameters()), (torch.device("cpu"), torch.float32))
        parts = []
        with torch.inference_mode():
            for rows in torch.split(torch.arange(len(inputs)), batch_size):
                samples = (inputs[rows],) if isinstance(inputs, Tensor) else inputs.gather(rows)
                moved = [part.to(device, dtype if part.is_floating_point() else part.dtype) for part in samples]
                parts.append(self.meaning(main_output(called(self.network, self.layout, moved))))
                progress.advance(len(rows))
        return refuse_no_numbers(torch.cat(parts))

    def meaning(self, outputs: Tensor) -> Tensor:
        """Return what outputs stand for, on the CPU."""
        if self.task == "classification":
            return outputs.softmax(1).cpu()
        if self.task == "multilabel":
            return outputs.sigmoid().cpu()
        return self.target_scale.restored(outputs.cpu().double()) if self.target_scale else outputs.cpu()


def load_model(run: str | Path, *, trust: bool = False, model: nn.Module | None = None) -> SavedModel:
    """Return the trained model of a run folder, ready to predict.

    Args:
        run: the folder.
        trust: whether a run whose model is a `package.module:callable` may import and call it.
        model: the module, where the run is of one that Python gave: a copy of it gets the run's weights.

    Raises:
        RunError: the run is missing, damaged, not finished, of another version, or predicts nothing (an autoencoder).
        UsageError: the run names code, and `trust` is not given, or is of a module, and `model` is not given.

    Example:
        >>> model = load_model("runs/finetune-20261121-090000")  # doctest: +SKIP
        >>> model.predict("digits")  # doctest: +SKIP
    """
    folder = RunFolder.open(run)
    manifest = folder.manifest()
    if not manifest.predicts or manifest.task is None:
        raise RunError(f"{folder.path} is a pretraining run without labels, so it predicts nothing: fine-tune it first")
    if manifest.model is None or manifest.preprocessing is None:
        raise RunError(f"{folder.path} has no model of its own, so it predicts nothing: name the run of a model")
    recipe = replace(manifest.model, module=model)
    network, layout = recipe.build(trust=trust), recipe.layout
    load_whole(network, load_tensors_file(folder.path / WEIGHTS), folder.path)
    return SavedModel(network, manifest.task, manifest.classes, manifest.preprocessing, manifest.target_scale, layout)


def refuse_no_numbers(values: Tensor) -> Tensor:
    """Return predicted values, `(rows, outputs)`.

    Raises:
        RunError: some are no finite numbers, and would pass for a class or a measure.
    """
    wrong = int((~values.isfinite()).any(1).sum())
    if wrong:
        raise RunError(
            f"the model gives no finite numbers for {wrong} of {len(values)} rows: its weights or its preprocessing "
            "are damaged, or these rows hold values that it was not made for; train it again, or look at the rows"
        )
    return values


def load_whole(network: nn.Module, tensors: Mapping[str, Tensor], where: Path) -> None:
    """Fill every tensor of `network`.

    Raises:
        RunError: a tensor is missing, besides, or of another shape.
    """
    own = all_tensors(network)
    missing = sorted(set(own) - set(tensors))
    if missing:
        raise RunError(f"{where} lacks {', '.join(missing[:3])}{'…' if len(missing) > 3 else ''}: it is damaged")
    # Before the values, which would lose digits on their way through a smaller type.
    network.to(next((t.dtype for t in tensors.values() if t.is_floating_point()), torch.float32))
    tied = network.state_dict().keys() - own.keys()  # second names of tensors that the first name fills
    load_tensors(network, {name: tensor for name, tensor in tensors.items() if name not in tied})
