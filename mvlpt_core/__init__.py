"""Tasks, frozen backbone, prompts, tuning and scoring for studies of prompt transferability.

For use from Python, each imported when it is first asked for:

- `open_backbone(name, pretrained)`: a frozen CLIP, converted once
- `open_task(folder)`: a classification task, its kind read off the folder
- `tune(task, backbone, start)`: a prompt tuned from random or another prompt, with its scores
- `transfer(source, task)`: the same from a source and from scratch, and the gain
- `load(file)`: a prompt as a classifier, with `predict(files)`, `evaluate(task)`, `class_weights()`
- `save(prompt, file)`: a copy of a prompt's file, whole or not at all
- `export(prompt, to, file)`: a prompt for open_clip or transformers
- `InputError`: what all of them raise for a user's mistake, in one sentence
"""

from importlib import import_module

__version__ = "0.2.0"

# Where each lies. Names as text: importing this package costs nothing, and what a study's results
# depend on is found by following import statements, of which these are none.
_PUBLIC = {
    "InputError": "mvlpt_core.contract.errors",
    "export": "mvlpt_core.use.export",
    "load": "mvlpt_core.use.model",
    "open_backbone": "mvlpt_core.use.backbone",
    "open_task": "mvlpt_core.use.task",
    "save": "mvlpt_core.use.model",
    "transfer": "mvlpt_core.use.tune",
    "tune": "mvlpt_core.use.tune",
}
__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'mvlpt_core' has no attribute '{name}'")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
