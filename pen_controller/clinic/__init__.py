"""The clinic's laptop: the screen by which a clinician prepares, treats, stops and documents.

`commands` (`pen app`) -> `server` (the parts joined, behind the gate `access`) -> `routes` (what came of a request) and
`live` (the connection to each page: STOP, signs of life, snapshots) -> `acts` and `login` (what a page may have done)
-> `laptop` (all they need) -> `desk` (the one pen and treatment on this laptop; `places` where pens may be) ->
`Treatment`, and so to the pen.

Who may do what stands in `acts` (`Needs`, `ACTS`), who may read what in `people.Who`: a clinician all; a viewer reads
everything and does nothing; an engineer practises on a simulated pen, reads of practice only, and at a pen that treats
people sees what it does, but neither case nor answers nor reports. Everybody may STOP.
"""
