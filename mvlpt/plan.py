"""What a study will cost and can find, printed before it runs; and its plan, registered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch

from mvlpt_analysis.gains.pilot import TESTBED, pilot_noise
from mvlpt_analysis.parallel import cores as available_cores
from mvlpt_analysis.read.pairs import read_frame
from mvlpt_analysis.read.study import between, of_shots
from mvlpt_analysis.stats.multiplicity import ALPHA
from mvlpt_analysis.stats.power import POWER, Noise, smallest_mean_gain, smallest_pair_gain
from mvlpt_analysis.vocabulary import MEASURES
from mvlpt_core.backbone.device import keep_freed_memory, resolve_device, resolve_precision
from mvlpt_core.backbone.named import located_backbone
from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.layout import Layout
from mvlpt_core.contract.registered import GAINS, Registered, register
from mvlpt_core.planning.counts import Counter, runs_by_kind
from mvlpt_core.planning.forecast import Machine, calibrate, memory
from mvlpt_core.planning.shapes import random_backbone, read_shapes
from mvlpt_core.planning.sizes import task_size
from mvlpt_workflow.configuration import (
    Checked,
    check_study,
    counted,
    read_configuration,
    study_digest,
)
from mvlpt_workflow.jobs import (
    analysed,
    fixed_cost,
    jobs_by_rule,
    packed,
    screened,
    used_tasks,
)

_FIRST_RULES = ("planning", "config", "backbone")
_GPU_RULES = ("features_test", "features_sample", "class_texts", "tune", "screen")


@dataclass(frozen=True)
class Cost:
    """Processor (or device) seconds of all jobs of each rule."""

    seconds: Mapping[str, float]

    @property
    def total(self) -> float:
        return sum(self.seconds.values())

    def taken(self, cores: int, threads: int, on_gpu: bool) -> float:
        """Seconds on `cores` cores: jobs side by side, but one at a time where they share a GPU, and after
        what comes before all of them."""
        at_once = max(1, cores // threads)
        first = sum(self.seconds.get(rule, 0.0) for rule in _FIRST_RULES)
        shared = sum(self.seconds.get(rule, 0.0) for rule in _GPU_RULES)
        rest = (self.total - first - shared) / max(1, cores)
        return first + rest + shared / (1 if on_gpu else at_once)


def print_plan(
    config: str,
    rate: float | None,
    timed: bool,
    device: str | None,
    cores: int | None,
    pilot: Path | None,
    changes: Sequence[str] = (),
) -> None:
    """Print the plan of a study with `changes`: `rate` in TFLOP/s, or `timed` here on `device`, or
    without times."""
    checked = checked_study(config, changes)
    counter = study_counter(checked)
    noise, noted = noise_of(pilot, analysed(checked))
    machine, source = None, ""
    if rate is not None:
        machine = Machine.of_rate(1e12 * rate, checked.study.methods.by_name())
        source = f"{rate:g} TFLOP/s as given" + (f" for {device}" if device else "")
    elif timed:
        where = device or checked.study.device
        machine = measured(checked, counter, where)
        source = f"timed here (device {where}, {counted(checked.study.threads, 'thread')})"
    for line in plan_lines(checked, counter, machine, source, cores or available_cores()):
        print(line)
    print()
    for line in gain_lines(checked, counter, noise, noted):
        print(line)


def checked_study(config: str, changes: Sequence[str] = ()) -> Checked:
    """The study of a configuration with `changes`, its data not looked at: a plan can be made elsewhere."""
    return check_study(read_configuration(config, changes), config, open_tasks=False)


def study_counter(checked: Checked) -> Counter:
    """Counts of a study, on towers without weights."""
    study, rows = checked.study, checked.suite | checked.sources
    sizes = {task: task_size(rows[task], study.data_root) for task in used_tasks(checked)}
    shapes = read_shapes(located_backbone(study.backbone.name))
    # What a device gains from bf16 is known on that device alone: bytes are fp32's unless it is set.
    where = torch.device("meta")
    width = shapes["vision_cfg"]["width"]
    precision = resolve_precision(study.backbone.precision, where, width)
    towers = random_backbone(shapes, where, precision)
    return Counter(study, checked.runs, list(packed(checked)), sizes, towers)


def measured(checked: Checked, counter: Counter, device: str) -> Machine:
    """This machine, timed on towers of the study's shapes with random weights."""
    where = resolve_device(device)
    keep_freed_memory(where)
    shapes = read_shapes(located_backbone(checked.study.backbone.name))
    width = shapes["vision_cfg"]["width"]
    precision = resolve_precision(checked.study.backbone.precision, where, width)
    towers = random_backbone(shapes, where, precision)
    return calibrate(counter, towers)


