"""Developers' measurements, which do not ship: `python -m benchmarks.NAME --help`. Users have `foredraft bench`."""
