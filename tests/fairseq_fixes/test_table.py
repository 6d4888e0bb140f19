"""The table of changes to foreign code: complete, and written for what is installed."""

import ast
import hashlib
import importlib.util
from pathlib import Path

import pytest

import nmt_moe.plugin  # noqa: F401 (applies the fixes)
from nmt_moe.common.errors import UserError
from nmt_moe.fairseq_fixes.fix import Fix
from nmt_moe.fairseq_fixes.table import FIXES
from tests.recipes import ROOT

# The SHA-256 of the source that each change to fairseq was written for. Where one differs, read the
# new source before the number is changed. Python's own differ between its versions.
SOURCES = {
    "fairseq.checkpoint_utils:_torch_persistent_save": "c2c70bddbaaf",
    "fairseq.checkpoint_utils:load_checkpoint": "bc7cc4344393",
    "fairseq.checkpoint_utils:load_checkpoint_to_cpu": "4f169c4bf484",
    "fairseq.checkpoint_utils:load_model_ensemble_and_task": "a579b16b0abb",
    "fairseq.checkpoint_utils:save_checkpoint": "b28ec07a2e67",
    "fairseq.data.bucket_pad_length_dataset:get_buckets": "71be965e9727",
    "fairseq.data.data_utils:post_process": "c4afe2f24394",
    "fairseq.data.encoders.sentencepiece_bpe:SentencepieceBPE.decode": "577f2dbfcc33",
    "fairseq.data.iterators:EpochBatchIterator.state_dict": "3782d392bca0",
    "fairseq.file_io:PathManager.copy": "280ae0d5fc68",
    "fairseq.logging.progress_bar:TensorboardProgressBarWrapper": "1cb403fc7f5f",
    "fairseq.logging.progress_bar:progress_bar": "4858692f88b1",
    "fairseq.models.ema.ema:EMA._step_internal": "a49d6858c1b8",
    "fairseq.ngram_repeat_block:NGramRepeatBlock._no_repeat_ngram": "e16048c07fa5",
    "fairseq.optim.adam:Adam.step": "dc81889f22b1",
    "fairseq.options:DatasetConfig": "8b50f0fbe4de",
    "fairseq.options:parse_args_and_arch": "e7f96c62d047",
    "fairseq.scoring.bleu:Scorer.result_string": "102cb2f9f420",
    "fairseq.tasks.fairseq_task:FairseqTask.get_batch_iterator": "a678bcdff92a",
    "fairseq.tasks.fairseq_task:FairseqTask.inference_step": "2009a56565e2",
    "fairseq.tasks.fairseq_task:FairseqTask.train_step": "b35210fe6112",
    "fairseq.tasks.fairseq_task:FairseqTask.valid_step": "439d3865b8b2",
    "fairseq.trainer:Trainer._reduce_and_log_stats": "c92822f60154",
    "fairseq.trainer:Trainer.clip_grad_norm": "e31a26810bea",
    "fairseq.trainer:Trainer.load_checkpoint": "3e9ad6268adc",
    "fairseq.trainer:Trainer.state_dict": "4ac3fd04c5da",
    "fairseq.trainer:Trainer.train_step": "86e84fbe89bd",
    "fairseq.utils:replace_unk": "8efc818be43f",
    "fairseq_cli.hydra_train:_hydra_main": "f192edb7859a",
    "fairseq_cli.hydra_train:add_defaults": "474b783b080b",
    "fairseq_cli.train:add_defaults": "474b783b080b",
    "fairseq_cli.train:should_stop_early": "4c442a0bc320",
    "fairseq_cli.train:train": "82aafe7dfcd8",
    "fairseq_cli.train:validate_and_save": "6eaeda1b2df1",
}


def source(target: str) -> str:
    """The text of a function or class as it stands in its file."""
    module, _, path = target.partition(":")
    file = importlib.util.find_spec(module).origin
    text = Path(file).read_text(encoding="utf-8")
    node: ast.AST = ast.parse(text)
    for name in path.split("."):
        for one in ast.iter_child_nodes(node):
            if isinstance(one, ast.FunctionDef | ast.ClassDef) and one.name == name:
                node = one
                break
            if isinstance(one, ast.ImportFrom) and name in [alias.name for alias in one.names]:
                return source(f"{one.module}:{name}")
        else:
            raise AssertionError(f"{file} has no {path}")
    return ast.get_source_segment(text, node)


def targets() -> list[str]:
    """Those in fairseq."""
    return sorted({fix.target for fix in FIXES if fix.target.startswith("fairseq")})


def test_fairseq_is_what_the_fixes_were_written_for() -> None:
    there = {one: hashlib.sha256(source(one).encode()).hexdigest()[:12] for one in targets()}
    assert there == SOURCES


@pytest.mark.parametrize("fix", FIXES, ids=lambda fix: fix.target)
def test_each_exists_and_says_why(fix: Fix) -> None:
    fix.original()
    assert fix.why.endswith(".") and fix.wrap.__module__.startswith("nmt_moe.")


def test_each_is_applied_once() -> None:
    for fix in FIXES:
        if fix.when == "the plugin is imported" and fix.target.startswith("fairseq"):
            applied = fix.original().nmt_moe_fixes
            assert applied.count(fix) == 1
            fix.apply()
            assert fix.original().nmt_moe_fixes == applied


def test_a_target_that_is_gone_is_said() -> None:
    with pytest.raises(UserError, match="there is no fairseq.trainer:Trainer.fly in what is"):
        Fix("fairseq.trainer:Trainer.fly", lambda fly: fly, "To fly.").apply()


def test_a_target_that_another_package_has_replaced_is_said(monkeypatch, caplog) -> None:
    import fairseq.utils

    monkeypatch.setattr(fairseq.utils, "eval_str_list", ast.literal_eval)
    Fix("fairseq.utils:eval_str_list", lambda read: lambda text: read(text), "A test.").apply()
    assert "ast has replaced fairseq.utils:eval_str_list, which nmt_moe changes" in caplog.text
    assert fairseq.utils.eval_str_list("[1]") == [1]


def test_nothing_else_changes_foreign_code() -> None:
    found = []
    for path in (ROOT / "nmt_moe").rglob("*.py"):
        if "fairseq_fixes" in path.parts:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        foreign = {
            alias.asname or alias.name.partition(".")[0]
            for node in ast.walk(tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
            and not (getattr(node, "module", None) or node.names[0].name).startswith("nmt_moe")
            for alias in node.names
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign):
                owners = [one.value for one in node.targets if isinstance(one, ast.Attribute)]
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "setattr":
                owners = [node.args[0]]
            else:
                continue
            if foreign & {ast.unparse(owner).partition(".")[0] for owner in owners}:
                found.append(f"{path.name}: {ast.unparse(node)}")
    assert not found, "make it a Fix in nmt_moe/fairseq_fixes"