def study_cost(checked: Checked, counter: Counter, machine: Machine) -> Cost:
    """Seconds by rule."""
    jobs = jobs_by_rule(checked)
    study = checked.study
    tasks = len(checked.suite)
    pairs = tasks * (tasks - 1) * len(study.methods.by_name())
    images, operations = counter.frozen()
    seconds = {
        rule: count * machine.start * fixed_cost(rule, pairs)
        for rule, count in (jobs | {"planning": 1, "scheduling": sum(jobs.values())}).items()
        if rule != "tune"
    }
    seconds["tune"] = sum(job.seeds * machine.job(job, counter.backbone) for job in counter.jobs)
    for name, operations in screening(checked, counter).items():
        seconds["screen"] += len(study.seeds) * machine.steps[name].seconds(operations)
    drawn = images if any(r.kind != "testbed" for r in checked.suite.values()) else 0
    seconds["prepare_test"] += drawn * machine.image  # of samples and test splits together
    seconds["features_test"] += machine.frozen.seconds(operations)
    return Cost(seconds)


def screening(checked: Checked, counter: Counter) -> dict[str, float]:
    """Operations of screening all pairs at one seed, by method; nothing where the study has none."""
    sources = {shots: len(screened(checked, shots)) for shots in analysed(checked)}
    return {
        name: sum(
            counter.screening(settings, task, shots, count)
            for task in checked.suite
            for shots, count in sources.items()
            if count
        )
        for name, settings in checked.study.methods.by_name().items()
        if any(sources.values())
    }


def plan_lines(
    checked: Checked, counter: Counter, machine: Machine | None, source: str, cores: int
) -> Iterator[str]:
    """The plan of a study in lines; without a `machine` no times. `source`: where its speed is from."""
    study = checked.study
    methods = study.methods.by_name()
    yield checked.summary()
    kinds = runs_by_kind(checked.runs, len(methods), len(study.seeds))
    yield _row("runs", _list(kinds))
    jobs = jobs_by_rule(checked)
    yield _row("jobs", f"{sum(jobs.values()):,}: {_list(jobs)}")
    assumed = [task for task, size in counter.sizes.items() if size.assumed]
    if assumed:
        size = counter.sizes[assumed[0]]
        yield _row(
            "assumed",
            f"{size.classes} classes and {size.test:,} test images of {_tasks(assumed)}, which "
            "neither the suite nor data describe",
        )
    images, frozen = counter.frozen()
    yield _row("images", f"{images:,} read and encoded once (test splits and samples)")
    yield ""
    yield from _operations(checked, counter, frozen)
    yield ""
    yield _row("disk", _bytes(counter.disk()))
    if machine is None:
        yield _row("time", "not known: --calibrate times this machine, --rate takes a rate")
        return
    cost = study_cost(checked, counter, machine)
    on_gpu = machine.on_gpu
    yield _row("speed", source)
    if source.startswith("timed"):
        rates = {name: machine.steps[name].rate for name in methods}
        yield _row("", "steps " + ", ".join(f"{n} {_rate(r)}" for n, r in rates.items()))
        yield _row("", f"a job starts in {machine.start:.1f} s")
    unit = "GPU and cores" if on_gpu else counted(cores, "core")
    taken = cost.taken(cores, study.threads, on_gpu)
    yield _row(
        "time", f"{time_text(taken)} on {unit}; {time_text(cost.total)} of all jobs together"
    )
    parts = sorted(cost.seconds.items(), key=lambda item: -item[1])[:6]
    yield _row("", "most of it: " + ", ".join(f"{rule} {time_text(s)}" for rule, s in parts))
    peaks = memory(counter, machine)
    yield _row("memory", "a job at most " + ", ".join(f"{m} {_bytes(b)}" for m, b in peaks.items()))


