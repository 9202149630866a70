"""Tables of the papers and ours, from tidy rows alone. One file is one table.

Each offers `table(tables, **options) -> Table`, which reads rows and recomputes nothing.
"""
