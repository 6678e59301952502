"""Fuzzing of everything that reads what others wrote; see README.md here."""
