"""The record of every treatment, and so the outbox of its telemetry: a SQLite file, a chain of hashes, a key."""

from pen_controller.journal.file import JournalError
from pen_controller.journal.journal import Journal, SessionInfo
from pen_controller.journal.record import Outlet, Record

__all__ = ["Journal", "JournalError", "Outlet", "Record", "SessionInfo"]
