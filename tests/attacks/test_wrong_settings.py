"""Wrong settings, of every command: one clear line and exit code 2, within a gigabyte, and no run folder is left."""

import sys
from pathlib import Path

import pytest

from limited import Answer, answers

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="memory is limited as Linux does it"),
]

PRETRAIN = ("pretrain", "--model", "mlp:20,10", "--epochs", 2)
FINETUNE = ("finetune", "base", "--data", "digits", "--labels", 60, "--freeze", "hidden1", "--epochs", 2)
RATES = ("lr-find", "base", "--data", "digits", "--labels", 60, "--steps", 20)
SWEEP = ("sweep", "base", "--data", "digits", "--labels", 60, "--freeze", "hidden1", "--epochs", 2)
HUGE = 99999999999999999999999

MADE: list[tuple[tuple[object, ...], int]] = [
    (("pretrain", "--model", "mlp:20,10", "--epochs", 1, "--out", "base"), 0),
    (("finetune", "base", "--data", "digits", "--labels", 60, "--freeze", "hidden1", "--epochs", 1, "--out", "run"), 0),
]
WRONG: list[tuple[tuple[object, ...], tuple[str, ...]]] = [
    # numbers that no library can hold, or that nobody has memory for
    ((*PRETRAIN, "--seed", HUGE), ("seed", "or less")),
    ((*PRETRAIN, "--seed", -HUGE), ("seed", "or more")),
    ((*PRETRAIN, "--split-seed", HUGE), ("split seed", "or less")),
    ((*PRETRAIN, "--image-size", 100000), ("image size", "16,384")),
    ((*PRETRAIN, "--image-size", "8x100000"), ("image size", "16,384")),
    ((*PRETRAIN, "--image-size", "0x8"), ("image size", "above 0")),
    ((*PRETRAIN, "--image-size", "-1"), ("image size", "above 0")),
    ((*PRETRAIN, "--channels", 0), ("channels is 0", "1 or more")),
    ((*PRETRAIN, "--channels", HUGE), ("channels", "or less")),
    ((*PRETRAIN, "--vocabulary", 0), ("vocabulary is 0",)),
    ((*PRETRAIN, "--sequence-length", HUGE), ("sequence length", "or less")),
    ((*PRETRAIN, "--embedding-size", 0), ("embedding size is 0",)),
    ((*PRETRAIN, "--epochs", HUGE), ("epochs", "or less")),
    ((*PRETRAIN, "--batch-size", HUGE), ("batch size", "or less")),
    ((*PRETRAIN, "--accumulate", HUGE), ("accumulate", "or less")),
    ((*PRETRAIN, "--patience", HUGE), ("patience", "or less")),
    ((*PRETRAIN, "--noise", "inf"), ("noise", "finite")),
    ((*PRETRAIN, "--sharpness", "inf"), ("sharpness", "finite")),
    ((*PRETRAIN, "--max-gap", "inf"), ("max gap", "finite")),
    ((*PRETRAIN, "--learning-rate", "nan"), ("learning rate", "finite")),
    ((*PRETRAIN, "--weight-decay", "inf"), ("weight decay", "finite")),
    ((*PRETRAIN, "--model", "mlp:99999999999"), ("mlp:99999999999", "smaller numbers")),
    ((*PRETRAIN, "--model", f"mlp:{HUGE}"), ("larger than any memory",)),
    ((*PRETRAIN, "--model", "convnet:99999999999"), ("convnet:99999999999", "smaller numbers")),
    ((*PRETRAIN, "--activation", "elu:nan"), ("elu:nan", "finite")),
    ((*PRETRAIN, "--activation", "leaky_relu:1e400"), ("leaky_relu", "finite")),
    ((*FINETUNE, "--add-layers", 99999999999), ("99999999999", "smaller numbers")),
    ((*FINETUNE, "--views", 99999999999, "--augment", "shift:1"), ("views", "10,000")),
    ((*FINETUNE, "--views", 0, "--augment", "shift:1"), ("views is 0", "2 or more")),
    ((*FINETUNE, "--refresh-views", 0, "--views", 2, "--augment", "shift:1"), ("refresh views is 0",)),
    ((*FINETUNE, "--feature-noise", "nan"), ("feature noise", "finite")),
    ((*FINETUNE, "--l2-sp", "inf"), ("l2 sp", "finite")),
    ((*FINETUNE, "--cache-budget", "99999999999TB"), ("cache budget", "or less")),
    ((*FINETUNE, "--snapshots", 0), ("snapshots is 0", "1 or more")),
    ((*FINETUNE, "--auto-freeze-every", 0), ("auto freeze every is 0",)),
    ((*FINETUNE, "--unfreeze", "1:hidden1", "--unfreeze-warmup", "1e30"), ("unfreeze_warmup", "the run ends")),
    ((*FINETUNE, "--labels", HUGE), ("labels", "or less")),
    ((*RATES, "--steps", HUGE), ("steps", "100,000")),
    ((*RATES, "--steps", 99999999999), ("steps", "100,000")),
    ((*RATES, "--highest", "inf"), ("highest", "finite")),
    ((*SWEEP, "--seeds", 99999999999), ("seeds", "100,000")),
    ((*SWEEP, "--patience", HUGE), ("patience", "or less")),
    ((*SWEEP, "--learning-rate", "0.1,,0.2"), ("learning_rate", "empty place")),
    ((*SWEEP, "--head", "mlp:99999999999"), ("99999999999", "smaller numbers")),
    ((*SWEEP, "--head", "mlp:" + "9" * 5000), ("a number of 5,000 digits", "smaller numbers")),
    (("inspect", "convnet:8k" + "9" * 5001, "--input-shape", "1,8,8"), ("a name is too long", "convnet:8k999")),
    (("inspect", "mlp:" + "9" * 5000, "--input-shape", "8"), ("a name is too long", "mlp:999")),
    (("inspect", "mlp:20", "--input-shape", HUGE), ("input shape", "or less")),
    (("inspect", "mlp:20", "--input-shape", "8", "--num-outputs", 99999999999), ("smaller numbers",)),
    (("inspect", "mlp:20", "--input-shape", "-1"), ("positive whole numbers", "-1")),
    ((*PRETRAIN, "--device", "meta"), ("device 'meta' cannot be used",)),
    ((*PRETRAIN, "--data", ""), ("data is ''", "names nothing")),
    (("evaluate", "run", "--data", " "), ("names nothing",)),
    ((*FINETUNE, "--out", "x" * 300), ("too long", "xxx")),
    (("predict", "run", "--data", "digits", "--out", "x" * 300), ("too long", "xxx")),
    # settings that do nothing
    ((*FINETUNE, "--cache-kind", "disk", "--no-cache"), ("cache_kind", "cache off")),
    ((*FINETUNE, "--cache-dtype", "float16", "--no-cache"), ("cache_dtype", "cache off")),
    ((*FINETUNE, "--cache-budget", "1GB", "--no-cache"), ("cache_budget", "cache off")),
    ((*FINETUNE, "--no-early-stopping", "--patience", 3), ("patience is 3", "early_stopping off")),
    ((*FINETUNE, "--alternate"), ("alternate", "none of them")),
    ((*PRETRAIN, "--alternate"), ("alternate", "none of them")),
    ((*FINETUNE, "--unfreeze-warmup", 3), ("unfreeze_warmup", "without unfreeze")),
    ((*FINETUNE, "--auto-freeze-every", 3), ("auto_freeze_every", "without auto_freeze")),
    ((*FINETUNE, "--decay-all"), ("decay_all", "without weight_decay")),
    ((*SWEEP, "--no-early-stopping", "--patience", 2), ("patience", "early_stopping off")),
    (("predict", "run", "--data", "digits", "--seed", 3), ("seed is 3", "without mc_dropout")),
    # settings of other commands
    (("plan", *FINETUNE[1:], "--out", "x"), ("a plan writes", "takes no out")),
    (("plan", *FINETUNE[1:], "--resume", "run"), ("a plan writes", "takes no resume")),
    (("cache", "why", *FINETUNE[1:], "--out", "x"), ("takes no out",)),
    ((*RATES, "--learning-rate", 0.1), ("no use for learning_rate",)),
    ((*RATES, "--out", "x"), ("no use for out",)),
    ((*SWEEP, "--mixup", 0.1), ("takes no mixup",)),
    ((*SWEEP, "--no-cache"), ("takes no cache",)),
]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Answer], Path]:
    """What all commands answer, and where they were run."""
    folder = tmp_path_factory.mktemp("settings")
    return answers([command for command, _ in (*MADE, *WRONG)], folder), folder


def test_the_commands_are_right_without_the_wrong_setting(found: tuple[list[Answer], Path]) -> None:
    assert [answer.code for answer in found[0][: len(MADE)]] == [code for _, code in MADE]


@pytest.mark.parametrize("number", range(len(WRONG)), ids=lambda number: " ".join(map(str, WRONG[number][0][-2:]))[:80])
def test_a_wrong_setting_is_one_line(found: tuple[list[Answer], Path], number: int) -> None:
    found[0][len(MADE) + number].refusal(*WRONG[number][1])


def test_nothing_is_left(found: tuple[list[Answer], Path]) -> None:
    assert {path.name for path in found[1].iterdir()} <= {"base", "run", "cache"}
