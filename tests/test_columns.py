"""Columns of tables: kinds, levels, values as floats, and what is refused, for pandas and polars."""

import copy
import datetime
import pickle
import subprocess
import sys
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest

from imbalanced_torch._data.columns import MAX_LEVELS, Columns, is_table

NAN = np.nan
LIBRARIES = pytest.mark.parametrize("library", [pd, pl], ids=["pandas", "polars"])
LINE = "skrub.tabular_pipeline(ImbalancedNetClassifier()).fit(X, y)"
MIXED = pd.DataFrame(
    {"age": [30, 41, 25], "smokes": [True, False, True], "sex": ["m", "f", None], "tsh": [0.5, NAN, 2]}
)


def as_in(library, table):
    """Return a table of pandas as one of the library; NaN becomes null in polars."""
    if library is pd:
        return table.copy()
    return pl.DataFrame(table.astype(object).where(table.notna(), None).to_dict("list"), strict=False)


def objects(*values):
    return pd.Series(values, dtype=object)


def polars(values, dtype=None):
    return pl.Series("x", values, dtype=dtype, strict=False)


#: name -> a column, its kind, its levels, its values.
COLUMNS = {
    "ints": (pd.Series([1, 2, 3]), "number", None, [1, 2, 3]),
    "floats": (pd.Series([0.5, NAN, np.inf]), "number", None, [0.5, NAN, np.inf]),
    "nullable-ints": (pd.Series([1, None, 3], dtype="Int64"), "number", None, [1, NAN, 3]),
    "nullable-floats": (pd.Series([0.5, None, 3], dtype="Float32"), "number", None, [0.5, NAN, 3]),
    "decimals": (objects(Decimal("1.5"), None, Decimal(2)), "number", None, [1.5, NAN, 2]),
    "number-objects": (objects(1, 2.5, pd.NA), "number", None, [1, 2.5, NAN]),
    "numpy-objects": (objects(np.float32(1), np.int8(2), None), "number", None, [1, 2, NAN]),
    "sparse": (pd.Series(pd.arrays.SparseArray([0.0, 0, 2])), "number", None, [0, 0, 2]),
    "all-none": (objects(None, None, None), "number", None, [NAN] * 3),
    "all-nan": (pd.Series([NAN] * 3), "number", None, [NAN] * 3),
    "all-missing-strings": (pd.Series([None] * 3, dtype="string"), "number", None, [NAN] * 3),
    "bools": (pd.Series([True, False, True]), "boolean", None, [1, 0, 1]),
    "nullable-bools": (pd.Series([True, None, False], dtype="boolean"), "boolean", None, [1, NAN, 0]),
    "bool-objects": (objects(True, None, False), "boolean", None, [1, NAN, 0]),
    "string-objects": (objects("b", None, "a"), "category", ("a", "b"), [1, NAN, 0]),
    "strings-and-nan": (objects("b", NAN, "a"), "category", ("a", "b"), [1, NAN, 0]),
    "strings": (pd.Series(["b", pd.NA, "a"], dtype="string"), "category", ("a", "b"), [1, NAN, 0]),
    "numerals": (objects("10", "9", ""), "category", ("", "10", "9"), [1, 2, 0]),
    "categories": (pd.Series(pd.Categorical(["q", None, "p"], ["z", "q", "p"])), "category", ("p", "q"), [1, NAN, 0]),
    "ordered": (pd.Series(pd.Categorical(["q", "p", "q"], ["q", "p"], True)), "category", ("p", "q"), [1, 0, 1]),
    "int-categories": (pd.Series(pd.Categorical([30, 4, None])), "category", (4, 30), [1, 0, NAN]),
    "bool-categories": (pd.Series(pd.Categorical([True, False, None])), "category", (False, True), [1, 0, NAN]),
    "polars-ints": (polars([1, None, 3]), "number", None, [1, NAN, 3]),
    "polars-floats": (polars([0.5, None, NAN]), "number", None, [0.5, NAN, NAN]),
    "polars-decimals": (polars([Decimal("1.5"), None, Decimal("2.0")]), "number", None, [1.5, NAN, 2]),
    "polars-nulls": (polars([None] * 3), "number", None, [NAN] * 3),
    "polars-null-strings": (polars([None] * 3, pl.String), "number", None, [NAN] * 3),
    "polars-bools": (polars([True, None, False]), "boolean", None, [1, NAN, 0]),
    "polars-strings": (polars(["b", None, "a"]), "category", ("a", "b"), [1, NAN, 0]),
    "polars-categories": (polars(["q", None, "p"], pl.Categorical), "category", ("p", "q"), [1, NAN, 0]),
    "polars-enum": (polars(["q", None, "p"], pl.Enum(["z", "q", "p"])), "category", ("p", "q"), [1, NAN, 0]),
}


