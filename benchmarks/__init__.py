"""Speed, as ratios measured side by side in one run: `python -m benchmarks`.

One file is one comparison and has `measure(repetitions)`, which yields its rows.
"""
