"""Do the intervals and tests keep what they promise? Simulated studies with known answers.

`python -m speed.calibration` prints coverage of the intervals of gains, the false discovery
rate, and the false positive rate of every test of association on shuffled gain matrices, with
the test that takes cells as independent beside it, and levels and coverage where tasks are not alike
(`speed.structures`; about 6 minutes on one core; `--shuffles`, `--studies`, `--structured` and
`--seed` change size and draw).
"""

import argparse
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pandas as pd

from mvlpt_analysis.choice import ranking
from mvlpt_analysis.gains import relations
from mvlpt_analysis.gains.image_bootstrap import image_intervals
from mvlpt_analysis.gains.table import gain_table
from mvlpt_analysis.stats import correlation, mrqap, qap, resample, social
from mvlpt_analysis.stats.multiplicity import ALPHA, significant
from mvlpt_analysis.vocabulary import CHOSEN, RANDOM
from mvlpt_core.contract.outcomes import encode_truth

from . import replicates, structures

TASKS = 20


def tasks(n: int) -> list[str]:
    return [f"task{i:02d}" for i in range(n)]


def known_gains(n_tasks: int, rng: np.random.Generator) -> np.ndarray:
    """True gains [T, T]: 0 for three of five pairs, else between 3 and 10 points, up or down."""
    size = rng.uniform(0.03, 0.10, (n_tasks, n_tasks)) * rng.choice([-1, 1], (n_tasks, n_tasks))
    return np.where(rng.random((n_tasks, n_tasks)) < 0.6, 0.0, size)


def seed_study(gains: np.ndarray, n_seeds: int, rng: np.random.Generator) -> pd.DataFrame:
    """A transfer table of several seeds: scratch varies by 1 point around the truth, transfer
    from pair to pair by more or less (most by 0.4 to 2.7 points)."""
    n_tasks = len(gains)
    names = np.array(tasks(n_tasks))
    scratch = 0.5 + rng.normal(0, 0.01, (n_seeds, 1, n_tasks))
    # A seed's few-shot sample moves scratch and transfer alike: that is why they are paired.
    spread = 0.01 * np.exp(rng.normal(0, 0.5, (n_tasks, n_tasks)))
    score = scratch + gains + spread * rng.normal(size=(n_seeds, n_tasks, n_tasks))
    seed, source, target = np.indices(score.shape)
    return pd.DataFrame(
        {
            "method": "text",
            "source": names[source.ravel()],
            "target": names[target.ravel()],
            "seed": seed.ravel() + 1,
            "metric": "accuracy",
            "score": score.ravel(),
            "scratch": np.broadcast_to(scratch, score.shape).ravel(),
            "status": "ok",
        }
    )


