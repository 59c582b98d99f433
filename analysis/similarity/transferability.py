"""Scores that say, without training, how well a source's view of a target's images fits its labels.

The "source model" of a frozen CLIP is its zero-shot classifier for the source's classes: run on
the target's images it gives logits [N, Z] for Z source classes. Shapes: N images, D features,
Z source classes, C target classes.
"""

import numpy as np


def leep(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Log expected empirical prediction of labels [N] from source class probabilities [N, Z].

    mean log sum_z P(y | z) theta_z, with P the empirical joint. Source: Nguyen et al. 2020, LEEP,
    ICML, eq. 2. Range -inf..0, higher is better; not symmetric; O(N Z C).
    """
    _, index = np.unique(labels, return_inverse=True)
    member = np.eye(int(index.max()) + 1)[index]  # [N, C]
    joint = member.T @ probabilities / len(labels)  # [C, Z]
    marginal = joint.sum(0)
    conditional = joint / np.where(marginal > 0, marginal, 1)
    predicted = (probabilities * conditional[index]).sum(1)
    return float(np.log(np.maximum(predicted, 1e-300)).mean())


def h_score(features: np.ndarray, labels: np.ndarray) -> float:
    """trace(cov(f)^+ cov(E[f | y])) of features [N, D] and labels [N].

    Source: Bao et al. 2019, An Information-Theoretic Approach to Transferability, eq. 4, with a
    pseudo-inverse. Range 0..min(D, C - 1), higher is better; not symmetric; O(N D^2 + D^3).
    """
    _, index = np.unique(labels, return_inverse=True)
    centred = features - features.mean(0)
    member = np.eye(int(index.max()) + 1)[index]
    means = (member.T @ centred / member.sum(0)[:, None])[index]  # [N, D]
    # The energy of the class means in the whitened space.
    _, s, vt = np.linalg.svd(centred, full_matrices=False)
    kept = s > 1e-6 * s[0] if len(s) and s[0] > 0 else np.zeros(len(s), bool)
    whitened = means @ (vt[kept].T / s[kept])
    return float((whitened**2).sum())


def log_me(features: np.ndarray, labels: np.ndarray, iterations: int = 50) -> float:
    """Log maximum evidence per image of a linear model from features [N, D] to labels.

    `labels` are class numbers [N] or multi-hot [N, C]; the mean over classes of each one-hot
    column's log evidence / N, with the fixed-point iteration for alpha and beta. Source: You et
    al. 2021, LogME, ICML, algorithm 1 and eq. 2. Range unbounded, higher is better; not
    symmetric; O(N D^2 + C D iterations). Columns without both values are left out.
    """
    targets = np.asarray(labels, dtype=float)
    if targets.ndim == 1:
        targets = (targets[:, None] == np.unique(targets)).astype(float)
    targets = targets[:, np.ptp(targets, axis=0) > 0]
    if targets.shape[1] == 0:
        return np.nan
    n, d = features.shape
    u, s, _ = np.linalg.svd(np.asarray(features, dtype=float), full_matrices=False)
    sigma = s**2  # eigenvalues of f'f that may be above 0; the other D - len(s) are 0
    z = u.T @ targets  # [r, C]
    z2 = z**2
    outside = np.maximum((targets**2).sum(0) - z2.sum(0), 0)  # energy no feature reaches
    c = targets.shape[1]
    alpha, beta = np.ones(c), np.ones(c)
    for _ in range(iterations):
        t = alpha / beta
        gamma = (sigma[:, None] / (sigma[:, None] + t)).sum(0)
        norm = (sigma[:, None] * z2 / (sigma[:, None] + t) ** 2).sum(0)  # m'm
        rest = (z2 * t**2 / (sigma[:, None] + t) ** 2).sum(0) + outside  # |F m - y|^2
        new_alpha = np.clip(gamma / np.maximum(norm, 1e-12), 1e-8, 1e8)
        new_beta = np.clip((n - gamma) / np.maximum(rest, 1e-12), 1e-8, 1e8)
        done = (np.abs(new_alpha / new_beta - t) <= 1e-3 * t).all()
        alpha, beta = new_alpha, new_beta
        if done:
            break
    t = alpha / beta
    norm = (sigma[:, None] * z2 / (sigma[:, None] + t) ** 2).sum(0)
    rest = (z2 * t**2 / (sigma[:, None] + t) ** 2).sum(0) + outside
    log_det = np.log(alpha + beta * sigma[:, None]).sum(0) + (d - len(s)) * np.log(alpha)
    evidence = (
        n / 2 * np.log(beta)
        + d / 2 * np.log(alpha)
        - n / 2 * np.log(2 * np.pi)
        - beta / 2 * rest
        - alpha / 2 * norm
        - log_det / 2
    )
    return float((evidence / n).mean())
