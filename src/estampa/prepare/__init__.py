"""From stored values to what a model reads: one fitted, serialisable preparation; augmentation; balance."""
