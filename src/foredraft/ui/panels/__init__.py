"""The parts of pages: one file and one function each, given the `Page` they are built on."""
