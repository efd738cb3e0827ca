"""The clinic's laptop: the screen by which a clinician prepares, treats, stops and documents.

`commands` (`pen app`) -> `server` (what is served) -> `access` (who may speak) and `accounts` (as whom) -> `routes` and
`live` (what a page may ask for) -> `desk` (the one pen and treatment on this laptop).
"""
