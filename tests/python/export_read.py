"""Reads exports with programs that share no code with what wrote them: the csv module, openpyxl
and DuckDB. Prints, by file, the columns, their types where the format has some, and the rows.

    export_read.py FILE...
"""

import csv
import datetime
import decimal
import json
import sys

import duckdb
import openpyxl


def plain(value):
    if isinstance(value, datetime.datetime):
        at = value if value.tzinfo else value.replace(tzinfo=datetime.timezone.utc)
        return at.astimezone(datetime.timezone.utc).isoformat(timespec="milliseconds")
    if isinstance(value, decimal.Decimal):
        return float(value)
    return value


def rounded(value):
    """Excel keeps times as days with a fraction, which is a millisecond give or take little."""
    if isinstance(value, datetime.datetime):
        return value + datetime.timedelta(microseconds=300)
    return value


def by_csv(path):
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    return {"columns": rows[0], "rows": rows[1:]}


def by_openpyxl(path):
    book = openpyxl.load_workbook(path)
    rows = [[cell for cell in row] for sheet in book.worksheets for row in sheet.iter_rows()]
    kinds = sorted({cell.data_type for row in rows for cell in row})
    values = [[plain(rounded(cell.value)) for cell in row] for row in rows]
    return {"columns": values[0], "rows": values[1:], "kinds": kinds}


def by_duckdb(path):
    session = duckdb.connect()
    described = session.execute("describe select * from read_parquet(?)", [path]).fetchall()
    types = {row[0]: row[1] for row in described}
    # DuckDB hands times with a zone over only with a further package.
    chosen = ", ".join(
        f'make_timestamp(epoch_us("{name}"))' if "WITH TIME ZONE" in kind else f'"{name}"'
        for name, kind in types.items()
    )
    result = session.execute(f"select {chosen} from read_parquet(?)", [path])
    rows = [[plain(value) for value in row] for row in result.fetchall()]
    return {"columns": list(types), "rows": rows, "types": types}


READERS = {"csv": by_csv, "xlsx": by_openpyxl, "parquet": by_duckdb}
found = {}
for path in sys.argv[1:]:
    ending = path.rsplit(".", 1)[1]
    found[ending] = READERS[ending](path)
json.dump(found, sys.stdout)
