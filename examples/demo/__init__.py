"""The main job, end to end, on real handwritten digits: `make demo`."""
