"""Plant faults, one at a time, and see whether the suite notices: how strong the tests are, measured outside of them.

python -m tests.faults               every fault
python -m tests.faults WORD          those whose file or name holds the word
python -m tests.faults --dry-run     only see that every fault still has its place in the code

A fault is one line below the file that it is planted in: its name, the text that stands there once, and what takes its
place. Each runs the tests of its package, those named like its file first, in one process; a failure or a run that
does not end catches it.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
TESTS = {"resnet_lib": "tests/lib", "resnet_course": "tests/course"}
NOT_COPIED = (".git", ".venv*", "_build", "data", "runs", ".*_cache", "__pycache__")
OPTIONS = ("-x", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", "-o", "addopts=--doctest-modules -m 'not slow'")
LIMIT = 1200  # seconds for the tests of a package, which take about a third of it

FAULTS = r"""
resnet_lib/blocks.py
  no ReLU between the convolutions: out = F.relu(self.bn1(self.conv1(x))) => out = self.bn1(self.conv1(x))
  input of Residual not added: return F.relu(out + x) => return F.relu(out)
  no ReLU in the middle of Bottleneck: out = self.relu(self.bn2(self.conv2(out))) => out = self.bn2(self.conv2(out))
  stage of Residual without its stride: num_channels, use_1x1conv=True, strides=2)) => num_channels, use_1x1conv=True))
  option A pads on one side: self.before = (out_channels - in_channels) // 2 => self.before = 0
  projection without BatchNorm: in_channels, out_channels, stride, bias), nn.BatchNorm2d(out_channels))
    => in_channels, out_channels, stride, bias))
resnet_lib/networks.py
  variance from the wrong fan: mode="fan_out" => mode="fan_in"
  zero start in the wrong BatchNorm: nn.init.zeros_(module.bn3.weight) => nn.init.zeros_(module.bn2.weight)
  a block too few in ResNet-101: [3, 4, 23, 3] => [3, 4, 22, 3]
  pooling of the stem like LeNet's: nn.MaxPool2d(kernel_size=3, stride=2, padding=1) => nn.MaxPool2d(2)
  network for CIFAR left as PyTorch draws it: self.fc = nn.Linear(4 * width, num_classes)\n        initialize(self)
    => self.fc = nn.Linear(4 * width, num_classes)
resnet_lib/augment.py
  no crop reaches the last place: places = 2 * PADDING + 1 => places = 2 * PADDING
  mirrored upside down: columns = torch.where(mirrored, columns.flip(1), columns)
    => rows = torch.where(mirrored, rows.flip(1), rows)
  padding on one side: padded[:, :, PADDING:-PADDING, PADDING:-PADDING] = images
    => padded[:, :, : -2 * PADDING, : -2 * PADDING] = images
  the same crops in every epoch: held.copy_(drawn) => held.copy_(held)
resnet_lib/recipes.py
  True counts as 1: isinstance(value, kind) and not isinstance(value, bool) => isinstance(value, kind)
  two layers are a network: if depth < 8 or => if depth < 2 or
  another digest in the file name: digest[:8] => digest[-8:]
resnet_lib/schedules.py
  learning rate falls a step late: (step >= total_steps / 2) => (step > total_steps / 2)
resnet_lib/datasets.py
  mean over the test images: return self.train_images.float().mean( => return self.test_images.float().mean(
  deviation of 0: return deviation.where(deviation > 0, 1.0) => return deviation
  training on what is held out: order[count - held_out :] => order[:held_out]
  the home folder not expanded: Path(os.path.expanduser(name.removeprefix("folder:")))
    => Path(name.removeprefix("folder:"))
resnet_lib/files.py
  digest of a download not compared: if hashlib.md5(content, usedforsecurity=False).hexdigest() == md5: => if content:
  set aside over what was set aside: if not free.exists()) => if free)
  what can't be used stays in its place: it is now {set_aside(path).name}, and => it is now {path.name}, and
  a mirror that trickles after a start: if len(content) - before < LEAST: => if len(content) < LEAST:
resnet_lib/report.py
  worse by the means alone: min(errors[kind, high]) > max(errors[kind, low]) => mean[kind, high] > mean[kind, low]
  the paper's errors beside any run: if departing: => if None:
  pages not escaped: autoescape=True => autoescape=False
resnet_lib/arithmetic.py
  running statistics count: return 2 * channels => return 4 * channels
  padding on one side of the formula: (size + 2 * padding - kernel_size) => (size + padding - kernel_size)
  a layer that runs twice counts twice: if unseen.pop(p, None) is not None) => if unseen.pop(p, "") is not None)
