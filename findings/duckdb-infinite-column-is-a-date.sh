#!/usr/bin/env bash
# duckdb 2.0.1
#
# read_csv takes a column of numbers whose only values are infinite for dates, since `inf` is a date
# to it too: beside any finite number it is a DOUBLE, alone (a diverged loss that is logged in some
# epochs only) it is a DATE, and arithmetic on it fails in binding. `auto_type_candidates` without
# DATE mends it; a `types` of one's own does as well.
#
# Seen:
#   alone: DATE
#   beside a number: DOUBLE
#   without dates: DOUBLE
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet duckdb==2.0.1
cat > "$folder/look.py" <<'PYTHON'
import pathlib
import sys

import duckdb

folder = pathlib.Path(sys.argv[1])
alone, beside = folder / "alone.csv", folder / "beside.csv"
alone.write_text("step,loss\n0,\n1,inf\n2,\n3,inf\n")
beside.write_text("step,loss\n0,0.5\n1,inf\n2,\n3,inf\n")


def type_of_loss(path, options=""):
    return duckdb.sql(f"describe from read_csv('{path}'{options})").fetchall()[1][1]


print("alone:", type_of_loss(alone))
print("beside a number:", type_of_loss(beside))
print("without dates:", type_of_loss(alone, ", auto_type_candidates=['BIGINT', 'DOUBLE']"))
PYTHON
seen=$("$folder/venv/bin/python" "$folder/look.py" "$folder")
echo "$seen"
test "$seen" = "alone: DATE
beside a number: DOUBLE
without dates: DOUBLE"
