"""The pen in software: its firmware, its body, the hand that holds it, and the lines that serve it."""
