import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.models import adapt_input_conv
from torch import Tensor, nn

from reuse.errors import UnknownNameError, UsageError
from reuse.layers.transplanting import adapt_input_channels, transplant, whole_layers
from reuse.nn.building import build


def deep(num_outputs: int = 3, last: int = 4, norm: str | None = None) -> nn.Module:
    return build(f"mlp:6,5,5,{last}", (7,), num_outputs, norm=norm)


def copy_of(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in state.items()}


def changed(before: dict[str, Tensor], model: nn.Module) -> set[str]:
    return {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}


def test_the_same_model_becomes_the_source_with_its_buffers() -> None:
    source, model = deep(norm="batch"), deep(norm="batch")
    source(torch.randn(20, 7))
    report = transplant(source.state_dict(), model)
    x = torch.randn(5, 7)
    assert torch.equal(model.eval()(x), source.eval()(x))
    assert report.restored == ("hidden1", "hidden2", "hidden3", "hidden4", "output")
    assert (report.fresh, report.left_behind, report.adapted, report.misfits) == ((), (), (), ())


def test_everything_that_fits_is_restored_and_the_rest_is_named_with_both_shapes() -> None:
    source, model = deep(3), deep(8)
    before = copy_of(model.state_dict())
    report = transplant(source.state_dict(), model)
    assert report.fresh == ("output",)
    assert report.left_behind == ("output.weight", "output.bias")
    assert "output.weight is (3, 4) in the source and (8, 4) in the model" in report.misfits
    assert not any(name.startswith("output") for name in changed(before, model))


def test_a_bias_without_its_weight_stays_fresh() -> None:
    source, model = deep(3, last=4), deep(3, last=2)
    report = transplant(source.state_dict(), model)
    assert report.fresh == ("hidden4", "output")
    assert "output.bias" in report.left_behind


@pytest.mark.parametrize(
    "pattern", ["hidden1,hidden2,hidden3", ":hidden3", "re:hidden[123]", "hidden[123]", "!hidden4,!output"]
)
def test_patterns_choose_what_is_restored(pattern: str) -> None:
    source, model = deep(3, last=4), deep(3, last=2)
    before = copy_of(model.state_dict())
    report = transplant(source.state_dict(), model, restore=[pattern])
    assert report.restored == ("hidden1", "hidden2", "hidden3")
    assert report.fresh == ("hidden4", "output")
    assert changed(before, model) <= {f"hidden{k}.linear.{part}" for k in (1, 2, 3) for part in ("weight", "bias")}
    for k in (1, 2, 3):
        assert torch.equal(
            model.get_parameter(f"hidden{k}.linear.weight"), source.get_parameter(f"hidden{k}.linear.weight")
        )


@given(st.sets(st.sampled_from(["hidden1", "hidden2", "hidden3", "hidden4", "output"]), min_size=1))
@settings(max_examples=20, deadline=None)
def test_nothing_is_lost_whatever_is_chosen(chosen: set[str]) -> None:
    source, model = deep(), deep()
    state = copy_of(source.state_dict())
    report = transplant(state, model, restore=sorted(chosen))
    used = set(state) - set(report.left_behind)
    assert used == {name for name in state if name.split(".")[0] in chosen}
    assert set(report.restored) == chosen
    assert set(report.restored) | set(report.fresh) == {"hidden1", "hidden2", "hidden3", "hidden4", "output"}
    assert all(torch.equal(model.state_dict()[name], state[name]) for name in used)


def test_asking_for_a_tensor_of_another_shape_is_an_error_and_changes_nothing() -> None:
    model = deep(8)
    before = copy_of(model.state_dict())
    with pytest.raises(UsageError, match=r"output\.weight is \(3, 4\) in the source and \(8, 4\) in the model"):
        transplant(deep(3).state_dict(), model, restore=["hidden1", "output"])
    assert not changed(before, model)


def test_a_pattern_that_matches_nothing_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="hidden1"):
        transplant(deep().state_dict(), deep(), restore=["hiden1"])


def test_a_pattern_that_restores_nothing_says_so() -> None:
    small = build("mlp:6", (7,), 3)
    with pytest.raises(UsageError, match=r"'hidden4' restores nothing.*hidden1"):
        transplant(deep().state_dict(), small, restore=["hidden1", "hidden4"])
    assert transplant(deep().state_dict(), small, restore=["hidden*"]).restored == ("hidden1",)


def test_a_source_of_which_nothing_fits_is_refused_with_both_lists() -> None:
    with pytest.raises(UsageError, match=r"no tensor of the same name.*old1.*hidden1"):
        transplant({"old1.weight": torch.zeros(9, 9)}, deep())
    with pytest.raises(UsageError, match="other shapes"):
        transplant({"output.weight": torch.zeros(9, 9)}, deep())


