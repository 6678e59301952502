"""Other servers on the same model: each installed apart, started, asked and ended as ours is."""
