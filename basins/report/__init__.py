"""The HTML report: what stands on its page, and how tables are written."""
