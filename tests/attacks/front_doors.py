"""The ways in which cached features reach a training loop, behind one small interface, and what each of them served.

`python front_doors.py FOLDER DOOR…` fills caches in a folder and then asks through each door again after each change
of `attacks.asked_network`; with `--again` it is the other process, which asks for what did not change. It prints a line
of JSON for each answer. Keras takes its backend from the environment: `KERAS_BACKEND=torch`.
"""

import json
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, default_collate

sys.path.insert(0, str(Path(__file__).parents[1]))

import reuse
from attacks.asked_network import CHANGES, PROCESS, Asked, ask

BATCH = 5


@dataclass(frozen=True)
class Served:
    """Features of all rows as a loop was given them, and how many rows were computed for it."""

    features: Tensor
    computed: int


Door = Callable[[Asked, Path], Served]
"""Trains an epoch on what is asked for, through a cache folder; the rates are 0, so that nothing changes by it."""


@contextmanager
def heard(head: nn.Module) -> Iterator[list[Tensor]]:
    """Keep what a layer is given in a training."""
    given: list[Tensor] = []
    hook = head.register_forward_pre_hook(lambda module, inputs: given.append(inputs[0].detach().clone()))
    try:
        yield given
    finally:
        hook.remove()


def cached(asked: Asked, cache: Path) -> Any:
    return reuse.cached(asked.network, asked.pictures, freeze="body", cache_dir=cache)


def plain_loop(asked: Asked, cache: Path) -> Served:
    features = cached(asked, cache)
    optimizer = torch.optim.SGD(features.head.parameters(), lr=0)
    with heard(asked.network.head) as given:
        for z, y in features.loader(batch_size=BATCH):
            optimizer.zero_grad()
            functional.cross_entropy(features.head(z), y).backward()
            optimizer.step()
    return Served(torch.cat(given), features.computed)


def by_lightning(asked: Asked, cache: Path) -> Served:
    import lightning.pytorch as lightning

    from reuse.loops.lightning import ReadCached

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = asked.network

        def training_step(self, batch: Any, _: int) -> Tensor:
            return functional.cross_entropy(self.network(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.network.head.parameters(), lr=0)

    features = cached(asked, cache)
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = lightning.Trainer(accelerator="cpu", max_epochs=1, callbacks=[ReadCached(features)], **quiet)
    with heard(asked.network.head) as given:
        trainer.fit(Module(), DataLoader(features, batch_size=BATCH))
    return Served(torch.cat(given), features.computed)


def by_transformers(asked: Asked, cache: Path) -> Served:
    from torch.utils.data import SequentialSampler
    from transformers import TrainingArguments

    from reuse.loops.transformers import CachedTrainer

    class InOrder(CachedTrainer):
        def _get_train_sampler(self, *_: Any) -> SequentialSampler:
            return SequentialSampler(self.train_dataset)

    def loss(outputs: Tensor, labels: Tensor, num_items_in_batch: Any = None) -> Tensor:
        return functional.cross_entropy(outputs, labels)

    features = cached(asked, cache)
    with tempfile.TemporaryDirectory() as out, heard(asked.network.head) as given:
        arguments = TrainingArguments(
            output_dir=out,
            num_train_epochs=1,
            per_device_train_batch_size=BATCH,
            learning_rate=0.0,
            save_strategy="no",
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
        )
        InOrder(model=asked.network, args=arguments, train_dataset=features, compute_loss_func=loss).train()
    return Served(torch.cat(given), features.computed)


def by_skorch(asked: Asked, cache: Path) -> Served:
    from skorch import NeuralNetClassifier

    features = cached(asked, cache)
    settings = {"criterion": nn.CrossEntropyLoss, "lr": 0.0, "batch_size": BATCH, "train_split": None, "verbose": 0}
    with heard(asked.network.head) as given:
        NeuralNetClassifier(features.head, max_epochs=1, **settings).fit(features, features.targets)
    return Served(torch.cat(given), features.computed)


def by_keras(asked: Asked, cache: Path) -> Served:
    import keras

    from reuse.loops.keras import joined

    kind = str(next(asked.network.parameters()).dtype).removeprefix("torch.")
    keras.backend.set_floatx(kind)
    body = keras.layers.TorchModuleWrapper(asked.network.body, dtype=kind)
    base = keras.Sequential([keras.Input((3, 2, 2), dtype=kind), body])
    head = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])
    base.trainable = False
    features = reuse.cached(joined(base, head), asked.pictures, freeze="base", cache_dir=cache)
    given: list[Tensor] = []

    def collated(samples: Any) -> Any:
        z, y = default_collate(samples)
        given.append(z.clone())
        return z, y

    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    head.compile(optimizer=keras.optimizers.SGD(0.0), loss=loss)
    given.clear()
    head.fit(DataLoader(features, batch_size=BATCH, collate_fn=collated), epochs=1, verbose=0, shuffle=False)
    rows = torch.cat(given)
    return Served(rows[len(rows) - len(asked.pictures) :], features.computed)  # Keras may look at a batch beforehand


