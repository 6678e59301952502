"""A receiver of traces that prints them: `python -m examples.print_traces`."""
