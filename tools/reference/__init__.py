"""Reference pages made from the declarations in the code: `python -m tools.reference`."""
