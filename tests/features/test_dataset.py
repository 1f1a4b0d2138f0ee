"""Features of any Dataset, in a loop of one's own: equal to the uncached model, and never computed twice."""

import copy
import pickle
import shutil
from collections import OrderedDict

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

import reuse
from reuse.errors import DataError, UsageError

ROWS = 150


class Counting(Dataset):
    """Samples of which each reading is counted."""

    def __init__(self, x, y):
        self.x, self.y, self.reads = x, y, [0] * len(x)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        self.reads[index] += 1
        return self.x[index], int(self.y[index])


class Streamed(IterableDataset):
    """Samples that come one after the other."""

    def __init__(self, samples):
        self.samples = samples

    def __iter__(self):
        return iter(self.samples)


class Noisy(Dataset):
    """Samples that are changed at random whenever they are read."""

    def __init__(self, x):
        self.x = x

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return self.x[index] + 0.1 * torch.randn_like(self.x[index]), index % 3


class TwoInputs(nn.Module):
    """A model of two inputs, which are called by name or place."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, values, mask):
        return self.head(self.body(values).relu() * mask)


def make_model():
    torch.manual_seed(0)
    layers = OrderedDict(
        body=nn.Linear(6, 8), norm=nn.BatchNorm1d(8), act=nn.ReLU(), drop=nn.Dropout(0.3), head=nn.Linear(8, 3)
    )
    model = nn.Sequential(layers).double()
    model.norm.running_mean.uniform_(-1, 1)
    return model


def raised(model, name):
    """Return a state in which one tensor is another."""
    return {key: value + 1 if key == name else value.clone() for key, value in model.state_dict().items()}


def make_rows(rows=ROWS, seed=1):
    drawn = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, 6, generator=drawn, dtype=torch.float64)
    return x, torch.randint(3, (rows,), generator=drawn)


def losses_of(batches, forward, parameters, seed=7):
    """Return the losses of two epochs of a plain loop."""
    optimizer = torch.optim.Adam(parameters, lr=0.05)
    torch.manual_seed(seed)
    losses = []
    for _ in range(2):
        for x, y in batches:
            loss = functional.cross_entropy(forward(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses


class TestPlainLoop:
    """Somebody's own loop with features in place of inputs."""

    @pytest.mark.parametrize("torchs", [False, True], ids=["loader", "DataLoader"])
    def test_losses_equal_the_uncached_ones_step_by_step(self, tmp_path, torchs):
        data, model = TensorDataset(*make_rows()), make_model()
        plain = copy.deepcopy(model)
        reuse.freeze(plain, "body,norm")
        plain.train()
        uncached = losses_of(DataLoader(data, 32, shuffle=True), plain, plain.head.parameters())
        features = reuse.cached(model, data, freeze="body,norm", cache_dir=tmp_path)
        features.head.train()
        batches = DataLoader(features, 32, shuffle=True) if torchs else features.loader(32, shuffle=True)
        cached = losses_of(batches, features.head, [p for p in features.head.parameters() if p.requires_grad])
        assert cached == pytest.approx(uncached, abs=1e-12, rel=0)
        torch.testing.assert_close(model.state_dict(), plain.state_dict(), rtol=0, atol=1e-12)

    @pytest.mark.parametrize("seeded", [False, True], ids=["global", "generator"])
    @pytest.mark.parametrize("settings", [{"shuffle": True}, {"drop_last": True}, {"shuffle": True, "drop_last": True}])
    def test_batches_are_those_of_torchs_loader(self, tmp_path, settings, seeded):
        features = reuse.cached(make_model(), TensorDataset(*make_rows()), freeze="!head", cache_dir=tmp_path)
        epochs = []
        for make in (features.loader, lambda *args, **settings: DataLoader(features, *args, **settings)):
            torch.manual_seed(3)
            drawn = {"generator": torch.Generator().manual_seed(4)} if seeded else {}
            loader = make(32, **settings, **drawn)
            epochs.append([batch for _ in range(3) for batch in loader] + [torch.rand(1)])
            assert len(loader) == (4 if settings.get("drop_last") else 5)
        ours, torchs = epochs
        assert torch.equal(ours.pop(), torchs.pop())  # as many random numbers were drawn
        for (z, y), (other, same) in zip(ours, torchs, strict=True):
            assert torch.equal(z, other)
            assert torch.equal(y, same)

    def test_each_sample_is_read_once_and_none_computed_twice(self, tmp_path):
        x, y = make_rows()
        first = Counting(x, y)
        features = reuse.cached(make_model(), first, freeze="!head", cache_dir=tmp_path)
        assert (features.computed, features.found) == (ROWS, 0)
        assert max(first.reads[8:]) == 1  # the first ones are read again, to see whether they are the same
        for _ in features.loader(32):
            pass
        assert max(first.reads[8:]) == 1
        again = reuse.cached(make_model(), Counting(x, y), freeze="!head", cache_dir=tmp_path)
        assert (again.computed, again.found) == (0, ROWS)

    def test_only_a_row_that_is_new_or_changed_is_computed(self, tmp_path):
        x, y = make_rows()
        reuse.cached(make_model(), TensorDataset(x, y), freeze="!head", cache_dir=tmp_path)
        more = torch.cat([x.flip(0), make_rows(1, seed=2)[0]])
        more[3, 0] += 1e-9
        features = reuse.cached(make_model(), TensorDataset(more), freeze="!head", cache_dir=tmp_path)
        assert (features.computed, features.found) == (2, ROWS - 1)

    def test_another_weight_buffer_or_mode_is_another_key(self, tmp_path):
        data = TensorDataset(*make_rows())
        reuse.cached(make_model(), data, freeze="!head", cache_dir=tmp_path)
        for change in (
            lambda model: model.body.weight.data[0].add_(1e-9),
            lambda model: model.norm.running_var.add_(1e-9),
            lambda model: setattr(model.norm, "eps", 1e-4),
            lambda model: model.body.register_forward_hook(lambda _module, _inputs, output: output + 1),
        ):
            model = make_model()
            change(model)
            assert reuse.cached(model, data, freeze="!head", cache_dir=tmp_path).computed == ROWS

    @pytest.mark.parametrize(
        ("change", "name"),
        [
            (lambda model: model.body.weight.requires_grad_(False).mul_(2), "body.weight"),
            (lambda model: model.norm.running_var.add_(1), "norm.running_var"),
            (lambda model: setattr(model.body.weight, "data", model.body.weight.data + 1), "body.weight"),
            (lambda model: model.load_state_dict(raised(model, "norm.bias")), "norm.bias"),
            (lambda model: model.load_state_dict(raised(model, "body.bias"), assign=True), "body.bias"),
            (lambda model: setattr(model, "body", nn.Linear(6, 8).double().requires_grad_(False)), "body.weight"),
            (lambda model: setattr(model.norm, "running_mean", model.norm.running_mean + 1), "norm.running_mean"),
        ],
    )
    def test_frozen_weights_that_change_later_serve_no_features(self, change, name, tmp_path):
        model, (x, y) = make_model(), make_rows()
        features = reuse.cached(model, TensorDataset(x, y), freeze="body,norm", cache_dir=tmp_path)
        before = {key: value.clone() for key, value in model.state_dict().items()}
        change(model)
        with pytest.raises(UsageError, match=rf"^{name} was frozen and has changed .*refresh\(\)"):
            next(iter(features.loader(ROWS)))
        with pytest.raises(UsageError, match="has changed"):
            features[0]
        model.load_state_dict(before)
        model.eval()
        z, _ = next(iter(features.loader(ROWS)))  # they are back
        torch.testing.assert_close(features.head(z), model(x), rtol=0, atol=1e-12)
        change(model)
        features.refresh()
        z, _ = next(iter(features.loader(ROWS)))
        torch.testing.assert_close(features.head(z), model.eval()(x), rtol=0, atol=1e-12)

    def test_frozen_weights_written_over_with_the_same_numbers_are_no_others(self, tmp_path):
        model, (x, y) = make_model(), make_rows()
        features = reuse.cached(model, TensorDataset(x, y), freeze="body,norm", cache_dir=tmp_path)
        model.load_state_dict({name: value.clone() for name, value in model.state_dict().items()})
        model.body.register_forward_hook(lambda *_: None)
        for context in ("fork", "spawn"):
            workers = DataLoader(features, ROWS, num_workers=1, multiprocessing_context=context)
            z, _ = next(iter(workers))
            assert torch.equal(z, next(iter(features.loader(ROWS)))[0])

    def test_the_modes_of_the_model_stay(self, tmp_path):
        model = make_model().eval()
        model.drop.train()
        reuse.cached(model, TensorDataset(*make_rows()), freeze="body", cache_dir=tmp_path)
        assert [name for name, module in model.named_modules() if module.training] == ["drop"]

    def test_refreshing_after_unfreezing_trains_more_layers(self, tmp_path):
        model, (x, y) = make_model(), make_rows()
        features = reuse.cached(model, TensorDataset(x, y), freeze="body,norm", cache_dir=tmp_path)
        reuse.unfreeze(model, "norm")
        features.refresh()
        model.eval()
        (z, targets) = next(iter(features.loader(ROWS)))
        torch.testing.assert_close(features.head(z), model(x), rtol=0, atol=1e-12)
        assert torch.equal(targets, y)
        assert {id(p) for p in model.norm.parameters()} <= {id(p) for p in features.head.parameters()}

    def test_where_nothing_is_frozen_any_more_inputs_are_read(self, tmp_path):
        model, (x, y) = make_model(), make_rows()
        features = reuse.cached(model, TensorDataset(x, y), freeze="body,norm", cache_dir=tmp_path)
        reuse.unfreeze(model)
        features.attach()
        features.refresh()
        model.eval()
        z, _ = next(iter(features.loader(ROWS)))
        assert torch.equal(z, x)
        for context in ("fork", "spawn"):
            workers = DataLoader(features, ROWS, num_workers=1, multiprocessing_context=context)
            assert torch.equal(next(iter(workers))[0], x)
        assert torch.equal(features.head(z), model(x))
        features.detach()
        assert torch.equal(features.head(z), model(x))
        reuse.freeze(model, "body")
        features.refresh()
        assert features[0][0].shape == (8,)

    def test_where_only_later_layers_are_frozen_inputs_are_read(self, tmp_path):
        model, (x, y) = make_model(), make_rows()
        features = reuse.cached(model, TensorDataset(x, y), freeze="body,norm", cache_dir=tmp_path)
        reuse.unfreeze(model, "body")
        features.refresh()
        model.train()
        model.drop.eval()
        z, _ = next(iter(features.loader(ROWS)))
        before = model.norm.running_mean.clone()
        assert torch.equal(z, x)
        assert torch.equal(features.head(z), model(x))
        assert torch.equal(model.norm.running_mean, before)
        with pytest.raises(reuse.CutError, match="no frozen layer comes before"):
            reuse.cached(model, TensorDataset(x, y), cache_dir=tmp_path)

    def test_keys_and_targets_spare_the_reading_of_samples(self, tmp_path):
        x, y = make_rows()
        data = Counting(x, y)
        data.targets = y.tolist()
        keys = [f"row {number}" for number in range(ROWS)]
        for few in (False, True):
            data.reads = [0] * ROWS
            features = reuse.cached(make_model(), data, freeze="!head", key=keys, cache_dir=tmp_path)
            assert (sum(map(bool, data.reads)) < 20) == few
            assert features.targets.tolist() == y.tolist()

    def test_damaged_rows_are_computed_again(self, tmp_path):
        model, data = make_model(), TensorDataset(*make_rows())
        expected = torch.stack([z for z, _ in reuse.cached(model, data, freeze="!head", cache_dir=tmp_path)])
        (path,) = tmp_path.glob("*/*.h5")
        content = bytearray(path.read_bytes())
        place = content.find(expected[20].numpy().tobytes())
        content[place] ^= 1
        path.write_bytes(content)
        found = reuse.cached(model, data, freeze="!head", cache_dir=tmp_path)
        assert torch.equal(torch.stack([z for z, _ in found]), expected)


