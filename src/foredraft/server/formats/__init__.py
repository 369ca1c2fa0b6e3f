"""How models write thinking and tool calls: one table of formats, which answers are read by, calls are forced by and
the calls of earlier turns are written by."""