DOORS: dict[str, Door] = {
    "plain loop": plain_loop,
    "Lightning": by_lightning,
    "transformers": by_transformers,
    "skorch": by_skorch,
    "Keras": by_keras,
}


def judged(served: Served, asked: Asked, needed: int) -> str:
    """Return `stale`, `needless`, or `right`."""
    now = asked.now()
    same = served.features.shape == now.shape and torch.allclose(served.features.to(now.dtype), now, rtol=1e-5)
    if not same:
        return "stale"
    return "right" if served.computed <= needed else "needless"


def outcome(door: Door, change: str, folder: Path, cache: Path) -> str:
    """Return how a door serves what is asked for after a change."""
    make, needed = CHANGES[change]
    with ExitStack() as undo:
        asked = make(ask(folder), folder, undo)
        return judged(door(asked, cache), asked, needed)


def keras_models() -> Iterator[tuple[str, str]]:
    """Yield changes of a Keras model that is a graph, and whether its key sees them, and nothing else."""
    import keras

    from caching.prefixes import trace
    from reuse.fingerprinting.fingerprint import fingerprint
    from reuse.loops.keras import KerasLayer

    class Scale(keras.layers.Layer):
        def __init__(self, by: float) -> None:
            super().__init__()
            self.by = by

        def call(self, x: Any) -> Any:
            return x * self.by

    def built(by: float = 2.0, act: str = "relu", joins: Any = keras.ops.subtract, turned: bool = False) -> Any:
        keras.utils.set_random_seed(0)
        given = keras.Input((4,))
        one, other = keras.layers.Dense(3, act)(given), keras.layers.Dropout(0.5)(keras.layers.Dense(3)(given))
        joined = joins(other, one) if turned else joins(one, other)
        return keras.Model(given, Scale(by)(keras.ops.clip(joined, -1.0, 1.0)))

    def key(model: Any) -> str:
        layer = trace(nn.Sequential(KerasLayer(model)).eval())
        whole = fingerprint(layer, preprocessing={}, dtype=torch.float32, device=torch.device("cpu"), cache_format=1)
        return whole.key

    def weighed(model: Any) -> Any:
        model.layers[1].kernel.assign(model.layers[1].kernel + 1)
        return model

    first, used = key(built()), built()
    used.predict(torch.zeros(2, 4).numpy(), verbose=0)
    yield "built again", "right" if key(built()) == first else "needless"
    yield "used", "right" if key(used) == first else "needless"
    changed = {
        "a setting": built(act="tanh"),
        "an attribute": built(by=3.0),
        "an operation": built(joins=keras.ops.add),
        "a way": built(turned=True),
        "a weight": weighed(built()),
    }
    for name, model in changed.items():
        yield name, "stale" if key(model) == first else "right"


def main(folder: Path, doors: list[str], *, again: bool) -> None:
    warnings.simplefilter("ignore")
    sys.dont_write_bytecode = True
    for name in doors:
        cache = folder.parent / f"cache of {name}"
        if not again:
            begun = DOORS[name](first := ask(folder), cache)
            assert judged(begun, first, begun.computed) == "right"
            assert begun.computed == len(first.pictures)
        for change in ["nothing"] if again else CHANGES:
            found = outcome(DOORS[name], change, folder, cache)
            say(name, PROCESS if again else change, found)
        if name == "Keras" and not again:
            for change, found in keras_models():
                say("Keras, its own model", change, found)


def say(*words: str) -> None:
    print(json.dumps(words), file=sys.__stdout__, flush=True)


if __name__ == "__main__":
    sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - the toolkits print
    place, *named = sys.argv[1:]
    main(Path(place), [one for one in named if one != "--again"], again="--again" in named)
