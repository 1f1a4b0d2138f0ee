"""Many heads together equal each head alone: by the trainer, and by torch's optimizers on its rows of each batch."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from reuse.data.rows import Batch, Resident
from reuse.errors import UsageError
from reuse.heads.head import Head
from reuse.heads.many_heads import ManyHeads
from reuse.heads.stacked_networks import StackedNetwork
from reuse.layers.cutting import cut
from reuse.layers.freezing import freeze
from reuse.nn.building import build
from reuse.objectives.autoencoder import Reconstruction
from reuse.objectives.supervised import Classification, MultiLabel, Regression
from reuse.optim.groups import OptimizerSettings
from reuse.optim.optimization import Optimization
from reuse.optim.optimizers import build_optimizer
from reuse.optim.schedules import choose_schedule
from reuse.training.batches import batch_sizes, row_order
from reuse.training.settings import LoopSettings
from reuse.training.state import live_tensors
from reuse.training.trainer import Trainer

ROWS, FEATURES, CLASSES, EPOCHS, BATCH = 45, 6, 3, 3, 8
TOLERANCES = {torch.float32: 1e-5, torch.float64: 1e-10}

NETWORKS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "linear": (lambda: nn.Linear(FEATURES, CLASSES), "one product"),
    "without bias": (lambda: nn.Sequential(nn.Tanh(), nn.Linear(FEATURES, CLASSES, bias=False)), "one product"),
    "two layers": (
        lambda: nn.Sequential(nn.Linear(FEATURES, 5), nn.ELU(), nn.Linear(5, CLASSES)),
        "products",
    ),
    "layer norm": (lambda: nn.Sequential(nn.LayerNorm(FEATURES), nn.Linear(FEATURES, CLASSES)), "vmap"),
    "batch norm": (
        lambda: nn.Sequential(nn.Linear(FEATURES, 5, bias=False), nn.BatchNorm1d(5), nn.Linear(5, CLASSES)),
        "vmap",
    ),
}


def way_of(network: nn.Module) -> str:
    stacked = StackedNetwork(network)
    return "one product" if stacked.is_one_product else "products" if stacked.layers else "vmap"


def some_rows(dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(ROWS, FEATURES, dtype=dtype), torch.randint(CLASSES, (ROWS,))


def fresh(make: Callable[[], nn.Module], seed: int, dtype: torch.dtype) -> nn.Module:
    torch.manual_seed(seed)
    return make().to(dtype)


def tensors_of(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in live_tensors(network).items()}


def largest_difference(some: dict[str, Tensor], others: dict[str, Tensor]) -> float:
    assert some.keys() == others.keys()
    return max((tensor.double() - others[name].double()).abs().max().item() for name, tensor in some.items())


def by_trainer(network: nn.Module, head: Head, rows: Tensor, labels: Tensor) -> dict[str, Tensor]:
    trainer = Trainer(
        network,
        Classification(CLASSES),
        optimization=Optimization(head.optimizer, schedule=head.schedule, warmup=head.warmup),
        loop=LoopSettings(batch_size=BATCH, seed=3, precision="float64" if rows.dtype == torch.float64 else "float32"),
    )
    for _ in trainer.epochs(Resident(rows), labels, epochs=EPOCHS):
        pass
    return tensors_of(network)


def on_own_rows(network: nn.Module, head: Head, rows: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Train by hand on a head's rows of each batch, leaving out batches that hold none."""
    sizes = batch_sizes(ROWS, BATCH)
    optimizer = build_optimizer(head.optimizer, list(network.named_parameters()))
    schedule = choose_schedule(head.schedule, steps_per_epoch=len(sizes), epochs=EPOCHS, warmup_epochs=head.warmup)
    full, step, left_out = [group["lr"] for group in optimizer.param_groups], 0, 0
    for epoch in range(1, EPOCHS + 1):
        for batch in row_order(ROWS, seed=3, epoch=epoch, shuffle=True, device=rows.device).split(sizes):
            for group, rate in zip(optimizer.param_groups, full, strict=True):
                group["lr"] = rate * (1.0 if schedule is None else schedule.multiplier(step, len(sizes) * EPOCHS))
            step += 1
            own = batch if head.rows is None else batch[head.rows[batch]]
            if not len(own):
                left_out += 1
                continue
            optimizer.zero_grad()
            functional.cross_entropy(network(rows[own]), labels[own]).backward()
            optimizer.step()
    assert head.rows is None or head.rows.sum() > ROWS / 2 or left_out > 0
    return tensors_of(network)