class TestForms:
    """Whatever samples come as."""

    def test_a_stream_is_read_as_a_map_is(self, tmp_path):
        x, y = make_rows()
        model = make_model()
        mapped = reuse.cached(model, TensorDataset(x, y), freeze="!head", cache_dir=tmp_path)
        stream = Streamed([(row.numpy(), label.item()) for row, label in zip(x, y, strict=True)])
        streamed = reuse.cached(model, stream, cache_dir=tmp_path)
        assert streamed.computed == 0
        for (z, label), (other, same) in zip(mapped, streamed, strict=True):
            assert torch.equal(z, other)
            assert label == same

    def test_several_inputs_by_place_and_by_name(self, tmp_path):
        torch.manual_seed(0)
        model, (x, y) = TwoInputs(), make_rows()
        values, mask = x.float(), torch.ones(ROWS, 5)
        mask[:, 2] = 0
        expected = model(values, mask)
        by_name = [{"mask": m, "values": v, "label": t, "id": "a"} for v, m, t in zip(values, mask, y, strict=True)]
        for data in (TensorDataset(values, mask, y), by_name):
            features = reuse.cached(model, data, freeze="body", cache_dir=tmp_path)
            z, targets = next(iter(features.loader(ROWS)))
            torch.testing.assert_close(features.head(z), expected)
            assert torch.equal(targets, y)

    def test_targets_of_any_structure_are_those_of_torchs_loader(self, tmp_path):
        x, y = make_rows(10)
        samples = [
            (row, {"class": label, "name": f"n{n}", "box": (n, n + 1)})
            for n, (row, label) in enumerate(zip(x, y, strict=True))
        ]
        features = reuse.cached(make_model(), samples, freeze="!head", cache_dir=tmp_path)
        ours = [target for _, target in features.loader(4)]
        torchs = [target for _, target in DataLoader(features, 4)]
        plain = [target for _, target in DataLoader(samples, 4)]
        for one, other, third in zip(ours, torchs, plain, strict=True):
            assert str(one) == str(other) == str(third)

    def test_without_targets_a_sample_is_its_features(self, tmp_path):
        x, _ = make_rows(10)
        features = reuse.cached(make_model(), list(x), freeze="!head", cache_dir=tmp_path)
        assert features[0].shape == (8,)
        assert torch.equal(torch.cat(list(features.loader(4))), torch.stack(list(features)))

    def test_a_target_is_named(self, tmp_path):
        x, y = make_rows(10)
        features = reuse.cached(
            make_model(), list(zip(y, x, strict=True)), freeze="!head", target=0, cache_dir=tmp_path
        )
        assert [int(label) for _, label in features] == y.tolist()

    def test_data_sets_of_hugging_face(self, tmp_path):
        datasets = pytest.importorskip("datasets")
        x, y = make_rows(20)
        table = datasets.Dataset.from_dict({"input": x.float().numpy(), "label": y.numpy()}).with_format("torch")
        features = reuse.cached(make_model().float(), table, freeze="!head", cache_dir=tmp_path)
        assert [int(label) for _, label in features] == y.tolist()

    @pytest.mark.parametrize("context", ["fork", "spawn"])
    def test_workers_read_it(self, tmp_path, context):
        features = reuse.cached(make_model(), TensorDataset(*make_rows(20)), freeze="!head", cache_dir=tmp_path)
        batches = list(DataLoader(features, 8, num_workers=1, multiprocessing_context=context))
        assert torch.equal(torch.cat([z for z, _ in batches]), torch.stack([z for z, _ in features]))

    def test_a_pickle_holds_neither_model_nor_features(self, tmp_path):
        x, y = make_rows()
        features = reuse.cached(make_model(), TensorDataset(x, y), freeze="!head", cache_dir=tmp_path)
        pickled = pickle.dumps(features)
        assert features[5][0].numpy().tobytes() not in pickled
        assert torch.equal(pickle.loads(pickled)[5][0], features[5][0])


