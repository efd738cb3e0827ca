"""The tests, one file for each room."""
