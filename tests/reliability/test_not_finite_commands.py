"""NaN and Inf in trainings as users start them: one line, in one process or in several."""

import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from nmt_moe.checkpoint.files import read
from nmt_moe.models.translation import LSTMMoEModel
from tests.commands import train
from tests.parallel import command
from tests.reliability.training import in_output
from tests.tally import Tally

OPTIONS = ["--optimizer", "moe_adam", "--save-interval-updates", 5, "--max-update", 20]
MANY = ["--moe-experts", 64, "--batch-size", 1]  # for 1 to 8 words: most get none


def at_update(number: int, fault: Callable[[nn.Module], None], rank: int = 0):
    """What lets a forked training's model have a fault from that update on, in one process."""

    def prepare(process: int) -> None:
        build = LSTMMoEModel.build_model

        def build_model(cfg, task):
            model = build(cfg, task)
            done = model.set_num_updates

            def set_num_updates(updates: int) -> None:
                done(updates)
                if updates == number - 1 and process == rank:
                    model.set_num_updates = done
                    fault(model)

            model.set_num_updates = set_num_updates
            return model

        LSTMMoEModel.build_model = build_model

    return prepare


def in_idle_expert(model: nn.Module) -> None:
    """Poison an expert of this process that no token has reached in this update, once."""
    experts = model.get_submodule("encoder.feed_forwards.2.moe.experts")

    def spoil(module, args, output):
        idle = args[1].tolist().index(0)
        module.w_in.data[idle] = math.nan
        first = 0 if module.mesh is None else module.mesh.own(module.num_experts).start
        print(f"poisoned {first + idle}")
        hook.remove()

    hook = experts.register_forward_hook(spoil)


def the_line(finished, folder: Path) -> str:
    """The one line of the error, of all processes together."""
    assert finished.code == 1, finished.stdout
    assert "Traceback" not in finished.stdout, finished.stdout
    lines = re.findall(r"^(?:\[rank\d\]: )?error: (.*)$", finished.stdout, re.MULTILINE)
    assert len(lines) == 1, finished.stdout
    assert not list(folder.glob("crash*"))
    return lines[0]


def check_all_finite(folder: Path, updates: int, tally: Tally) -> None:
    """No checkpoint has NaN, and the last one is as good as it can be: no update is lost."""
    paths = list(folder.glob("*.pt"))
    assert paths
    for path in paths:
        tensors = read(str(path))["model"].values()
        assert all(tensor.isfinite().all() for tensor in tensors), path
    last = next(folder.glob("checkpoint_last*.pt"))
    there = read(str(last))["optimizer_history"][-1]["num_updates"]
    tally(faults=1, work=updates, losses=max(0, updates - there))
    assert there == updates


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("precision", [[], ["--memory-efficient-bf16"]])
def test_a_training_stops(data, tmp_path, tally, processes, precision):
    """With two processes, the fault is in the second one's experts."""
    name = "encoder.feed_forwards.2.moe.experts"
    prepare = at_update(13, in_output(name, math.inf), rank=processes - 1)
    options = [*OPTIONS, *precision, "--batch-size", 10]
    line = the_line(
        command.start(processes, data, tmp_path, *options, prepare=prepare).wait(), tmp_path
    )
    assert line.startswith(f"Inf in the output of {name}, expert 3: stopped before update 13; ")
    assert f"{tmp_path}/checkpoint_last.pt, of update 10." in line
    check_all_finite(tmp_path, 10, tally)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("processes", "parts"), [(1, []), (2, []), (2, ["--moe-sharded-checkpoint"])]
)
def test_an_expert_without_tokens_is_found_before_it_is_saved(
    data, tmp_path, tally, processes, parts
):
    prepare = at_update(10, in_idle_expert, rank=processes - 1)
    options = [*OPTIONS, *MANY, *parts, "--disable-validation"]
    finished = command.start(processes, data, tmp_path, *options, prepare=prepare).wait()
    line = the_line(finished, tmp_path)
    expert = re.findall(r"^poisoned (\d+)$", finished.stdout, re.MULTILINE)[0]
    assert line.startswith(
        f"NaN in the weights of encoder.feed_forwards.2.moe.experts.w_in, expert {expert} "
        "after update 10: not saved; the last good checkpoint is "
    )
    last = tmp_path / ("checkpoint_last-rank-0.pt" if parts else "checkpoint_last.pt")
    assert f" {last}, of update 5." in line
    check_all_finite(tmp_path, 5, tally)


@pytest.mark.slow
def test_a_training_that_explodes_and_goes_on_from_the_good_checkpoint(data, tmp_path, tally):
    """As a user types it."""
    options = ["--optimizer", "moe_adam", "--save-interval-updates", 1, "--max-update", 30]
    train(data, tmp_path, *options, "--max-update", 5)
    error = train(data, tmp_path, *options, "--lr", "1e38", fails=True).error()
    found = re.search(r"the last good checkpoint is (\S+), of update (\d+)\.", error)
    assert found and int(found[2]) >= 5
    assert re.match(r"(NaN|Inf) in the .* (stopped before|after) update \d+", error)
    state = torch.load(found[1], weights_only=False)
    assert all(tensor.isfinite().all() for tensor in state["model"].values())
    there = state["optimizer_history"][-1]["num_updates"]
    tally(faults=1, work=5, losses=max(0, 5 - there))
    assert there == int(found[2])
