import subprocess
import sys

import timm

from reuse.nn.timm_names import timm_names, whole_spec


def test_they_are_those_that_timm_lists() -> None:
    assert set(timm_names()) == set(timm.list_models())


def test_a_bare_name_of_timm_gets_its_family() -> None:
    assert whole_spec("resnet18") == "timm:resnet18"
    assert whole_spec("resnet18.a1_in1k") == "timm:resnet18.a1_in1k"
    for spec in ("timm:resnet18", "mlp:10", "runs/resnet18", "resnet81", "default"):
        assert whole_spec(spec) == spec


def test_an_older_name_is_taken_whether_timm_is_imported_or_not() -> None:
    code = "from reuse.nn.timm_names import whole_spec; print(whole_spec('timm:vit_tiny_patch16_224_in21k'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "timm:vit_tiny_patch16_224_in21k"
