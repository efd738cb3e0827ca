"""Keeps what pens publish: it stores every record of every session once, and tells the pens how far it has.

`store` needs SQLAlchemy and `recorder` aiomqtt; only the commands that use them load them.
"""


class StoreError(Exception):
    """The database cannot be opened, read or written; one line that says which and what to do."""
