"""Postgres: runs, versions, decisions and durable runs of a project in one database for many machines (extra `postgres`)."""

from tenfold.adapters.postgres.database import PostgresDatabase as PostgresDatabase
from tenfold.adapters.postgres.moving import move as move

__all__ = ["PostgresDatabase", "move"]