class Keyed(Counting):
    """Samples that say when they change."""

    def __init__(self, x, y, scale=1.0):
        super().__init__(x, y)
        self.targets, self.scale = y.tolist(), scale

    def reuse_keys(self):
        return [str(row.tolist()) for row in self.x]

    def __getitem__(self, index):
        x, y = super().__getitem__(index)
        return x * self.scale, y


class TestKeys:
    """Samples that are known without reading them."""

    def test_what_is_cached_is_not_read(self, tmp_path):
        x, y = make_rows()
        model = make_model()
        expected = list(reuse.cached(model, Keyed(x, y), freeze="!head", cache_dir=tmp_path))
        data = Keyed(torch.cat([x, make_rows(2, seed=5)[0]]), torch.cat([y, y[:2]]))
        features = reuse.cached(model, data, cache_dir=tmp_path)
        assert (features.computed, features.found) == (2, ROWS)
        assert sum(map(bool, data.reads)) <= 20
        for (z, label), (other, same) in zip(expected, features, strict=False):
            assert torch.equal(z, other)
            assert label == same

    def test_code_and_settings_of_the_dataset_count(self, tmp_path):
        class Shifted(Keyed):
            def __getitem__(self, index):
                x, y = super().__getitem__(index)
                return x + 1, y

        x, y = make_rows()
        for data in (Keyed(x, y), Keyed(x, y, scale=2.0), Shifted(x, y)):
            assert reuse.cached(make_model(), data, freeze="!head", cache_dir=tmp_path).computed == ROWS

    def test_keys_of_ones_own(self, tmp_path):
        x, y = make_rows(20)
        samples = list(zip(x, y, strict=True))
        reuse.cached(make_model(), samples, freeze="!head", key=range(20), cache_dir=tmp_path)
        features = reuse.cached(make_model(), samples[::-1], freeze="!head", key=lambda n: 19 - n, cache_dir=tmp_path)
        assert features.computed == 0
        assert [label.item() for _, label in features] == y.flip(0).tolist()

    def test_a_key_that_does_not_change_with_the_sample_is_found_out(self, tmp_path):
        x, y = make_rows(8)
        reuse.cached(make_model(), list(zip(x, y, strict=True)), freeze="!head", key=range(8), cache_dir=tmp_path)
        moved = list(zip(x + 1, y, strict=True))
        with pytest.warns(UserWarning, match="set aside for good"):
            features = reuse.cached(make_model(), moved, freeze="!head", key=range(8), cache_dir=tmp_path)
        model = make_model().eval()
        torch.testing.assert_close(model[:4](x + 1), torch.stack([z for z, _ in features]), rtol=0, atol=1e-12)

    def test_without_targets_what_is_cached_is_not_read_either(self, tmp_path):
        class Bare(Counting):
            def __getitem__(self, index):
                return super().__getitem__(index)[0]

        data = Bare(*make_rows())
        reuse.cached(make_model(), data, freeze="!head", key=range(ROWS), cache_dir=tmp_path)
        data.reads = [0] * ROWS
        features = reuse.cached(make_model(), data, freeze="!head", key=range(ROWS), cache_dir=tmp_path)
        assert features.computed == 0
        assert features.targets is None
        assert sum(map(bool, data.reads)) <= 9

    def test_wrong_keys(self, tmp_path):
        samples = list(make_rows(4)[0])
        for keys, words in (([1, 2], "2 keys for 4 samples"), ([1.5] * 4, "of type float")):
            with pytest.raises(UsageError, match=words):
                reuse.cached(make_model(), samples, freeze="!head", key=keys, cache_dir=tmp_path)

    def test_image_folders_are_known_by_their_files(self, tmp_path, monkeypatch):
        folder, v2 = pytest.importorskip("torchvision.datasets"), pytest.importorskip("torchvision.transforms.v2")
        drawn = np.random.default_rng(0)
        for number in range(30):
            path = tmp_path / "photos" / "ab"[number % 2] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(drawn.integers(0, 256, (8, 8, 3), np.uint8)).save(path)
        torch.manual_seed(0)
        layers = {"body": nn.Conv2d(3, 4, 3), "pool": nn.AdaptiveAvgPool2d(1), "flat": nn.Flatten()}
        model = nn.Sequential(OrderedDict(**layers, head=nn.Linear(4, 2)))

        def cached(size=8, root=tmp_path / "photos"):
            steps = [v2.ToImage(), v2.Resize(size), v2.ToDtype(torch.float32, scale=True)]
            data = folder.ImageFolder(root, v2.Compose(steps))
            reads.clear()
            return reuse.cached(model, data, freeze="body", cache_dir=tmp_path / "cache")

        reads = []

        def counted(file):
            reads.append(file.name)
            return opened(file)

        opened = Image.open
        monkeypatch.setattr(Image, "open", counted)

        assert cached().computed == 30
        assert cached().computed == 0
        assert len(set(reads)) <= 9  # a few are compared
        assert cached(size=6).computed == 30
        shutil.copytree(tmp_path / "photos", tmp_path / "moved")
        Image.fromarray(drawn.integers(0, 256, (8, 8, 3), np.uint8)).save(tmp_path / "moved" / "a" / "0.png")
        assert cached(root=tmp_path / "moved").computed == 1
        features = cached(root=tmp_path / "moved")
        assert [label for _, label in features] == [0] * 15 + [1] * 15


