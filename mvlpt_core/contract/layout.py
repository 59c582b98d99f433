"""Where everything of a study lies: the only place that spells its paths.

Arguments may be Snakemake's placeholders (`"{task}"`) as well as values.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

RANDOM = "random"  # the start of a run that begins with fresh vectors
PROBE, ZERO_SHOT = "linear_probe", "zero_shot"  # the baseline's method, and where its fit begins
FIGURE_SUFFIXES = ("png", "svg", "pdf")
GATHERED = ("scores", "transfer", "replicates", "curves", "outcomes", "truth")


@dataclass(frozen=True)
class Layout:
    """The paths of the study in the folder `root` (results/<study>)."""

    root: str

    @property
    def config(self) -> str:
        return f"{self.root}/config.yaml"

    @property
    def backbone(self) -> str:
        """The backbone's description; its weights lie beside it."""
        return f"{self.root}/backbone/backbone.json"

    @property
    def weights(self) -> str:
        return f"{self.root}/backbone/backbone.safetensors"

    @property
    def report(self) -> str:
        return f"{self.root}/report.html"

    @property
    def plan(self) -> str:
        """What was registered before the first run, where it was."""
        return f"{self.root}/plan.json"

    @property
    def leakage(self) -> str:
        """Images that few-shot samples and test splits have in common."""
        return f"{self.root}/leakage.csv"

    @property
    def logs(self) -> str:
        return f"{self.root}/logs"

    @property
    def benchmarks(self) -> str:
        return f"{self.root}/benchmarks"

    def group(self, name: str) -> str:
        """The members of a named group, a task a line."""
        return f"{self.root}/groups/{name}.txt"

    def mean(self, start: str, group: str) -> str:
        """What a start that is a mean stands for where `group` starts from it: a source and its seeds
        (numbers with commas, or `own`) a line."""
        return f"{self.root}/means/{start}/{group}.txt"

    def sample(self, task: str, shots: object, seed: object) -> list[str]:
        """A few-shot sample: its labels and parts, and its images."""
        stem = f"{self.root}/prepared/{task}/shots{shots}_seed{seed}"
        return [f"{stem}.safetensors", f"{stem}.npy"]

    def test(self, task: str) -> list[str]:
        """A task's classes and test labels, and its test images."""
        stem = f"{self.root}/prepared/{task}/test"
        return [f"{stem}.safetensors", f"{stem}.npy"]

    def sample_features(self, task: str, shots: object, seed: object) -> str:
        """Frozen features of a few-shot sample."""
        return f"{self.root}/features/{task}/shots{shots}_seed{seed}.safetensors"

    def test_features(self, task: str) -> str:
        """Frozen features of a task's test images and class texts."""
        return f"{self.root}/features/{task}/test.safetensors"

    def class_texts(self, task: str) -> str:
        """Frozen features of the visual method's own class texts."""
        return f"{self.root}/features/{task}/class_texts.safetensors"

    def zero_shot(self, task: str) -> str:
        return f"{self.root}/zero_shot/{task}.parquet"

    def _run(self, method: str, group: str, start: str, shots: object, seed: object) -> str:
        return f"{self.root}/runs/{method}/shots{shots}/{group}/{start}/seed{seed}"

    def run(self, method: str, group: str, start: str, shots: object, seed: object) -> str:
        """The score rows of a run."""
        return self._run(method, group, start, shots, seed) + ".parquet"

    def prompt(self, method: str, group: str, start: str, shots: object, seed: object) -> str:
        """The prompt that a run leaves."""
        return self._run(method, group, start, shots, seed) + ".safetensors"

    def screen(self, method: str, target: str, shots: object, seed: object) -> str:
        """What all sources' prompts promise for a target."""
        return f"{self.root}/screen/{method}/shots{shots}/{target}/seed{seed}.parquet"

    @staticmethod
    def group_and_start(path: str) -> tuple[str, str]:
        """The group and the start of a run, from the path of its rows or its prompt."""
        group, start = path.split("/")[-3:-1]
        return group, start

    def gathered(self, name: str) -> str:
        """One of `GATHERED`: rows of all shots."""
        return f"{self.root}/{name}.parquet"

    def benchmark(self, file: str) -> str:
        """A file of one of the benchmarks, which are over all shots."""
        return f"{self.root}/tables/{file}"

    def _of(self, shots: object) -> str:
        return f"{self.root}/shots{shots}"

    def similarity(self, shots: object) -> str:
        return f"{self._of(shots)}/similarity.parquet"

    def correlations(self, shots: object, suffix: str = "parquet") -> str:
        return f"{self._of(shots)}/correlations.{suffix}"

    def table(self, shots: object, name: str) -> str:
        return f"{self._of(shots)}/tables/{name}.csv"

    def figures(self, shots: object) -> str:
        """The folder of figures."""
        return f"{self._of(shots)}/figures"

    def figure(self, shots: object, name: str, suffix: str) -> str:
        return f"{self.figures(shots)}/{name}.{suffix}"

    def captions(self, shots: object) -> str:
        return f"{self.figures(shots)}/captions.csv"

    def all_figures(self, shots: object, names: Iterable[str]) -> list[str]:
        return [self.figure(shots, name, suffix) for name in names for suffix in FIGURE_SUFFIXES]