def image_study(
    gains: np.ndarray, n_images: int, rng: np.random.Generator
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Transfer table, outcomes and truth of one seed: images are drawn, prompts are given.

    Scratch is right on 60 % of all images. Transfer turns 20 % of the right ones wrong and as
    many wrong ones right as its true gain asks for.
    """
    n_tasks = len(gains)
    names = tasks(n_tasks)
    rows, outcomes = [], []
    for t, target in enumerate(names):
        right = rng.random(n_images) < 0.6
        shared = {"method": "text", "target": target, "seed": 1, "metric": "accuracy"}
        runs = [("scratch", right)]
        for s, source in enumerate(names):
            gained = (gains[s, t] + 0.20 * 0.6) / 0.4
            draw = rng.random(n_images)
            runs.append((source, np.where(right, draw >= 0.20, draw < gained)))
        for source, hit in runs:
            raw = np.where(hit, 0, 1).astype("<u2").tobytes()
            outcomes.append(
                shared | {"source": source, "outcomes": raw, "outcome_kind": "prediction_u16"}
            )
            if source != "scratch":
                rows.append(
                    shared | {"source": source, "score": hit.mean(), "scratch": right.mean()}
                )
    truth = pd.DataFrame({"target": names, "metric": "accuracy", "n": n_images})
    truth["truth"] = encode_truth(np.zeros(n_images, dtype=np.int64))
    return pd.DataFrame(rows).assign(status="ok"), pd.DataFrame(outcomes), truth


def gain_figures(
    studies: int = 50,
    seed: int = 0,
    n_seeds: Sequence[int] = (2, 3, 5),
    n_images: Sequence[int] = (200, 500),
) -> pd.DataFrame:
    """Coverage of 95 % intervals and false discovery rate at 5 %, one row a kind of study.

    Columns: study, coverage (share of off-diagonal pairs whose interval holds the true gain),
    false_discovery_rate (mean over studies of the share of significant pairs whose true gain is
    0), power (share of true gains found), intervals.
    """
    rows = []
    for kind, size in [("seeds", n) for n in n_seeds] + [("images", n) for n in n_images]:
        rng = np.random.default_rng([seed, size])
        held, false, found = [], [], []
        for study in range(studies):
            planted = known_gains(TASKS, rng)
            if kind == "seeds":
                table = gain_table(seed_study(planted, size, rng))
            else:
                transfer, outcomes, truth = image_study(planted, size, rng)
                images = image_intervals(outcomes, truth, replicates=1000, seed=study)
                table = gain_table(transfer, images)
            names = {name: i for i, name in enumerate(tasks(TASKS))}
            true = planted[table["source"].map(names), table["target"].map(names)]
            off = ~table["diagonal"].to_numpy()
            held.append(((table["low"] <= true) & (true <= table["high"]))[off].mean())
            chosen = table["significant"].to_numpy() & off
            false.append((true[chosen] == 0).mean() if chosen.any() else 0.0)
            found.append(chosen[(true != 0) & off].mean())
        rows.append(
            {
                "study": f"{size} {kind}",
                "coverage": np.mean(held),
                "false_discovery_rate": np.mean(false),
                "power": np.mean(found),
                "intervals": studies * TASKS * (TASKS - 1),
            }
        )
    return pd.DataFrame(rows)


def related_gains(
    n_tasks: int,
    n_seeds: int,
    variances: Sequence[float],
    rng: np.random.Generator,
    reciprocity: float = 0.5,
) -> np.ndarray:
    """Gains [K, T, T] of the social relations model: `variances` of source, target and pair, and of
    what each seed adds to the three; the two directions of a pair correlate by `reciprocity`."""

    def layer(source: float, target: float, pair: float) -> np.ndarray:
        mutual = np.triu(rng.normal(size=(n_tasks, n_tasks)), 1)
        own = rng.normal(size=(n_tasks, n_tasks))
        cell = np.sqrt(reciprocity) * (mutual + mutual.T) + np.sqrt(1 - reciprocity) * own
        given = np.sqrt(source) * rng.normal(size=(n_tasks, 1))
        return given + np.sqrt(target) * rng.normal(size=n_tasks) + np.sqrt(pair) * cell

    source, target, pair, *of_seed = variances
    stable = layer(source, target, pair)
    return np.stack([stable + layer(*of_seed) for _ in range(n_seeds)])


def share_coverage(
    studies: int = 200,
    n_tasks: int = TASKS,
    n_seeds: int = 3,
    seed: int = 0,
    shares: Sequence[float] = (0.05, 0.10, 0.50, 0.05, 0.10, 0.20),
) -> pd.DataFrame:
    """Coverage of the 95 % intervals of the shares of variance: component, true share, mean estimate,
    coverage."""
    rng = np.random.default_rng(seed)
    found = [
        social.variance_split(related_gains(n_tasks, n_seeds, shares, rng)) for _ in range(studies)
    ]
    rows = []
    names = (*social.SHARES, *social.SEED_SHARES)
    for place, (name, share) in enumerate(zip(names, shares, strict=True)):
        own = [study[place] for study in found]
        held = np.mean([one.low <= share <= one.high for one in own])
        rows.append((name, share, np.mean([one.value for one in own]), held))
    return pd.DataFrame(rows, columns=["component", "share", "mean", "coverage"])


def rule_figures(studies: int = 200, n_rules: int = 8, seed: int = 0) -> pd.DataFrame:
    """What the choice of a rule for sources claims where no rule works: independent gains of standard
    deviation 1 and `n_rules` independent similarities of 12 tasks.

    Columns: rule; optimism: regret of a random source less the rule's, 0 for an honest rule; beats the
    bar: share of studies in which its regret is significantly below the best average source's.
    """
    n_tasks, claims = (
        12,
        ("one measure", "chosen on other targets", "least regret on the same targets"),
    )
    found: dict[str, list[tuple[float, bool]]] = {claim: [] for claim in claims}
    for study in range(studies):
        rng = np.random.default_rng([seed, study])
        gain, *alike = rng.normal(size=(1 + n_rules, n_tasks, n_tasks))
        gains = _pair_frame(gain, "gain")
        measures = [_pair_frame(x, "value").assign(measure=f"m{i}") for i, x in enumerate(alike)]
        table = ranking.rank_quality(gains, pd.concat(measures), model_measures=())
        table = ranking.summarise_quality(table).query("metric == 'regret1'").set_index("ranker")
        own = [f"m{i}" for i in range(n_rules)]
        mean, difference, p = (table[c].to_dict() for c in ("mean", "difference", "p"))
        names = dict(zip(claims, ("m0", CHOSEN, min(own, key=mean.__getitem__)), strict=True))
        for claim, name in names.items():
            better = significant(p[name]) and difference[name] < 0
            found[claim].append((mean[RANDOM] - mean[name], better))
    rows = [(claim, *np.mean(values, axis=0)) for claim, values in found.items()]
    return pd.DataFrame(rows, columns=["rule", "optimism", "beats the bar"])


def _pair_frame(matrix: np.ndarray, value: str) -> pd.DataFrame:
    """A matrix [T, T] as rows source, target, value."""
    source, target = np.indices(matrix.shape)
    names = np.array(tasks(len(matrix)))
    return pd.DataFrame(
        {"source": names[source.ravel()], "target": names[target.ravel()], value: matrix.ravel()}
    )


def _linked_matrices(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A gain matrix and two correlated similarities [T, T], all with strong task effects.

    Gains have givers and receivers, similarities are cosines of task vectors with a common part:
    cells of a row or a column are alike, as in real studies.
    """
    giver, receiver = rng.normal(size=(TASKS, 1)), rng.normal(size=TASKS)
    gains = giver + receiver + rng.normal(size=(TASKS, TASKS))
    vectors = rng.normal(size=(TASKS, 6)) + 1.5 * rng.random((TASKS, 1))
    other = vectors + rng.normal(size=vectors.shape)
    unit = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (vectors, other)]
    return gains, unit[0] @ unit[0].T, unit[1] @ unit[1].T


