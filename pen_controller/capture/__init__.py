"""Captures what a host and a pen say to each other, standing between them.

`commands` (`pen record`, `pen decode`) -> `tap` (bytes on, both ways) -> `offers` (the line that a host gets) and
`behind` (work that the bytes never wait for: the file, the screen). The file is `protocols.capture`.
"""
