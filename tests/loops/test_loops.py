"""Training loops of other toolkits on cached features: the losses of the uncached loop, in three changed lines."""

import ast
import copy
import difflib
import os
import subprocess
import sys
from collections import OrderedDict
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import reuse

pytestmark = pytest.mark.filterwarnings("ignore")  # of the other toolkits

ROOT = Path(__file__).parents[2]
LOOPS = {"torch": "torch", "lightning": "lightning", "skorch": "skorch", "transformers": "transformers"}
KERAS = """
import warnings
warnings.simplefilter("ignore")
from reuse.recipes import loop_keras
print(loop_keras.main(quick=True)["largest_difference"])
"""


def body_of(function: ast.FunctionDef) -> list[str]:
    return ast.unparse(function.body[1:]).splitlines()  # without the docstring


@pytest.mark.parametrize("name", LOOPS)
def test_losses_are_those_of_the_uncached_loop(name):
    pytest.importorskip(LOOPS[name])
    outcome = import_module(f"reuse.recipes.loop_{name}").main(quick=True)
    assert outcome["steps"] >= 2
    assert outcome["largest_difference"] <= 1e-9


def test_losses_of_keras_are_those_of_the_uncached_fit():
    if find_spec("keras") is None:  # which takes its backend when it is imported
        pytest.skip("keras is not installed")
    environment = {**os.environ, "KERAS_BACKEND": "torch"}
    done = subprocess.run(
        [sys.executable, "-c", KERAS], env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert float(done.stdout.split()[-1]) <= 1e-6  # Keras computes in float32


@pytest.mark.parametrize("name", [*LOOPS, "keras"])
def test_three_lines_are_changed_at_most(name):
    tree = ast.parse((ROOT / "recipes" / f"loop_{name}.py").read_text())
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    before, after = body_of(functions["train"]), body_of(functions["train_cached"])
    changed = [line for line in difflib.ndiff(before, after) if line.startswith("+ ")]
    assert 1 <= len(changed) <= 3, changed


@pytest.mark.parametrize("name", ["lightning", "transformers", "keras"])
def test_a_door_is_sixty_lines_of_code_at_most(name):
    tree = ast.parse((ROOT / "reuse" / "loops" / f"{name}.py").read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
            node.body = node.body[1:] or [ast.Pass()]
    assert len(ast.unparse(tree).splitlines()) <= 60


def make_rows():
    drawn = torch.Generator().manual_seed(1)
    return TensorDataset(torch.randn(120, 6, generator=drawn).double(), torch.randint(3, (120,), generator=drawn))


def make_network():
    torch.manual_seed(0)
    layers = OrderedDict(body=nn.Linear(6, 8), norm=nn.BatchNorm1d(8), act=nn.ReLU(), head=nn.Linear(8, 3))
    return nn.Sequential(layers).double()


class TestLightning:
    """The callback."""

    def fit(self, network, folder, epochs, checkpoint=None, unfreezing=None, cached=True):
        lightning = pytest.importorskip("lightning.pytorch")
        from reuse.loops.lightning import ReadCached

        class Module(lightning.LightningModule):
            def __init__(self):
                super().__init__()
                self.network, self.losses = network, []

            def training_step(self, batch, _):
                loss = functional.cross_entropy(self.network(batch[0]), batch[1])
                self.losses.append(loss.item())
                return loss

            def validation_step(self, batch, _):
                self.losses.append(functional.cross_entropy(self.network(batch[0]), batch[1]).item())

            def configure_optimizers(self):
                return torch.optim.Adam([p for p in self.network.parameters() if p.requires_grad], 0.05)

        module, data = Module(), make_rows()
        reuse.freeze(network, "body,norm")
        loaders, callbacks = [DataLoader(data, 32), DataLoader(data, 50)], []
        if cached:
            features = [reuse.cached(network, data, cache_dir=folder) for _ in loaders]
            loaders = [features[0].loader(32, shuffle=True, seed=0), DataLoader(features[1], 50)]
            callbacks = [ReadCached(*features, unfreezing=unfreezing)]
        trainer = lightning.Trainer(
            accelerator="cpu",
            max_epochs=epochs,
            callbacks=callbacks,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
        trainer.fit(module, *loaders, ckpt_path=checkpoint)
        return trainer, module.losses

    def test_a_training_that_unfreezes_goes_on_from_a_checkpoint_bit_for_bit(self, tmp_path):
        whole = make_network()
        _, losses = self.fit(whole, tmp_path / "cache", 4, unfreezing={1: "norm", 3: "body"})
        trainer, first = self.fit(make_network(), tmp_path / "cache", 2, unfreezing={1: "norm", 3: "body"})
        trainer.save_checkpoint(tmp_path / "half.ckpt")
        rest = make_network()
        _, second = self.fit(rest, tmp_path / "cache", 4, tmp_path / "half.ckpt", unfreezing={1: "norm", 3: "body"})
        assert first + second == losses
        for one, other in zip(whole.state_dict().values(), rest.state_dict().values(), strict=True):
            assert torch.equal(one, other)

    def test_layers_that_are_unfrozen_move_and_the_network_is_left_as_it_was(self, tmp_path):
        network = make_network()
        before = copy.deepcopy(network.state_dict())
        self.fit(network, tmp_path, 2, unfreezing={1: "norm"})
        moved = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
        assert moved == {
            "norm.weight",
            "norm.bias",
            "norm.running_mean",
            "norm.running_var",
            "norm.num_batches_tracked",
            "head.weight",
            "head.bias",
        }
        assert network(make_rows().tensors[0][:2]).shape == (2, 3)  # inputs again, and no features


class TestTransformers:
    """The trainer."""

    @pytest.mark.parametrize("accumulated", [1, 2])
    def test_losses_and_predictions_are_those_of_the_trainer(self, tmp_path, accumulated):
        transformers = pytest.importorskip("transformers")
        pytest.importorskip("accelerate")
        from reuse.loops.transformers import CachedTrainer

        torch.manual_seed(0)
        config = transformers.ViTConfig(
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            image_size=8,
            patch_size=4,
            num_labels=3,
        )
        network = transformers.ViTForImageClassification(config).double()
        data = [{"pixel_values": torch.rand(3, 8, 8).double(), "labels": n % 3} for n in range(30)]
        histories, predictions = [], []
        for make in (transformers.Trainer, CachedTrainer):
            own = copy.deepcopy(network)
            reuse.freeze(own, "vit")
            rows = data if make is transformers.Trainer else reuse.cached(own, data, cache_dir=tmp_path / "cache")
            arguments = transformers.TrainingArguments(
                output_dir=str(tmp_path / "out"),
                num_train_epochs=2,
                per_device_train_batch_size=5,
                gradient_accumulation_steps=accumulated,
                eval_strategy="epoch",
                logging_steps=1,
                save_strategy="no",
                report_to=[],
                use_cpu=True,
                disable_tqdm=True,
            )
            trainer = make(model=own, args=arguments, train_dataset=rows, eval_dataset=rows)
            trainer.train()
            histories.append([e[key] for e in trainer.state.log_history for key in ("loss", "eval_loss") if key in e])
            predictions.append(trainer.predict(rows).predictions)
            assert "forward" not in own.__dict__
        assert histories[1] == pytest.approx(histories[0], abs=1e-9, rel=0)
        assert predictions[1] == pytest.approx(predictions[0], abs=1e-9, rel=0)

    def test_a_dataset_that_is_not_cached_is_refused(self, tmp_path):
        transformers = pytest.importorskip("transformers")
        pytest.importorskip("accelerate")
        from reuse.loops.transformers import CachedTrainer

        arguments = transformers.TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to=[])
        trainer = CachedTrainer(model=make_network(), args=arguments, train_dataset=[{"labels": 1}])
        with pytest.raises(reuse.UsageError, match=r"of type list: give what reuse\.cached returns"):
            trainer.train()


def test_a_keras_layer_of_another_backend_is_refused():
    from reuse.loops.keras import KerasLayer

    with pytest.raises(reuse.UsageError, match="KERAS_BACKEND=torch"):
        KerasLayer(object())


class TestLoader:
    """What loops rely on."""

    def test_orders_from_a_seed_follow_from_the_epoch_alone(self, tmp_path):
        features = reuse.cached(make_network(), make_rows(), freeze="body,norm", cache_dir=tmp_path)
        loader, again = features.loader(32, shuffle=True, seed=3), features.loader(32, shuffle=True, seed=3)
        epochs = [torch.cat([y for _, y in loader]) for _ in range(3)]
        again.set_epoch(2)
        assert torch.equal(torch.cat([y for _, y in again]), epochs[2])
        assert not torch.equal(epochs[0], epochs[1])
        with pytest.raises(reuse.UsageError, match="one of them"):
            features.loader(seed=1, generator=torch.Generator())
