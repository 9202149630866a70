"""From per-example losses to tidy rows and verdicts: intervals, clusters, associations."""
