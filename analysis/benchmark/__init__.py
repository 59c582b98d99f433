"""The paper's benchmarks: few shots, from one set of tasks to others, and tasks tuned in groups."""
