"""rgkit: measure whether scaling the loss improves training."""