@pytest.mark.parametrize(
    ("optimizer", "name", "dtype"),
    [
        (optimizer, name, dtype)
        for optimizer in ("sgd", "momentum", "nesterov", "adam", "adamw")
        for name in NETWORKS
        for dtype in (torch.float32, torch.float64)
        if NETWORKS[name][1] != "vmap" or (optimizer in ("nesterov", "adamw") and dtype == torch.float64)
    ],
)
def test_equal_to_the_trainer_with_each_head_alone(optimizer: str, name: str, dtype: torch.dtype) -> None:
    make, way = NETWORKS[name]
    rows, labels = some_rows(dtype)
    heads = [
        Head(
            tensors_of(fresh(make, seed, dtype)),
            OptimizerSettings(optimizer, rate, None, decay, decay_all=seed == 1),
            schedule,
            warmup,
        )
        for seed, rate, decay, schedule, warmup in [
            (0, 0.1, 0.0, "constant", 0.0),
            (1, 0.01, 0.1, "cosine", 0.0),
            (2, 0.003, 0.01, "halve", 1.0),
        ]
    ]
    network = fresh(make, 9, dtype)
    many = ManyHeads(network, Classification(CLASSES), heads, batch_size=BATCH, seed=3)
    assert way_of(network) == way
    assert list(many.epochs(Resident(rows), labels, epochs=EPOCHS)) == [1, 2, 3]
    for number, head in enumerate(heads):
        alone = by_trainer(fresh(make, number, dtype), head, rows, labels)
        assert largest_difference(many.weights(number), alone) < TOLERANCES[dtype]
        assert largest_difference(head.weights, alone) > 0.001