def false_positives(shuffles: int = 2000, permutations: int = 199, seed: int = 0) -> pd.DataFrame:
    """Share of shuffled gain matrices on which each test finds an effect at the 5 % level.

    Every 100 shuffles a new gain matrix and new similarities are drawn. Shuffling the tasks of a
    gain matrix removes all that links it to the similarities. Columns: test; permutation, which
    should be 0.05 (standard error 0.005 for 2,000 shuffles); naive, of the test that takes cells,
    or the coefficients of targets or sources, as independent.
    """
    found: dict[str, tuple[list[float], list[float]]] = {}
    for draw, start in enumerate(range(0, shuffles, 100)):
        rng = np.random.default_rng([seed, draw])
        gains, visual, label = _linked_matrices(rng)
        first, second = (int(s) for s in rng.integers(0, 2**31, 2))
        order = resample.permutations(TASKS, min(100, shuffles - start), first)
        shuffled = gains[order[:, :, None], order[:, None, :]]  # [K, T, T]
        permuted = resample.permutations(TASKS, permutations, second)
        for test, p, naive in _all_tests(shuffled, visual, label, permuted):
            sofar = found.setdefault(test, ([], []))
            sofar[0].extend(p)
            sofar[1].extend(naive)
    return pd.DataFrame(
        [(test, _share_below(p), _share_below(naive)) for test, (p, naive) in found.items()],
        columns=["test", "permutation", "naive"],
    )


