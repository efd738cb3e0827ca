"""The clinic's laptop: the screen by which a clinician prepares, treats, stops and documents.

`commands` (`pen app`) -> `server` (the parts joined, behind the gate `access`) -> `routes` (what came of a request) and
`live` (the connection to each page: STOP, signs of life, snapshots) -> `acts` and `login` (what a page may have done)
-> `laptop` (all they need) -> `desk` (the one pen and treatment on this laptop) -> `Treatment`, and so to the pen.
"""
