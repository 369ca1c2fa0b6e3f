"""Chat formats: how models write thinking and tool calls. One table, by which answers are parsed, calls are forced, and
the calls of earlier turns are written."""
