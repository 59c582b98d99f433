"""Image-classification tasks: readers of each kind, few-shot samples, preparation and checks."""
