"""Speed, as ratios measured side by side in one run: `python -m benchmarks`.

One file is one comparison and offers `measure(repetitions)`, which yields its rows.
"""
