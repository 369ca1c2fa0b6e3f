"""Plain words that everything else speaks: parameters, statistics, errors. Imports nothing of ours."""