@pytest.mark.parametrize("kind", [torch.float8_e4m3fn, torch.float8_e5m2, torch.int8, torch.complex64, torch.bool])
def test_codes_of_numbers_are_not_taken_for_numbers(kind: torch.dtype) -> None:
    """Their scales stand beside them, so that as numbers they would mean something else."""
    old, new = build("mlp:5,3", (4,), 2), build("mlp:5,3", (4,), 2)
    before = {name: tensor.clone() for name, tensor in new.state_dict().items()}
    state = {**old.state_dict(), "hidden1.linear.weight": old.hidden1.linear.weight.detach().to(kind)}
    named = r"hidden1\.linear\.weight \(" + str(kind).removeprefix("torch.")
    with pytest.raises(UsageError, match=named + r"\): convert them to float32"):
        transplant(state, new)
    assert all(torch.equal(tensor, before[name]) for name, tensor in new.state_dict().items())


def test_renaming_moves_layers() -> None:
    source, model = build("mlp:7,7,7", (7,), 3), build("mlp:7,7,7", (7,), 3)
    wrapped = {f"encoder.{name}": tensor for name, tensor in source.state_dict().items()}
    report = transplant(wrapped, model, restore=["encoder.hidden1", "encoder.hidden2"], rename={"encoder": ""})
    assert report.restored == ("hidden1", "hidden2")
    report = transplant(source.state_dict(), model, restore=["hidden2"], rename={"hidden2": "hidden3"})
    assert report.restored == ("hidden3",)
    assert torch.equal(model.hidden3.linear.weight, source.hidden2.linear.weight)
    holder = nn.ModuleDict({"backbone": build("mlp:7,7,7", (7,), 3)})
    assert transplant(source.state_dict(), holder, rename={"": "backbone"}).fresh == ()


def test_renaming_errors() -> None:
    with pytest.raises(UsageError, match="hidden1"):
        transplant(deep().state_dict(), deep(), rename={"hiden1": "hidden2"})
    with pytest.raises(UsageError, match="one place"):
        transplant(deep().state_dict(), deep(), rename={"hidden2": "hidden3"})


def test_a_prefix_is_a_whole_name() -> None:
    source = build(f"mlp:{','.join(['5'] * 11)}", (5,), 5)
    target = build(f"mlp:{','.join(['5'] * 11)}", (5,), 5)
    report = transplant(source.state_dict(), target, rename={"hidden1": "first"})
    assert report.fresh == ("hidden1",)
    assert report.left_behind == ("hidden1.linear.weight", "hidden1.linear.bias")


def test_dtype_place_and_gradients_of_the_model_stay() -> None:
    source, model = deep(), deep().double()
    model.hidden1.requires_grad_(False)
    weight = model.hidden2.linear.weight
    transplant(source.state_dict(), model)
    assert model.hidden2.linear.weight is weight
    assert weight.dtype == torch.float64
    assert weight.requires_grad
    assert not model.hidden1.linear.weight.requires_grad
    torch.testing.assert_close(weight, source.hidden2.linear.weight.double())


def test_the_source_is_copied_not_shared() -> None:
    source, model = deep(), deep()
    transplant(source.state_dict(), model)
    with torch.no_grad():
        source.hidden1.linear.weight.zero_()
    assert model.hidden1.linear.weight.abs().sum() > 0


def test_tied_tensors_are_restored_under_all_their_names() -> None:
    model = nn.ModuleDict({"a": nn.Linear(3, 3, bias=False), "b": nn.Linear(3, 3, bias=False)})
    model["b"].weight = model["a"].weight
    report = transplant({"a.weight": torch.ones(3, 3)}, model)
    assert (report.restored, report.fresh) == (("a", "b"), ())


@pytest.mark.parametrize("num_channels", [1, 2, 3, 4, 6, 7])
def test_input_channels_are_adapted_as_timm_does(num_channels: int) -> None:
    weight = torch.randn(4, 3, 5, 5)
    torch.testing.assert_close(adapt_input_channels(weight, num_channels), adapt_input_conv(num_channels, weight))


def test_a_grey_image_gives_what_it_gave_in_all_channels() -> None:
    colour, grey, back = (build("convnet:4", (channels, 8, 8), 3) for channels in (3, 1, 3))
    report = transplant(colour.state_dict(), grey)
    assert report.adapted == ("conv1.conv.weight",)
    assert "conv1" in report.restored
    x = torch.randn(2, 1, 8, 8)
    torch.testing.assert_close(grey(x), colour(x.expand(-1, 3, -1, -1)))
    transplant(grey.state_dict(), back, restore=["conv1", "output"])
    torch.testing.assert_close(back(x.expand(-1, 3, -1, -1)), grey(x))


def test_only_the_first_convolution_is_adapted_and_only_if_wanted() -> None:
    colour, grey = build("convnet:4", (3, 8, 8), 3), build("convnet:4", (1, 8, 8), 3)
    report = transplant(colour.state_dict(), grey, adapt_channels=False)
    assert report.adapted == ()
    assert "conv1" in report.fresh
    wide, narrow = build("convnet:4,4", (3, 8, 8), 3), build("convnet:4,4", (3, 8, 8), 3)
    narrow.conv2.conv = nn.Conv2d(2, 4, 3)
    assert "conv2" in transplant(wide.state_dict(), narrow).fresh


def test_layers_are_said_shortly() -> None:
    names = ["token", "a.0.weight", "a.0.bias", "a.1.weight", "b.weight", "b.bias"]
    assert whole_layers(set(names), names) == ("token", "a", "b")
    assert whole_layers({"a.0.weight", "a.0.bias", "b.bias"}, names) == ("a.0", "b.bias")
