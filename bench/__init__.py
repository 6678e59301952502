"""Measurements that take longer than tests; each prints the table that the documentation shows."""
