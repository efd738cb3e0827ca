"""A treatment at a terminal: questions, progress, tables, and the demonstration."""