@pytest.mark.parametrize("name", ["linear", "two layers", "layer norm"])
def test_many_optimizers_seeds_and_rows_at_once(name: str) -> None:
    make, _ = NETWORKS[name]
    rows, labels = some_rows(torch.float64)
    masks = [None, torch.arange(ROWS) % 3 > 0, torch.arange(ROWS) < 4]
    optimizers = [
        OptimizerSettings("sgd", 0.1, None, 0.01),
        OptimizerSettings("sgd", 0.1, 0.5),
        OptimizerSettings("momentum", 0.05, 0.8, 0.02),
        OptimizerSettings("nesterov", 0.05),
        OptimizerSettings("adam:betas=0.8/0.99", 0.01, None, 0.05),
        OptimizerSettings("adamw", 0.01, None, 0.5),
        OptimizerSettings("adagrad", 0.1),
        OptimizerSettings("adadelta", 1.0, None, 0.01),
        OptimizerSettings("rmsprop:alpha=0.9", 0.01, 0.9, 0.01),
        OptimizerSettings("adamax", 0.01),
        OptimizerSettings("nadam:decoupled_weight_decay=true", 0.01, None, 0.1),
        OptimizerSettings("radam", 0.01, None, 0.1),
        OptimizerSettings("adam:amsgrad=true", 0.01, None, 0.1),
    ]
    heads = [
        Head(tensors_of(fresh(make, seed, torch.float64)), settings, "cosine" if seed else "constant", 0.0, mask)
        for seed, mask in enumerate(masks)
        for settings in optimizers
    ]
    many = ManyHeads(fresh(make, 9, torch.float64), Classification(CLASSES), heads, batch_size=BATCH, seed=3)
    list(many.epochs(Resident(rows), labels, epochs=EPOCHS))
    for number, head in enumerate(heads):
        network = fresh(make, number // len(optimizers), torch.float64)
        alone = on_own_rows(network, head, rows, labels)
        assert largest_difference(many.weights(number), alone) < 1e-10, head.optimizer.name


def test_rates_of_layers_count() -> None:
    make, _ = NETWORKS["two layers"]
    rows, labels = some_rows(torch.float64)
    settings = OptimizerSettings("adamw", 0.01, None, 0.3, rates={"0.weight": 0.1, "2.bias": 3.0})
    heads = [Head(tensors_of(fresh(make, 0, torch.float64)), one) for one in (settings, OptimizerSettings("adamw"))]
    many = ManyHeads(fresh(make, 9, torch.float64), Classification(CLASSES), heads, batch_size=BATCH, seed=3)
    list(many.epochs(Resident(rows), labels, epochs=EPOCHS))
    for number, head in enumerate(heads):
        alone = by_trainer(fresh(make, 0, torch.float64), head, rows, labels)
        assert largest_difference(many.weights(number), alone) < 1e-10


def test_the_suffix_of_a_cut_is_a_chain_and_equals_the_trainer() -> None:
    def make() -> nn.Module:
        model = build("mlp:8,5", (FEATURES,), CLASSES, activation="elu").double()
        freeze(model, "hidden1")
        return model

    rows, labels = some_rows(torch.float64)
    torch.manual_seed(0)
    model = make()
    start = tensors_of(model)
    parts = cut(model, rows[:4])
    assert way_of(parts.suffix) == "products"
    heads = [Head(start, OptimizerSettings("adam", rate)) for rate in (0.1, 0.01)]
    with torch.no_grad():
        features = parts.prefix(rows)
    many = ManyHeads(parts.suffix, Classification(CLASSES), heads, batch_size=BATCH, seed=3)
    list(many.epochs(Resident(*features), labels, epochs=EPOCHS))
    assert largest_difference(start, tensors_of(model)) == 0  # the model's own weights stay
    for number, head in enumerate(heads):
        model.load_state_dict(start, strict=False)
        assert largest_difference(many.weights(number), by_trainer(model, head, rows, labels)) < 1e-10


def test_heads_drop_numbers_of_their_own() -> None:
    network = nn.Sequential(nn.Linear(FEATURES, 50), nn.Dropout(0.5), nn.Linear(50, CLASSES))
    first = nn.Sequential(nn.Dropout(0.5), nn.Linear(FEATURES, CLASSES))
    for one in (network, first):
        start = tensors_of(one)
        rows, labels = some_rows(torch.float32)
        heads = [Head(start, OptimizerSettings("sgd", 0.1))] * 2
        many = ManyHeads(one, Classification(CLASSES), heads, batch_size=BATCH)
        ((_, outputs),) = many.outputs(Resident(rows))
        torch.testing.assert_close(outputs[0], outputs[1])  # nothing is dropped when measuring
        one.eval()
        torch.testing.assert_close(outputs[0], one(rows).detach())
        list(many.epochs(Resident(rows), labels, epochs=1))
        assert largest_difference(many.weights(0), many.weights(1)) > 1e-4


@pytest.mark.parametrize(
    ("objective", "targets"),
    [
        (Classification(3, 0.1, (1.0, 2.0, 0.5)), torch.tensor([0, 2, 1, 1, 0, 2, 2])),
        (Classification(3), torch.tensor([0, 2, 1, 1, 0, 2, 2])),
        (MultiLabel((3.0, 0.5, 1.0)), torch.eye(3)[[0, 2, 1, 1, 0, 2, 2]]),
        (Regression(), torch.linspace(-1, 1, 21).view(7, 3)),
    ],
)
def test_gradients_are_those_of_the_objective(objective: Classification, targets: Tensor) -> None:
    torch.manual_seed(0)
    rows, network = torch.randn(7, FEATURES), nn.Linear(FEATURES, 3)
    weights, settings = tensors_of(network), OptimizerSettings("sgd", 0.5)
    mask = torch.tensor([True, True, False, True, False, True, True])
    many = ManyHeads(network, objective, [Head(weights, settings), Head(weights, settings, rows=mask)], batch_size=7)
    list(many.epochs(Resident(rows), targets, epochs=1))
    for number, own in enumerate((slice(None), mask)):
        network.load_state_dict(weights)
        network.zero_grad()
        objective.losses(network, Batch((rows[own],), targets[own]))["loss"].backward()
        expected = {name: weights[name] - 0.5 * p.grad for name, p in network.named_parameters()}
        assert largest_difference(many.weights(number), expected) < 1e-6


def test_measures_each_head_on_its_own_rows() -> None:
    rows, labels = some_rows(torch.float64)
    networks = [fresh(NETWORKS["linear"][0], seed, torch.float64) for seed in range(3)]
    heads = [Head(tensors_of(network), OptimizerSettings(("adam", "sgd")[n % 2])) for n, network in enumerate(networks)]
    many = ManyHeads(networks[0], Classification(CLASSES, 0.3), heads)
    chosen = torch.stack([torch.arange(ROWS) % 4 == number for number in range(3)])
    chosen[2] = False
    losses, accuracies = many.measure(Resident(rows), labels, chosen)
    for number in range(2):
        outputs, own = networks[number](rows[chosen[number]]), labels[chosen[number]]
        assert losses[number].item() == pytest.approx(functional.cross_entropy(outputs, own).item(), abs=1e-12)
        assert accuracies[number].item() == pytest.approx((outputs.argmax(1) == own).double().mean().item())
    assert losses[2].isnan()
    everything = many.measure(Resident(rows), labels)[0]
    assert everything[2].item() == pytest.approx(functional.cross_entropy(networks[2](rows), labels).item(), abs=1e-12)


def test_schedules_follow_the_loss_of_their_own_head() -> None:
    rows, labels = some_rows(torch.float32)
    network = nn.Linear(FEATURES, CLASSES)
    heads = [Head(tensors_of(network), OptimizerSettings("sgd", 0.1), "performance:0.5,1") for _ in range(2)]
    many = ManyHeads(network, Classification(CLASSES), heads, batch_size=BATCH)
    for number in many.epochs(Resident(rows), labels, epochs=3):
        many.observe([1.0 / number, 1.0])  # the second one's never falls
    assert many._rates is not None
    first, second = many._rates.of_epoch(4)[0].tolist()
    assert first == pytest.approx(0.1)
    assert second < 0.1


def test_refuses_what_cannot_be_trained_together() -> None:
    network = NETWORKS["batch norm"][0]()
    weights = tensors_of(network)
    own = torch.arange(ROWS) < 9
    with pytest.raises(UsageError, match="takes statistics over the rows"):
        ManyHeads(network, Classification(CLASSES), [Head(weights, rows=own)])
    linear = nn.Linear(FEATURES, CLASSES)
    weights = tensors_of(linear)
    for name in ("lamb", "lbfgs", "muon", "asgd", "lookahead_adam"):
        with pytest.raises(UsageError, match="cannot step for many heads"):
            ManyHeads(linear, Classification(CLASSES), [Head(weights, OptimizerSettings(name))])
    with pytest.raises(UsageError, match="loss of one row"):
        ManyHeads(linear, Reconstruction(), [Head(weights)])
    with pytest.raises(UsageError, match="no head"):
        ManyHeads(linear, Classification(CLASSES), [])
    with pytest.raises(UsageError, match="nothing to learn"):
        ManyHeads(linear, Classification(CLASSES), [Head(weights, rows=torch.zeros(ROWS, dtype=torch.bool))])
    with pytest.raises(UsageError, match="needs weights for"):
        ManyHeads(linear, Classification(CLASSES), [Head({"weight": weights["weight"]})])
    many = ManyHeads(linear, Classification(CLASSES), [Head(weights, schedule="1cycle")])
    rows, labels = some_rows(torch.float32)
    with pytest.raises(UsageError, match="moves the momentum"):
        next(many.epochs(Resident(rows), labels, epochs=2))


def test_a_head_that_diverges_leaves_the_others_alone() -> None:
    rows, labels = some_rows(torch.float32)
    network = nn.Linear(FEATURES, CLASSES)
    start = tensors_of(network)
    wild, tame = Head(start, OptimizerSettings("sgd", 10.0, None, 100.0)), Head(start, OptimizerSettings("sgd", 0.1))
    both = ManyHeads(network, Classification(CLASSES), [wild, tame], batch_size=BATCH, seed=3)
    list(both.epochs(Resident(rows), labels, epochs=EPOCHS))
    assert not torch.stack([t.isfinite().all() for t in both.weights(0).values()]).all()
    assert largest_difference(both.weights(1), by_trainer(network, tame, rows, labels)) < 1e-5
