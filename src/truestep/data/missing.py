"""Words that stand for no value, in files and frames alike."""

from __future__ import annotations

# Spellings of a missing value, in any case; the second line is what spreadsheets and statistics programs write.
MISSING = ("", "na", "n/a", "nan", "null", "none", "?", "-", "--", "n.a.", "<na>", ".",
           "#n/a", "#na", "#div/0!", "#value!", "#ref!", "#name?", "#num!", "#null!", "k.a.", "missing")  # fmt: skip
LONGEST_MISSING = max(map(len, MISSING))