class TestAugmentation:
    """Samples that are changed at random."""

    def test_it_is_refused_with_the_way_out(self, tmp_path):
        with pytest.raises(DataError, match=r"sample 0 is another when it is read a second time.*views=5"):
            reuse.cached(make_model(), Noisy(make_rows()[0]), freeze="!head", cache_dir=tmp_path)

    def test_views_are_kept_and_read_in_turn(self, tmp_path):
        x, _ = make_rows(20)
        model, state = make_model(), torch.get_rng_state()
        features = reuse.cached(model, Noisy(x), freeze="!head", views=3, cache_dir=tmp_path)
        assert torch.equal(torch.get_rng_state(), state)
        assert features.computed == 60
        loader = features.loader(20)
        epochs = [next(iter(loader))[0] for _ in range(4)]
        assert torch.equal(epochs[0], epochs[3])
        assert not torch.equal(epochs[0], epochs[1])
        assert not torch.equal(epochs[1], epochs[2])
        features.set_epoch(1)
        assert torch.equal(torch.stack([z for z, _ in features]), epochs[1])
        assert reuse.cached(make_model(), Noisy(x), freeze="!head", views=3, cache_dir=tmp_path).computed == 0

    @pytest.mark.filterwarnings("ignore:This DataLoader will create")  # more workers than this machine has cores
    def test_workers_draw_the_same(self, tmp_path):
        x, _ = make_rows(20)
        reuse.cached(make_model(), Noisy(x), freeze="!head", views=2, cache_dir=tmp_path)
        again = reuse.cached(make_model(), Noisy(x), freeze="!head", views=2, cache_dir=tmp_path, workers=2)
        assert again.computed == 0


