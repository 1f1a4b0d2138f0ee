import pytest
import torch
from torch import Tensor, fx, nn

from reuse.errors import UsageError
from reuse.nn.building import build
from reuse.nn.decoders import Autoencoder, build_decoder, encoder_of
from reuse.nn.encoders import features
from reuse.nn.upsampling import TokensToMap, doubling_sizes


class Own(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.hidden, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 6), nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.hidden(self.stem(x).mean((2, 3))).relu())


class Table(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.head = nn.Linear(9, 4), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.hidden(x).relu())


VIT = "timm:vit_tiny_patch16_224"
CASES = [
    ("mlp:30,20,7", (1, 8, 8), True, (7,)),
    ("mlp:6", (9,), True, (6,)),
    ("convnet:8,16", (1, 28, 28), True, (16 * 7 * 7,)),
    ("convnet:4,4,4,4,4", (3, 9, 5), True, (4,)),
    ("timm:resnet18", (3, 32, 32), True, (512,)),
    ("timm:resnet18", (3, 64, 40), False, (512, 2, 2)),
    (VIT, (3, 48, 48), True, (192,)),
    (VIT, (3, 48, 48), False, (10, 192)),
    ("timm:swin_tiny_patch4_window7_224", (1, 64, 64), False, (2, 2, 768)),
    (Own, (3, 13, 16), True, (6,)),
    (Table, (9,), True, (4,)),
]


def make(model: object, shape: tuple[int, ...]) -> nn.Module:
    torch.manual_seed(0)
    return build(model, shape, 5) if isinstance(model, str) else model()  # type: ignore[operator]


@pytest.mark.parametrize(("model", "shape", "pooled", "coding"), CASES)
def test_shapes_there_and_back_and_gradient_everywhere(
    model: object, shape: tuple[int, ...], pooled: bool, coding: tuple[int, ...]
) -> None:
    whole = make(model, shape)
    names = set(whole.state_dict())
    encoder = encoder_of(whole, pooled=pooled)
    assert set(encoder.state_dict()) < names
    autoencoder = Autoencoder(encoder, build_decoder(encoder, torch.zeros(1, *shape)))
    x = torch.randn(8, *shape)  # so many that each unit is met by a row that it is not zero for
    assert autoencoder.encode(x).shape == (8, *coding)
    assert autoencoder(x).shape == x.shape
    autoencoder(x).square().sum().backward()
    assert all(p.grad is not None for p in autoencoder.parameters())
    assert all(p.grad.abs().sum() > 0 for p in autoencoder.decoder.parameters() if p.dim() > 1)


@pytest.mark.parametrize(("model", "shape"), [(c[0], c[1]) for c in CASES if c[2]])
def test_coding_is_what_the_output_layer_gets(model: object, shape: tuple[int, ...]) -> None:
    whole = make(model, shape).eval()
    x = torch.randn(2, *shape)
    caught = features(whole, x)
    torch.testing.assert_close(encoder_of(whole)(x), caught)


def test_features_carry_gradients_and_leave_no_hook() -> None:
    model = Table()
    features(model, torch.randn(2, 9)).sum().backward()
    assert model.hidden.weight.grad is not None
    assert not model.head._forward_pre_hooks


@pytest.mark.parametrize(("spec", "shape"), [("mlp:12,6", (1, 8, 8)), ("convnet:4,8", (1, 8, 8))])
def test_mirror_has_the_layers_of_the_encoder_in_reverse(spec: str, shape: tuple[int, ...]) -> None:
    encoder = encoder_of(build(spec, shape, 3, activation="tanh", norm="batch:output", dropout=0.3))
    decoder = build_decoder(encoder, torch.zeros(1, *shape))
    encoded = [tuple(w.shape[:2]) for n, w in encoder.named_parameters() if w.dim() > 1]
    decoded = [tuple(w.shape[:2]) for n, w in decoder.named_parameters() if w.dim() > 1]
    assert decoded == [shape[::-1] for shape in encoded[::-1]]
    kinds = [type(module) for module in decoder.modules()]
    assert kinds.count(nn.Tanh) == 1
    assert nn.Dropout not in kinds


@pytest.mark.parametrize(("model", "shape"), [("mlp:12,6", (1, 8, 8)), ("convnet:4,8", (1, 9, 7)), (Own, (3, 13, 16))])
def test_autoencoders_of_traceable_models_are_traceable(model: object, shape: tuple[int, ...]) -> None:
    encoder = encoder_of(make(model, shape))
    autoencoder = Autoencoder(encoder, build_decoder(encoder, torch.zeros(1, *shape))).eval()
    x = torch.randn(3, *shape)
    torch.testing.assert_close(fx.symbolic_trace(autoencoder)(x), autoencoder(x))


def test_building_a_decoder_leaves_the_encoder_as_it_was() -> None:
    encoder = encoder_of(build("mlp:6,4", (5,), 3, norm="batch", dropout=0.5))
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    build_decoder(encoder, torch.ones(1, 5))
    assert all(module.training for module in encoder.modules())
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())


def test_tokens_go_back_where_they_came_from() -> None:
    image = torch.randn(2, 5, 3, 4)
    tokens = torch.cat([torch.zeros(2, 1, 5), image.flatten(2).transpose(1, 2)], 1)
    assert torch.equal(TokensToMap(1, (3, 4))(tokens), image)


def test_sizes_double_up_to_the_image() -> None:
    assert doubling_sizes((4, 4), (28, 28)) == [(7, 7), (14, 14), (28, 28)]
    assert doubling_sizes((1, 2), (5, 8)) == [(2, 2), (3, 4), (5, 8)]
    assert doubling_sizes((8, 8), (8, 8)) == [(8, 8)]


def test_what_cannot_be_done_is_refused() -> None:
    with pytest.raises(UsageError, match="pooled=False"):
        encoder_of(build("mlp:4", (3,), 2), pooled=False)
    with pytest.raises(UsageError, match=r"\(1, 7\)"):
        build_decoder(encoder_of(build("mlp:4", (3,), 2)), torch.zeros(1, 7))
