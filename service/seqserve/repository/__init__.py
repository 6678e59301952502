"""Which models and versions there are: the table, how it is loaded, and how it follows the store."""
