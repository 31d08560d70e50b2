"""A labeling config and tasks in, predictions out."""