resnet_lib/orderings.py
  stride on both convolutions: in_channels, stride = channels, 1 => in_channels = channels
  no activation at the end: self.end = make_steps(pre_activation, => self.end = make_steps("",
resnet_lib/figures.py
  colours exchanged: return PLAIN if shortcut == "none" else RESIDUAL => return PLAIN if shortcut else RESIDUAL
resnet_lib/training.py
  evaluation in training mode: model.eval()\n    logits => model.train()\n    logits
  schedule without the last batch: -(-len(self.labels) // recipe.batch_size) => (len(self.labels) // recipe.batch_size)
  seed of the order ignored: self.generator.manual_seed(recipe.seed) => self.generator.manual_seed(0)
  held-out error over the test images: evaluate(self.model, *self.held_out) => evaluate(self.model, *self.test)
  order not restored: self.generator.set_state(state["generator"]) => pass
  graphs that outlive restore: self.fast_loop.graphs.clear() => pass
  a run that diverged goes on: return self.has_diverged or self.epochs_done => return self.epochs_done
  a loss that was infinite once is a result: None if self.has_diverged else finite_or_none(train_loss)
    => finite_or_none(train_loss)
resnet_lib/fast.py
  other models captured: step = self._replay if self.capture and => step = self._replay if
  layout chosen by the other channels: layer.in_channels // layer.groups < 8 => layer.out_channels < 8
  learning rate not restored: rate = float(group["lr"]) => rate = float(own["lr"])
resnet_lib/checkpoints.py
  digest not compared: if digest != hashlib.sha256(content).hexdigest().encode(): => if not digest:
  checkpoint of another recipe accepted: if saved.get("recipe") != asdict(recipe): => if not saved.get("recipe"):
resnet_lib/records.py
  median for mean: return statistics.mean(values), => return statistics.median(values),
  biased variance: statistics.stdev(values) => statistics.pstdev(values)
  record of another recipe accepted: if record.recipe != recipe: => if record.recipe.depth != recipe.depth:
resnet_lib/experiments.py
  seeds from 1: product(range(check_number("seeds", seeds, most=MOST)),
    => product(range(1, check_number("seeds", seeds, most=MOST) + 1),
  checkpoint left behind: checkpoint.unlink(missing_ok=True) => pass
resnet_lib/parallel.py
  seed of the weights ignored: torch.default_generator.manual_seed(seed) => torch.default_generator.manual_seed(0)
  an error stops nobody: stop.set() => pass
  threads not given back: torch.set_num_threads(cores) => pass
resnet_lib/environment.py
  a changed checkout not told: "--dirty", "--abbrev => "--abbrev
resnet_lib/__main__.py
  augment not handed on: "images", "augment") => "images")
resnet_course/probes/gradients.py
  the model's own statistics move: return copy.deepcopy(model).train() => return model.train()
  momentum not restored: norm.momentum = momentum => pass
resnet_course/probes/landscape.py
  rows and columns exchanged: surface[i, j] => surface[j, i]
resnet_course/probes/lesions.py
  block not removed: model.set_submodule(name, rest.train(block.training)) => rest.train(block.training)
  ReLU gone with the block: nn.Sequential(block.downsample, nn.ReLU()) => block.downsample
resnet_course/probes/path_lengths.py
  shortcuts as branches: zip([nothing, *through], [*around, nothing] => zip([*through, nothing], [nothing, *around]
resnet_course/probes/recording.py
  a record of another machine goes on: if key not in MAY_DIFFER and then != value: => if key not in environment:
resnet_course/probes/responses.py
  what the addition has changed: outputs[name] = output.clone() => outputs[name] = output
resnet_course/probes/variants.py
  branches too weak: len(blocks_of(model)) ** -0.5 => len(blocks_of(model)) ** -1
resnet_course/checks/anatomy.py
  an earlier block's sum written out: (last not in value.convs and => (last in value.convs and
  shortcut added twice not told: (1, 2): "the shortcut is added twice" => (1, 3): "the shortcut is added twice"
resnet_course/checks/by_hand.py
  causes of the opposite gap: chosen)) == gap] => chosen)) == -gap]