def _all_tests(
    shuffled: np.ndarray, visual: np.ndarray, label: np.ndarray, permuted: np.ndarray
) -> Iterator[tuple[str, Iterable[float], Iterable[float]]]:
    """Name, permutation p and naive p of every test on gain matrices [K, T, T]."""
    index = qap.cell_index(permuted)
    for scope in correlation.SCOPES:
        for statistic in correlation.STATISTICS:
            p = correlation.p_values(visual[None], shuffled, permuted, scope, statistic)[0]
            naive = [_naive_of(visual, y, scope, statistic) for y in shuffled]
            yield f"{scope} {statistic}", p, naive
    parts = [mrqap.double_semipartial(y, visual, label[None], index) for y in shuffled]
    yield "partial Mantel, MRQAP", [r.p for r in parts], [r.p_naive for r in parts]
    for effect in ("family", "style"):
        yield f"{effect} effect", *_effect_p(shuffled, effect, permuted)


def _share_below(p: Sequence[float] | np.ndarray) -> float:
    """Share of p-values at or below `ALPHA`."""
    return float((np.asarray(p) <= ALPHA).mean())


def _naive_of(x: np.ndarray, y: np.ndarray, scope: str, statistic: str) -> float:
    """p of the test that takes cells, or the coefficients of groups, as independent."""
    off = ~np.eye(TASKS, dtype=bool)
    groups = correlation.group_values(x, y, scope, statistic)
    return correlation.naive_p(x[off], y[off], groups, scope, statistic)


def _effect_p(
    shuffled: np.ndarray, effect: str, permuted: np.ndarray
) -> tuple[list[float], list[float]]:
    """Permutation and naive p of the effect of planted groups (5 families x 4 styles)."""
    groups = pd.DataFrame({"task": tasks(TASKS)})
    groups = groups.assign(family=groups.index // 4, style=groups.index % 4)
    relation = relations.relation_matrix(groups, tasks(TASKS))
    same, neither = relation == effect, relation == "neither"
    p, naive = [], []
    for matrix in shuffled:
        means = [relations.target_means(matrix, chosen)[0] for chosen in (same, neither)]
        drawn = relations.permuted_effects(matrix, same, neither, permuted)
        p.append(float(qap.p_value(np.array((means[0] - means[1]).mean()), drawn)))
        used = same | neither
        # As if cells were independent: correlation of gain with membership.
        r = correlation.coefficient(same[used].astype(float), matrix[used], "pearson")
        naive.append(correlation.correlation_p(r, int(used.sum())))
    return p, naive


def main(argv: Sequence[str] | None = None) -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(prog="python -m speed.calibration", description=__doc__)
    parser.add_argument("--shuffles", type=int, default=2000, help="shuffled matrices a test")
    parser.add_argument("--permutations", type=int, default=199, help="permutations a test")
    parser.add_argument("--studies", type=int, default=50, help="simulated studies of each kind")
    parser.add_argument("--structured", type=int, default=1000, help="studies of each structure")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(argv)
    print("Gains: 95 % intervals, Benjamini-Hochberg at 5 %")
    print(gain_figures(given.studies, given.seed).round(4).to_string(index=False))
    print(
        "\nOne seed and a tenth of the runs repeated: what intervals hold, at q <= 0.05 what is claimed"
    )
    found = replicates.replicate_figures(2 * given.studies, given.seed)
    print(found.round(3).to_string(index=False))
    print("\nShares of variance: 95 % intervals, 20 tasks, 3 seeds")
    print(share_coverage(4 * given.studies, seed=given.seed).round(3).to_string(index=False))
    print("\nRules for a source where none works")
    print(rule_figures(4 * given.studies, seed=given.seed).round(3).to_string(index=False))
    print(f"\nFalse positives at the 5 % level on {given.shuffles} shuffled gain matrices")
    table = false_positives(given.shuffles, given.permutations, given.seed)
    print(table.round(4).to_string(index=False))
    print(f"\nTests that reject at the 5 % level, {given.structured} studies of each structure")
    found = structures.levels(given.structured, given.permutations, given.seed)
    print(found.round(3).to_string(index=False))
    print("\nCoverage of 95 % intervals in the same")
    found = structures.coverage(given.structured, given.permutations, given.seed)
    print(found.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