class TestRefusals:
    """One line that says what to do."""

    def test_what_cannot_be_taken(self, tmp_path):
        x, y = make_rows(10)
        data = TensorDataset(x, y)
        ragged = [(torch.zeros(6).double(), 0), (torch.zeros(5).double(), 0)]
        cases = [
            (object(), data, {}, UsageError, "give a torch.nn.Module"),
            (make_model(), 3, {}, UsageError, "give a torch Dataset"),
            (make_model(), iter([x[0]]), {}, UsageError, "can be read only once"),
            (make_model(), [], {}, DataError, "no samples"),
            (make_model(), ragged, {}, DataError, "differ in shape"),
            (make_model(), [("a text", 1)], {}, DataError, "let the dataset's transform make a tensor"),
            (make_model().half(), data, {}, UsageError, "float16.*model.float"),
            (make_model(), data, {"views": 0}, UsageError, "views is 0"),
            (make_model(), Streamed([(x[0], 0)]), {"views": 2}, UsageError, "read by number"),
            (make_model(), data, {"target": 5}, UsageError, "target is 5.*give 0 to 1"),
            (make_model(), [{"z": x[0]}], {}, UsageError, "samples have 'z', and .* forward takes 'input': name"),
            (
                TwoInputs(),
                [{"values": x[0], "y": 1}],
                {},
                UsageError,
                "takes 'values', 'mask', of which they lack 'mask'",
            ),
            (make_model(), DataLoader(data), {}, UsageError, "which gives batches: give its Dataset"),
            (make_model(), {"input": x, "y": y}, {}, UsageError, "a dictionary of 'input', 'y': .*TensorDataset"),
            (make_model(), (x, y), {}, UsageError, "2 arrays side by side: .*TensorDataset"),
            (make_model(), pd.DataFrame(x.numpy()), {}, UsageError, "is a data frame: .*TensorDataset"),
            (make_model(), lambda: iter([x[0]]), {}, UsageError, "of type function: .* what it returns"),
            (make_model(), [({"input": x[0]}, 1)], {}, DataError, "one dictionary of the inputs and the target"),
            (make_model(), [{"input": [0.5] * 6}], {}, DataError, "type list: .*with_format"),
            (make_model(), [(x[0].float(), 1)], {}, reuse.CutError, r"given \(2, 6\) float32"),
            (make_model(), data, {"workers": -1}, UsageError, "workers is -1"),
            (make_model(), data, {"workers": "2"}, UsageError, "workers is '2'"),
            (make_model(), data, {"views": True}, UsageError, "views is True"),
            (make_model(), data, {"views": "2"}, UsageError, "views is '2'"),
            (make_model(), data, {"cache_budget": "2 loaves"}, UsageError, "no number of bytes"),
            (make_model(), data, {"freeze": "nothing"}, reuse.UnknownNameError, "nothing"),
            (make_model(), data, {"freeze": None}, reuse.CutError, "freeze some layers"),
        ]
        for model, dataset, settings, error, words in cases:
            with pytest.raises(error, match=words):
                reuse.cached(model, dataset, **{"freeze": "!head", "cache_dir": tmp_path, **settings})

    def test_a_part_of_the_samples_that_nobody_takes_is_spoken_of_where_it_may_be_meant(self, tmp_path):
        x, y = make_rows(10)

        class Shifted(nn.Module):
            def __init__(self):
                super().__init__()
                self.body, self.head = nn.Linear(6, 5).double(), nn.Linear(5, 3).double()

            def forward(self, values, shift=None):
                return self.head(self.body(values).relu())

        def cached(**names):
            samples = [{name: part[row] for name, part in names.items()} for row in range(10)]
            return reuse.cached(Shifted(), samples, freeze="!head", cache_dir=tmp_path)

        with pytest.warns(UserWarning, match="'shifts' of the samples is left out: forward takes 'shift'"):
            cached(values=x, shifts=x, y=y)
        with pytest.warns(UserWarning, match="no target was found, .*not take .*'kind'.*: if one of these .*target="):
            cached(values=x, kind=y)
        assert cached(values=x, number=y, y=y).targets is not None  # a number of the row is taken by nobody

    def test_batches_are_of_one_row_or_more(self, tmp_path):
        features = reuse.cached(make_model(), TensorDataset(*make_rows(10)), freeze="!head", cache_dir=tmp_path)
        for size in (0, None, "8", True):
            with pytest.raises(UsageError, match=r"batch size is .*: give a whole number"):
                features.loader(batch_size=size)
        assert len(list(features.loader(batch_size=np.int64(4)))) == 3

    def test_features_that_are_set_aside_are_said_and_computed_in_memory(self, tmp_path):
        data = TensorDataset(*make_rows())
        features = reuse.cached(make_model(), data, freeze="!head", cache_dir=tmp_path)
        expected = torch.stack([z for z, _ in features])
        features._store.quarantine("it was tried")
        with pytest.warns(UserWarning, match="set aside"):
            again = reuse.cached(make_model(), data, freeze="!head", cache_dir=tmp_path)
        assert torch.equal(torch.stack([z for z, _ in again]), expected)
        assert again.computed == ROWS


