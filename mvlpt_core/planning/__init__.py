"""What a study will cost, told before it runs: counts, operations, bytes, and seconds of real steps.

Beside the code that will do the work, because it is counted by the same functions: the schedule, the
text layout, the packs and `backbone.cost`. Nothing here reads a task or starts a job.
"""