def time_text(seconds: float) -> str:
    """Seconds as a reader says them."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"


def _operations(checked: Checked, counter: Counter, frozen: float) -> Iterator[str]:
    """The table of tuning: steps, images, operations by method."""
    yield f"{'method':10} {'steps':>14} {'images':>16} {'tuning':>10} {'scoring':>10}  (operations)"
    for method in checked.study.methods.by_name():
        own = [(j.seeds, p) for j in counter.jobs if j.method == method for p in j.portions]
        steps = sum(seeds * p.steps * p.runs for seeds, p in own)
        images = sum(seeds * p.steps * p.batch * p.runs for seeds, p in own)
        work = [sum(n * getattr(p, what) for n, p in own) for what in ("tuning", "scoring")]
        yield f"{method:10} {steps:>14,} {images:>16,} {_flop(work[0]):>10} {_flop(work[1]):>10}"
    promised = len(checked.study.seeds) * sum(screening(checked, counter).values())
    if promised:
        yield f"{'screening':10} {'':>14} {'':>16} {_flop(promised):>10}"
    yield f"{'frozen':10} {'':>14} {'':>16} {'':>10} {_flop(frozen):>10}"


def gain_lines(
    checked: Checked, counter: Counter, noise: Mapping[str, Noise], source: str
) -> Iterator[str]:
    """The smallest gains, in points, that the design tells from 0, by method."""
    seeds, tasks = len(checked.study.seeds), list(checked.suite)
    tested = sorted(counter.tested(task) for task in tasks)
    pairs = len(tasks) * (len(tasks) - 1)
    yield f"smallest gain told from 0 (alpha {ALPHA}, two-sided, power {POWER}), in points"
    yield f"  noise: {source}"
    again = max(map(len, checked.runs.replicates.values()), default=0)
    if again:
        yield f"  one seed: its intervals hold the seed noise that {again:,} runs a method, repeated, show"
    elif seeds == 1:
        yield "  one seed: its own interval holds test images alone, and is too narrow for these claims"
    yield f"{'method':10} {'one pair':>16} {'any of ' + format(pairs, ','):>16} {'mean of pairs':>16}"
    for method in checked.study.methods.by_name():
        if method not in noise:
            yield f"{method:10} {'no pilot':>16}"
            continue
        own = noise[method]
        shown = []
        for alpha in (ALPHA, ALPHA / pairs if pairs else ALPHA):
            ends = [smallest_pair_gain(own, seeds, n, alpha) for n in (tested[-1], tested[0])]
            shown.append(_span(*ends))
        mean = smallest_mean_gain(own, seeds, len(tasks)) if len(tasks) > 1 else float("nan")
        yield f"{method:10} {shown[0]:>16} {shown[1]:>16} {_points(mean):>16}"
    yield (
        f"  one pair: named beforehand; any: after Bonferroni; from the largest to the smallest test "
        f"split ({tested[-1]:,} and {tested[0]:,} images)"
    )


def noise_of(pilot: Path | None, shots: Sequence[int]) -> tuple[dict[str, Noise], str]:
    """The noise of a pilot study's gains, or that of the built-in testbed, and where it is from."""
    if pilot is None:
        return dict(TESTBED), "the built-in testbed (8 shots); --pilot takes a study of two seeds"
    at = Layout(str(pilot))
    frames = {name: read_frame(at.gathered(name)) for name in ("transfer", "outcomes", "truth")}
    transfer = frames["transfer"]
    known = sorted({int(k) for k in between(transfer, set(transfer["target"]))["shots"]})
    if not known:
        raise InputError(f"--pilot {pilot}: no task started from another's prompt: expected some")
    chosen = next((k for k in shots if k in known), known[0])
    parts = [of_shots(frames[name], chosen) for name in ("transfer", "outcomes")]
    return pilot_noise(parts[0], parts[1], frames["truth"]), f"{pilot}, {chosen} shots"


def register_plan(
    config: str, method: str, gain: str, similarity: str, margin: float
) -> tuple[Path, Registered]:
    """Write the study's plan; raises `InputError` for a choice that the study does not have."""
    checked = checked_study(config)
    study = checked.study
    for value, known, option in (
        (method, list(study.methods.by_name()), "method"),
        (gain, list(GAINS), "gain"),
        (similarity, list(MEASURES), "similarity"),
    ):
        if value not in known:
            raise InputError(f"--{option} is '{value}': expected one of {', '.join(known)}")
    shots = analysed(checked)
    pairs = [pair for k in shots for pair in checked.runs.pairs[k]]
    if not any({*pair} <= checked.suite.keys() and pair[0] != pair[1] for pair in pairs):
        raise InputError(
            f"--register: {config} starts no task from another's prompt: expected a transfer study, which "
            "a plan's gain and similarity are of"
        )
    if not 0 <= margin < 100:
        raise InputError(f"--margin is {margin:g}: expected points, at least 0 and below 100")
    plan = Registered(
        study.study,
        method,
        gain,
        similarity,
        float(margin),
        tuple(study.seeds),
        tuple(shots),
        study_digest(checked),
        datetime.now(UTC).date().isoformat(),
    )
    return register(plan, f"results/{study.study}"), plan


def _row(name: str, text: str) -> str:
    return f"{name:10} {text}"


def _list(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items() if count)


def _tasks(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


def _scaled(value: float, units: Sequence[str], step: float = 1000.0) -> str:
    for unit in units[:-1]:
        if value < step:
            return f"{value:.3g} {unit}"
        value /= step
    return f"{value:.3g} {units[-1]}"


def _flop(value: float) -> str:
    return _scaled(value / 1e9, ("G", "T", "P", "E"))


def _rate(value: float) -> str:
    return _scaled(value / 1e9, ("GFLOP/s", "TFLOP/s", "PFLOP/s"))


def _bytes(value: float) -> str:
    return _scaled(value / 1e6, ("MB", "GB", "TB"))


def _points(value: float) -> str:
    if value != value:
        return "no tasks"
    return f"{100 * value:.1f}" if value < 1 else "above 100"


def _span(low: float, high: float) -> str:
    ends = [_points(value) for value in (low, high)]
    return ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"
