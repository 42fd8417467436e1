"""The RPCs by what they are about; each module has a `run(world)` that asserts as it goes."""