resnet_course/checks/folding.py
  twin without the root: (gamma / (var + eps), "the root => (gamma * (var + eps), "the root
  the right bias is another: ((own - mean) * scale + beta, "") => ((own - mean) * scale - beta, "")
resnet_course/checks/judgement.py
  the paper's stride is a mistake: if plan.kernels == (1, 3, 1) and => if plan.kernels == (3, 3) and
  ReLU before the addition not told: "bn relu +": "the ReLU => "bn  relu +": "the ReLU
resnet_course/checks/report.py
  a learner's F.relu stays: mock.patch.dict(vars(F)), => contextlib.nullcontext(),
resnet_course/checks/runs.py
  layers in a plain list pass: not in known and weight.is_leaf => not in known and not weight.is_leaf
  an output that depends on the batch passes: > 0.001 * whole => > 10 * whole
resnet_course/checks/trace.py
  sums weighed to the whole number: round(weight, 3) => round(weight)
resnet_course/drills/answers.py
  tolerance not relative: self.tolerance * abs(right) => self.tolerance
resnet_course/drills/bug_hunt.py
  line before what is left out is wrong: lines |= {first, first + 1} => lines |= {first + 1}
  symptoms without a seed: torch.manual_seed(0) => torch.seed()
resnet_course/drills/questions.py
  one block too many: answer = one + (count - 1) * inner => answer = one + count * inner
resnet_course/volumes.py
  a shortcut around one step: reach=len(branch)) => reach=1)
resnet_course/classroom/assignment.py
  labels exchanged: = torch.arange(len(classes)) => = torch.arange(len(classes)).flip(0)
resnet_course/classroom/anomalies.py
  one peer too few: if len(group) >= FEWEST_PEERS => if len(group) > FEWEST_PEERS
resnet_course/classroom/class_report.py
  copies of the book's runs missed: in find_copies([*book, *runs]) => in find_copies(runs)
  a copy counts twice: counted = [run for run in ended if id(run) not in repeated] => counted = list(ended)
  diverged runs averaged: ended = [run for run in runs if not run.record.diverged] => ended = list(runs)
resnet_course/classroom/submissions.py
  one of two students alike lost: while printed in students: => while printed is None:
"""


class Fault(NamedTuple):
    name: str
    file: str
    old: str
    new: str


def read(table: str) -> list[Fault]:
    """The faults of the table: a file on a line of its own, then its faults, "name: old => new", in one line or two."""
    faults, file = [], ""
    for line in filter(None, table.replace("\n    =>", " =>").splitlines()):
        if line.startswith("  "):
            name, _, change = line.strip().replace("\\n", "\n").partition(": ")
            old, _, new = change.partition(" => ")
            faults.append(Fault(name, file, old, new))
        else:
            file = line
    return faults


def misplaced(fault: Fault) -> str | None:
    """What is wrong with a fault's place in the code, if anything."""
    path = ROOT / fault.file
    times = path.read_text(encoding="utf-8").count(fault.old) if path.is_file() else 0
    return None if times == 1 else f"{fault.name}: its text stands {times} times in {fault.file}: {fault.old}"


def test(copy: Path, file: str) -> str | None:
    """Run the tests of the package that this file belongs to, and return what noticed something, if anything did."""
    package, *inner = Path(file).with_suffix("").parts
    near = sorted({path for word in inner for path in (copy / TESTS[package]).glob(f"test_*{word.strip('_')}*.py")})
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    for targets in ([copy / file, *near], [copy / package, copy / TESTS[package]]):
        command = [sys.executable, "-m", "pytest", *OPTIONS, *targets]
        try:
            done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, timeout=LIMIT)
        except subprocess.TimeoutExpired:
            return "did not end"
        if done.returncode not in (0, 5):  # 5: there were none
            lines = (done.stdout + done.stderr).splitlines()
            noticed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
            return (noticed or lines[-1:] or ["no output"])[0][:160]
    return None


def plant(fault: Fault, copy: Path) -> str | None:
    path = copy / fault.file
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole.replace(fault.old, fault.new), encoding="utf-8")
    try:
        return test(copy, fault.file)
    finally:
        path.write_text(whole, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__.split("\n")[0])
    parser.add_argument("word", nargs="?", default="", metavar="WORD", help="only faults whose file or name holds it")
    parser.add_argument("--dry-run", action="store_true", help="only see that every fault has its place")
    options = parser.parse_args()
    faults = [fault for fault in read(FAULTS) if options.word in f"{fault.file} {fault.name}"]
    if problems := [*filter(None, map(misplaced, faults))]:
        sys.exit("\n".join(problems))
    if options.dry_run:
        print(f"{len(faults)} faults have their places")
        return
    survivors = []
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(ROOT, Path(folder, "copy"), ignore=shutil.ignore_patterns(*NOT_COPIED)))
        for package in sorted({fault.file.partition("/")[0] for fault in faults}):
            if problem := test(copy, package):
                sys.exit(f"{package} fails without any fault: {problem}")
        for fault in faults:
            noticed = plant(fault, copy)
            survivors += [fault.name] if noticed is None else []
            print(f"{fault.file:40} {fault.name:40} {noticed or 'SURVIVED'}", flush=True)
    print(f"{len(faults) - len(survivors)} of {len(faults)} faults caught; survived: {', '.join(survivors) or 'none'}")


if __name__ == "__main__":
    main()
