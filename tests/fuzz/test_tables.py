"""Six hundred tables over separator, encoding, missing word, place of the header, decimal sign, line ends and format.

The values that are read are those that were written, at the lines where they stand; nothing else comes of a table that
is cut off but a message, or the rows that are left.
"""

from __future__ import annotations

import random

import numpy as np
import pandas as pd
import pytest

from auformer.data.cells import LABEL, NUMBER
from auformer.data.table_file import open_table
from auformer.errors import ManifestError
from tests.helpers.saved_tables import NAMES, content, save, ways

pytestmark = pytest.mark.slow
COUNT, GROUPS = 600, 12
KINDS = {"frame": NUMBER, "AU12_r": NUMBER, "AU4_r": NUMBER, "AU1_c": LABEL}


def opened(path):
    return open_table(path, header=lambda names: "path" in names, kinds=lambda name: KINDS.get(name, ""))


def assert_same(table, expected):
    for name in NAMES:
        if name in KINDS:
            np.testing.assert_array_equal(table[name].to_numpy(float), expected[name].to_numpy(float), err_msg=name)
        else:
            assert table[name].tolist() == [text.strip() for text in expected[name]], name


@pytest.mark.parametrize("group", range(GROUPS))
def test_values_are_those_that_were_written(tmp_path, group):
    for seed, way in list(enumerate(ways(COUNT, 1)))[group::GROUPS]:
        expected, path = content(seed), tmp_path / f"{seed}.{way.format}"
        lines = save(expected, way, path)
        try:
            table = opened(path)
            assert_same(table, expected)
            assert table.index.tolist() == lines
        except Exception as error:
            raise AssertionError(f"table {seed}, {way}: {type(error).__name__}: {error}") from error


@pytest.mark.parametrize("group", range(4))
def test_a_table_that_is_cut_off_gives_its_whole_rows_or_a_message(tmp_path, group):
    for seed, way in list(enumerate(ways(160, 2)))[group::4]:
        expected, path = content(seed), tmp_path / f"{seed}.{way.format}"
        save(expected, way, path)
        data = path.read_bytes()
        path.write_bytes(data[: random.Random(seed).randint(1, len(data) - 1)])
        table, message = None, path.name
        try:
            table = opened(path)
        except ManifestError as error:
            message = str(error)
        except Exception as error:
            raise AssertionError(f"table {seed}, {way}: {type(error).__name__}: {error}") from error
        assert path.name in message
        if table is None or not set(NAMES) <= set(table.columns):
            continue  # refused, or cut in its header: whoever needs a column says so
        whole = table.iloc[:-1]  # the end of the last cell may be missing, which no file shows
        if len(whole):
            assert_same(whole, expected.iloc[: len(whole)])


def test_a_sheet_and_the_text_saved_from_it_say_the_same(tmp_path):
    way = ways(1, 3)[0]
    expected = content(7)
    tables = []
    for kind in ("xlsx", "text"):
        path = tmp_path / f"t.{kind}"
        save(expected, type(way)(**{**vars(way), "format": kind, "head": "first"}), path)
        tables.append(opened(path))
    pd.testing.assert_frame_equal(*tables)
