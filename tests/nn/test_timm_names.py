import timm

from reuse.nn.timm_names import timm_names, whole_spec


def test_they_are_those_that_timm_lists() -> None:
    assert set(timm_names()) == set(timm.list_models())


def test_a_bare_name_of_timm_gets_its_family() -> None:
    assert whole_spec("resnet18") == "timm:resnet18"
    assert whole_spec("resnet18.a1_in1k") == "timm:resnet18.a1_in1k"
    for spec in ("timm:resnet18", "mlp:10", "runs/resnet18", "resnet81", "default"):
        assert whole_spec(spec) == spec
