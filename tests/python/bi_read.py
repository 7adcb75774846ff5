"""Reads every view of schema `bi` with two drivers that share no code: psycopg (libpq's protocol
in a Python package) and psqlODBC through unixODBC. Prints both readings as JSON.

    bi_read.py ADDRESS...
"""

import datetime
import decimal
import json
import sys
import uuid
from urllib.parse import unquote, urlparse

import psycopg
import pyodbc

# As uuid.UUID, like psycopg; else in capitals.
pyodbc.native_uuid = True

VIEWS = "select table_name from information_schema.views where table_schema = 'bi' order by 1"
SCALARS = (str, int, float, bool, decimal.Decimal, datetime.datetime, uuid.UUID, type(None))


def plain(value):
    """A value in one form for both drivers; fails for what is no scalar."""
    if not isinstance(value, SCALARS):
        raise TypeError(f"{value!r} is no plain value")
    if isinstance(value, datetime.datetime):
        # psqlODBC gives times of the session's zone, which is UTC here, without saying so.
        at = value if value.tzinfo else value.replace(tzinfo=datetime.timezone.utc)
        return at.astimezone(datetime.timezone.utc).isoformat(timespec="microseconds")
    if isinstance(value, decimal.Decimal):
        return str(value.normalize() if value else decimal.Decimal(0))
    if isinstance(value, uuid.UUID):
        return str(value).lower()
    return value


def read(cursor):
    cursor.execute(VIEWS)
    views = [row[0] for row in cursor.fetchall()]
    found = {}
    for view in views:
        cursor.execute(f'select * from bi."{view}"')
        names = [column[0] for column in cursor.description]
        rows = [dict(zip(names, map(plain, row))) for row in cursor.fetchall()]
        found[view] = sorted(rows, key=lambda row: json.dumps(row, sort_keys=True))
    return found


def by_psycopg(address):
    with psycopg.connect(address, options="-c timezone=UTC") as connection:
        return read(connection.cursor())


def by_odbc(address):
    url = urlparse(address)
    # Booleans as such: the driver calls them text otherwise.
    connection = pyodbc.connect(
        "Driver={PostgreSQL Unicode};"
        f"Servername={url.hostname};Port={url.port};Database={url.path[1:]};"
        f"Username={unquote(url.username)};Password={unquote(url.password)};"
        "BoolsAsChar=0;ConnSettings=set timezone to 'UTC'",
        readonly=True,
    )
    try:
        return read(connection.cursor())
    finally:
        connection.close()


def main():
    readings = {"psycopg": {}, "odbc": {}}
    for address in sys.argv[1:]:
        readings["psycopg"].update(by_psycopg(address))
        readings["odbc"].update(by_odbc(address))
    json.dump(readings, sys.stdout)


main()
