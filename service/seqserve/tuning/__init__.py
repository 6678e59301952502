"""Measures how long a model's batches take, and proposes settings that keep to a bound."""