def table_of(column, name="x"):
    return pd.DataFrame({name: column}) if isinstance(column, pd.Series) else pl.DataFrame({name: column})


@pytest.mark.parametrize(("column", "kind", "levels", "values"), COLUMNS.values(), ids=COLUMNS)
def test_a_column_has_a_kind_levels_and_values(column, kind, levels, values):
    table = table_of(column)
    columns = Columns.of(table)
    assert (columns.names, columns.kinds, columns.levels) == (("x",), (kind,), (levels,))
    assert columns.n_levels.tolist() == [len(levels or ())]
    np.testing.assert_array_equal(columns.values(table), np.array([values], float).T)


@pytest.mark.parametrize("column", [case[0] for case in COLUMNS.values()], ids=COLUMNS)
def test_a_column_may_be_all_missing_later_and_of_no_rows(column):
    table = table_of(column)
    columns = Columns.of(table)
    for later in (pd.DataFrame({"x": objects(None, None)}), pl.DataFrame({"x": [None, None]})):
        assert np.isnan(columns.values(later)).all()
    assert columns.values(table[:0]).shape == (0, 1)
    assert Columns.of(table[:0]).names == ("x",)


def test_arrow_columns_are_as_others():
    pa = pytest.importorskip("pyarrow")
    table = pd.DataFrame(
        {
            "i": pd.array([1, None, 3], "int64[pyarrow]"),
            "b": pd.array([True, None, False], "bool[pyarrow]"),
            "s": pd.array(["x", None, "a"], pd.ArrowDtype(pa.string())),
        }
    )
    assert Columns.of(table).kinds == ("number", "boolean", "category")
    np.testing.assert_array_equal(Columns.of(table).values(table), [[1, 1, 1], [NAN] * 3, [3, 0, 0]])


@LIBRARIES
def test_a_table_becomes_one_array_and_stays_as_it_is(library):
    table = as_in(library, MIXED)
    before = copy.deepcopy(table)
    columns = Columns.of(table)
    values = columns.values(table)
    np.testing.assert_array_equal(values, [[30, 1, 1, 0.5], [41, 0, 0, NAN], [25, 1, NAN, 2]])
    assert values.flags.c_contiguous
    assert table.equals(before)
    assert columns.kinds == ("number", "boolean", "category", "number")
    for same in (copy.deepcopy(columns), pickle.loads(pickle.dumps(columns)), Columns.of(MIXED)):
        assert same == columns
        np.testing.assert_array_equal(same.values(table), values)


@pytest.mark.parametrize("n", [5, 20_000])
@LIBRARIES
def test_many_rows_are_encoded_as_few_are(library, n):
    """Few rows take another way in polars, and many are written part by part."""
    rng = np.random.default_rng(0)
    codes, numbers = rng.integers(-1, 5, n), rng.normal(size=n)
    words = [None if code < 0 else "abcde"[code] for code in codes]
    table = library.DataFrame({"word": words, "number": numbers})
    columns = Columns(("word", "number"), ("category", "number"), (("a", "b", "c", "d"), None))
    expected = np.where(codes < 0, NAN, np.where(codes == 4, -1, codes))
    np.testing.assert_array_equal(columns.values(table), np.column_stack([expected, numbers]))


NARROW = {
    "float32": True,
    "float16": True,
    "int16": True,
    "uint8": True,
    "int32": False,
    "float64": False,
    "uint64": False,
}


@pytest.mark.parametrize(("dtype", "narrow"), NARROW.items(), ids=NARROW)
@LIBRARIES
def test_values_are_float32_where_that_holds_them(library, dtype, narrow):
    numbers = np.array([1, 2], dtype)
    if library is pl and dtype == "float16":
        numbers = pl.Series(numbers.astype(np.float32))
    table = library.DataFrame({"n": numbers, "s": ["x", "y"], "b": [True, False]})
    assert Columns.of(table).values(table).dtype == (np.float32 if narrow else np.float64)


@pytest.mark.parametrize("later", [pd, pl], ids=["then-pandas", "then-polars"])
@LIBRARIES
def test_unseen_levels_new_missing_values_and_other_orders_are_fine(library, later):
    columns = Columns.of(as_in(library, MIXED))
    new = as_in(
        later, pd.DataFrame({"sex": ["x", None, "f"], "tsh": [1, 2, 3], "smokes": [1, 0, 1], "age": [NAN, 1, 2]})
    )
    np.testing.assert_array_equal(columns.values(new), [[NAN, 1, -1, 1], [1, 0, NAN, 2], [2, 1, 0, 3]])


