"""Cached features in transformers: `CachedTrainer` in place of `Trainer`, with features as its data sets."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.nn import functional
from torch.utils.data import default_collate
from transformers import Trainer

from reuse.errors import UsageError
from reuse.features.dataset import CachedFeatures


class CachedTrainer(Trainer):
    """A `Trainer` whose data sets are what `reuse.cached` returned, for the model that it trains.

    The model takes features in place of its inputs for as long as the trainer works; what it saves is the whole model.
    The loss is that of a model of transformers for such labels: cross entropy for class numbers, binary cross entropy
    for several labels, the squared error for numbers; or the `compute_loss_func` that is given.

    Args:
        args: as for `Trainer`; the model and the data sets are given by name.
        settings: as for `Trainer`.

    Raises:
        UsageError: a data set is none of `reuse.cached`.
    """

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **{"data_collator": by_name, "compute_loss_func": self._default_loss, **settings})
        self.model_accepts_loss_kwargs = False  # what is called is a head of features alone

    def train(self, *args: Any, **settings: Any) -> Any:
        """Train as `Trainer` does."""
        return self._attached(super().train, self.train_dataset, *args, **settings)

    def evaluate(self, eval_dataset: Any = None, *args: Any, **settings: Any) -> Any:
        """Evaluate as `Trainer` does."""
        some = self.eval_dataset if eval_dataset is None else eval_dataset
        return self._attached(super().evaluate, some, eval_dataset, *args, **settings)

    def predict(self, test_dataset: Any, *args: Any, **settings: Any) -> Any:
        """Predict as `Trainer` does."""
        return self._attached(super().predict, test_dataset, test_dataset, *args, **settings)

    def _attached(self, function: Any, features: Any, *args: Any, **settings: Any) -> Any:
        if not isinstance(features, CachedFeatures):
            raise UsageError(f"a data set is of type {type(features).__name__}: give what reuse.cached returns")
        was = features.is_attached
        features.attach()
        try:
            return function(*args, **settings)
        finally:
            if not was:
                features.detach()

    def _default_loss(self, outputs: Any, labels: Tensor, num_items_in_batch: Any = None) -> Tensor:
        logits = outputs["logits"] if isinstance(outputs, dict) else outputs[0]
        several = getattr(self.model.config, "problem_type", None) == "multi_label_classification"
        loss: Any = functional.cross_entropy
        if labels.is_floating_point():
            loss = functional.binary_cross_entropy_with_logits if several else functional.mse_loss
            logits = logits.reshape(labels.shape)
        if num_items_in_batch is None:
            return loss(logits, labels)  # type: ignore[no-any-return]
        return loss(logits, labels, reduction="sum") / num_items_in_batch  # type: ignore[no-any-return]


def by_name(samples: Sequence[Any]) -> dict[str, Any]:
    """Return samples side by side, features and labels under the names that `Trainer` passes on."""
    features, labels = default_collate(list(samples))
    return {"features": features, "labels": labels}