class Lengths(nn.Module):
    """A recurrent layer over sequences of unequal lengths, a number for each row."""

    def __init__(self):
        super().__init__()
        self.recurrent, self.head = nn.GRU(4, 6, batch_first=True).double(), nn.Linear(6, 3).double()

    def forward(self, x, lengths):
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return self.head(self.recurrent(packed)[1][-1])


def test_a_whole_number_a_row_is_an_input_too(tmp_path):
    torch.manual_seed(0)
    x, lengths, y = torch.randn(9, 5, 4).double(), torch.randint(1, 6, (9,)), torch.arange(9) % 3
    model, data = Lengths(), TensorDataset(x, lengths, y)
    for computed in (9, 0):
        features = reuse.cached(model, data, freeze="!head", cache_dir=tmp_path)
        assert features.computed == computed
        with torch.no_grad():
            heads = torch.cat([features.head(z) for z, _ in features.loader(batch_size=4)])
            torch.testing.assert_close(heads, model(x, lengths))


class Mean(nn.Module):
    """The mean over the steps of a sequence."""

    def forward(self, x):
        return x.mean(1)


def test_rows_of_another_length_have_a_cache_of_their_own(tmp_path):
    """A prefix that pools over a sequence looks the same for any length, and was cut for one of them."""
    torch.manual_seed(0)
    for length in (5, 7, 5, 7):
        model = nn.Sequential(OrderedDict(body=nn.Embedding(9, 4), pool=Mean(), head=nn.Linear(4, 2)))
        torch.nn.init.ones_(model.body.weight)
        samples = [(torch.arange(length) + number % 3, number % 2) for number in range(12)]
        features = reuse.cached(model, samples, freeze="body", cache_dir=tmp_path)
        assert features[0][0].shape == (4,)
    assert features.found == 12
    assert not list(tmp_path.rglob("quarantine.json"))


def test_features_say_what_they_are(tmp_path):
    model = nn.Sequential(OrderedDict(low=nn.Linear(3, 2), head=nn.Linear(2, 2)))
    features = reuse.cached(model, TensorDataset(torch.randn(5, 3), torch.arange(5)), freeze="low", cache_dir=tmp_path)
    assert repr(features) == "CachedFeatures(Sequential, 5 samples, low (2,) float32; 5 computed, 0 found)"
    assert repr(pickle.loads(pickle.dumps(features))) == "CachedFeatures(5 samples, read by a worker)"
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    features.refresh()
    assert repr(features) == "CachedFeatures(5 samples, inputs: nothing to cache is frozen)"