@pytest.mark.parametrize(
    "later",
    [
        pd.Series(pd.Categorical(["b", "z", None])),
        pd.Series(["b", "z", None], dtype="string"),
        objects("b", "z", NAN),
        polars(["b", "z", None], pl.Categorical),
        polars(["b", "z", None], pl.Enum(["z", "b"])),
    ],
    ids=["categorical", "string", "object", "polars-categorical", "polars-enum"],
)
def test_a_category_may_have_another_type_later(later):
    columns = Columns.of(pd.DataFrame({"x": ["a", "b"]}))
    np.testing.assert_array_equal(columns.values(table_of(later)), [[1], [-1], [NAN]])


def test_levels_that_are_numbers_may_come_as_numbers():
    columns = Columns.of(pd.DataFrame({"x": pd.Categorical([3, 1])}))
    np.testing.assert_array_equal(columns.values(pd.DataFrame({"x": [1.0, NAN, 7]})), [[0], [NAN], [-1]])


def test_of_a_column_in_which_nothing_was_seen_words_are_missing_and_numbers_stay():
    columns = Columns.of(pd.DataFrame({"x": objects(None, None)}))
    assert np.isnan(columns.values(pd.DataFrame({"x": ["a", "b"]}))).all()
    assert columns.values(pd.DataFrame({"x": [1, 2]})).tolist() == [[1], [2]]


DAY = datetime.datetime(2020, 1, 1)
REFUSED = {
    "dates": (pd.Series([DAY.date()]), "dates"),
    "datetimes": (pd.Series([DAY]), "dates"),
    "zones": (pd.Series([DAY]).dt.tz_localize("UTC"), "dates"),
    "times": (objects(DAY.time()), "times"),
    "durations": (pd.Series([datetime.timedelta(1)]), "durations"),
    "lists": (objects([1], [2]), "values of type list"),
    "bytes": (objects(b"x"), "bytes"),
    "complex": (pd.Series([1j]), "complex numbers"),
    "complex-objects": (objects(1j, 2.0), "mixed: complex, float"),
    "mixed": (objects("a", 1, None), "mixed: int, str"),
    "bools-and-ints": (objects(True, 2), "mixed: bool, int"),
    "mixed-levels": (pd.Series(pd.Categorical(["a", 1])), "a category of int, str levels"),
    "polars-dates": (polars([DAY.date()]), "dates"),
    "polars-datetimes": (polars([DAY]), "dates"),
    "polars-times": (polars([DAY.time()]), "times"),
    "polars-durations": (polars([datetime.timedelta(1)]), "durations"),
    "polars-lists": (polars([[1], [2, 3]]), "lists"),
    "polars-structs": (polars([{"a": 1}]), "structs"),
    "polars-bytes": (polars([b"x"]), "bytes"),
}


