"""The micro-batcher: who may wait, what is sealed into a batch, and who hears of it."""
