"""The HTML report and the tables. One file is one page or one table."""
