"""What Snakemake records and starts is as ever, with less of its own work between jobs."""

import hashlib
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from snakemake.scheduling.job_scheduler import JobRateLimiter
from snakemake.settings.types import MaxJobsPerTimespan

from mvlpt_workflow.repeats import spare_repeats
from support.snake import run

# Four jobs, one at a time, of two inputs and three outputs each; each changes the input that they share.
SNAKEFILE = """
import hashlib, json
from snakemake.scheduling.job_scheduler import JobScheduler
from mvlpt_workflow.repeats import spare_repeats

digests, looks = [], []

def counted(calls, function):
    def called(*arguments):
        calls.append(arguments)
        return function(*arguments)
    return called

hashlib.file_digest = counted(digests, hashlib.file_digest)
JobScheduler.job_selector = counted(looks, JobScheduler.job_selector)

onstart:
    spare_repeats(workflow)

onsuccess:
    with open("counts.json", "w") as file:
        json.dump([len(digests), len(looks)], file)

rule all:
    input:
        expand("{number}.{part}", number=range(4), part=list("abc"))

rule job:
    input:
        "shared", "own"
    output:
        multiext("{number}", ".a", ".b", ".c")
    shell:
        "sleep .7; echo {wildcards.number} > shared; touch {output}"
"""


def test_a_checksum_a_file_and_a_look_a_job(tmp_path: Path) -> None:
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    for name in ("shared", "own"):
        (tmp_path / name).write_text(name)
    snakefile = str(tmp_path / "Snakefile")
    words = ["--snakefile", snakefile, "--directory", str(tmp_path), "--cores", "1"]
    run([sys.executable, "-m", "snakemake", *words])
    # The rule of all targets is looked for too.
    assert json.loads((tmp_path / "counts.json").read_text()) == [4 * 2, 4 + 1]
    records = [
        json.loads(path.read_text()) for path in (tmp_path / ".snakemake/metadata").iterdir()
    ]
    assert len(records) == 12
    for made in records:
        number = made["shellcmd"].split("echo ")[1][0]
        contents = {"shared": f"{number}\n", "own": "own"}
        assert made["input_checksums"] == {
            name: f"sha256:{hashlib.sha256(content.encode()).hexdigest()}"
            for name, content in contents.items()
        }


@pytest.mark.parametrize(("limit", "stays"), [("100/1s", False), ("100/1m", True), ("5/1s", True)])
def test_a_limit_of_jobs_a_second_that_somebody_set_stays(limit: str, stays: bool) -> None:
    scheduler = SimpleNamespace(
        job_rate_limiter=JobRateLimiter(MaxJobsPerTimespan.parse_choice(limit))
    )
    spare_repeats(SimpleNamespace(persistence=SimpleNamespace(finished=None), scheduler=scheduler))
    assert bool(scheduler.job_rate_limiter) is stays


def test_another_snakemake_keeps_its_repeats() -> None:
    spare_repeats(SimpleNamespace())
    spare_repeats(SimpleNamespace(persistence=SimpleNamespace(finished=None), scheduler=None))
