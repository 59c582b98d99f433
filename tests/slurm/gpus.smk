# Two jobs of one GPU at a time, and a job of two: what each sees.


rule all:
    input:
        "one.txt",
        "other.txt",
        "both.txt",


rule single:
    output:
        "{name}.txt",
    wildcard_constraints:
        name="one|other",
    resources:
        gpu=1,
        mem_mb=500,
        runtime=5,
    shell:
        # They meet: each waits until the other runs too.
        "touch {wildcards.name}.on;"
        " while [ $(ls *.on | wc -l) -lt 2 ]; do sleep 0.5; done;"
        " echo $CUDA_VISIBLE_DEVICES >> {output}"


rule double:
    input:
        "one.txt",
        "other.txt",
    output:
        "both.txt",
    resources:
        gpu=2,
        mem_mb=500,
        runtime=5,
    shell:
        "echo $CUDA_VISIBLE_DEVICES >> {output}"