@pytest.mark.parametrize(("column", "words"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_kind_is_refused_and_named(column, words):
    with pytest.raises(ValueError, match="must be numbers, booleans, or strings") as raised:
        Columns.of(table_of(column))
    if words != "mixed: complex, float":  # pandas' versions differ
        assert f"these are not: 'x' ({words}). " in str(raised.value)
    assert str(raised.value).endswith(LINE)


@LIBRARIES
def test_one_error_names_all_columns_and_ends_with_the_line_to_write(library):
    n = MAX_LEVELS + 1
    table = library.DataFrame({"ok": range(n), "signed_up": [DAY] * n, "comment": [f"text {i}" for i in range(n)]})
    with pytest.raises(ValueError, match="columns of X") as raised:
        Columns.of(table)
    assert str(raised.value) == (
        "the columns of X must be numbers, booleans, or strings and categories of at most 64 levels; these are not: "
        f"'signed_up' (dates), 'comment' (text or a category of 65 levels). Let skrub make numbers of them: {LINE}"
    )
    with pytest.raises(ValueError, match=r"'9' \(dates\) and 3 more\. "):
        Columns.of(library.DataFrame({str(i): [DAY] for i in range(13)}))


@LIBRARIES
def test_as_many_levels_as_allowed_are_learned_and_more_may_come_later(library):
    columns = Columns.of(library.DataFrame({"x": [f"{i:02}" for i in range(MAX_LEVELS)]}))
    later = library.DataFrame({"x": [f"{i:02}" for i in range(100)]})
    assert columns.values(later)[:, 0].tolist() == [*range(MAX_LEVELS), *[-1] * 36]


@pytest.mark.parametrize(
    ("later", "words"),
    [
        ({"sex": [1, 2]}, "'sex' (a category of strings in fit, now numbers)"),
        ({"sex": objects("m", 1)}, "'sex' (a category of strings in fit, now mixed: int, str)"),
        ({"sex": objects([1], [2])}, "'sex' (a category of strings in fit, now values of type list)"),
        ({"sex": pd.Categorical([1, 2])}, "'sex' (a category of strings in fit, now numbers)"),
        ({"age": ["3.5", "4"]}, "'age' (numbers in fit, now strings)"),
        ({"age": pd.Categorical([1, 2])}, "'age' (numbers in fit, now a category)"),
        ({"smokes": ["yes", "no"]}, "'smokes' (booleans in fit, now strings)"),
        (
            {"age": [DAY] * 2, "tsh": ["a", "b"]},
            "'age' (numbers in fit, now dates), 'tsh' (numbers in fit, now strings)",
        ),
    ],
    ids=["numbers", "mixed", "lists", "int-levels", "numerals", "categories", "words", "two"],
)
def test_columns_of_another_kind_than_in_fit_are_named(later, words):
    table = MIXED[:2].assign(**later)
    with pytest.raises(ValueError, match="in fit") as raised:
        Columns.of(MIXED).values(table)
    assert str(raised.value) == (
        f"the columns of X must hold what they held in fit; these do not: {words}. Convert them as those of the "
        "training table."
    )


@LIBRARIES
def test_names_that_are_not_those_of_fit_are_named_as_in_scikit_learn(library):
    columns = Columns.of(as_in(library, MIXED))
    with pytest.raises(ValueError, match="feature names") as raised:
        columns.values(as_in(library, MIXED.rename(columns={"age": "years", "sex": "gender"})))
    assert str(raised.value) == (
        "The feature names should match those that were passed during fit.\n"
        "Feature names unseen at fit time:\n- gender\n- years\n"
        "Feature names seen at fit time, yet now missing:\n- age\n- sex\n"
    )
    with pytest.raises(ValueError, match=r"now missing:\n- sex\n$"):
        columns.values(as_in(library, MIXED[["tsh", "age", "smokes"]]))
    with pytest.raises(ValueError, match=r"- e\n- \.\.\.\n$"):
        columns.values(as_in(library, MIXED.assign(**dict.fromkeys("abcdef", 1))))


def test_an_int_that_no_float_can_hold_is_named():
    table = pd.DataFrame({"a": [1.0, 2.0], "key": objects(10**400, 1)})
    with pytest.raises(ValueError, match=r"there are larger ones in 'key'. Scale it"):
        Columns.of(table).values(table)


def test_names_that_are_no_strings_are_matched_by_position():
    columns = Columns.of(pd.DataFrame([[1, "a"], [2, "b"]]))
    assert columns.names == (0, 1)
    assert columns.values(pd.DataFrame({7: [5], 3: ["b"]})).tolist() == [[5, 1]]
    with pytest.raises(ValueError, match="must have the 2 columns that it had in fit; it has 3"):
        columns.values(pd.DataFrame([[1, 2, 3]]))


def test_names_must_differ_and_all_be_strings_or_none():
    with pytest.raises(ValueError, match=r"must have different names; these stand more than once: \['a'\]\."):
        Columns.of(pd.DataFrame([[1, 2, 3]], columns=["a", "b", "a"]))
    with pytest.raises(TypeError, match=r"are of the types \['int', 'str'\]\. Write X\.columns = X\.columns\.astype"):
        Columns.of(pd.DataFrame([[1, 2]], columns=["a", 1]))


@LIBRARIES
def test_a_table_of_no_columns_has_no_values(library):
    assert Columns.of(library.DataFrame()).values(library.DataFrame()).shape == (0, 0)


def test_tables_are_those_of_pandas_and_polars():
    tables = pd.DataFrame({"a": [1]}), pl.DataFrame({"a": [1]})
    others = np.zeros((2, 2)), [[1]], {"a": [1]}, tables[0]["a"], tables[1]["a"], tables[1].lazy(), pd.DataFrame, None
    assert all(map(is_table, tables))
    assert not any(map(is_table, others))


def test_an_array_needs_no_library_of_tables():
    source = sys.modules[Columns.__module__].__file__
    code = (
        f"import runpy, sys, numpy; is_table = runpy.run_path({source!r}, run_name='columns')['is_table'];"
        "assert not is_table(numpy.zeros((2, 2))); assert not {'pandas', 'polars', 'narwhals'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
