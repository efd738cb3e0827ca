"""Keeps what pens publish: it stores every record of every session once, and tells the pens how far it has.

`store` needs SQLAlchemy and `recorder` aiomqtt; only the commands that use them load them.
"""


class StoreError(Exception):
    """The database cannot be opened, read or written; one line that says which and what to do.

    Attributes:
        passing: Whether it may work again by itself, as when its server is back or there is room on the disk.
    """

    def __init__(self, why: str, *, passing: bool = False) -> None:
        super().__init__(why)
        self.passing = passing
