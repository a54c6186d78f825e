"""What the columns of a table are, of pandas or polars, and their values as one array of floats.

Numbers stay as they are, booleans are 0 and 1, and a category is the code of its level: its place among the sorted
levels of the training rows. What is missing is NaN in all of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

#: A category of more levels is text, or a key: its levels are too rare to learn from one by one.
MAX_LEVELS = 64
#: The code of a level that no training row has.
UNSEEN = -1.0

#: Types whose numbers float32 holds exactly, as numpy and narwhals call them, but for capitals.
_NARROW = {"float16", "float32", "int8", "int16", "uint8", "uint16"}
#: What pandas finds in a column of objects, and what it is to us.
_OBJECTS = {
    "string": "strings",
    "boolean": "booleans",
    "empty": "nothing",
    **dict.fromkeys(("integer", "floating", "decimal"), "numbers"),
    **dict.fromkeys(("date", "datetime", "datetime64", "period"), "dates"),
    **dict.fromkeys(("timedelta", "timedelta64"), "durations"),
    "time": "times",
    "bytes": "bytes",
    "complex": "complex numbers",
    "interval": "intervals",
}
#: The same for types: narwhals' names of them, but for categories, and numpy's letters.
_TYPES = {
    "Boolean": "booleans",
    "String": "strings",
    **dict.fromkeys(("Date", "Datetime", "M"), "dates"),
    **dict.fromkeys(("Duration", "m"), "durations"),
    "Time": "times",
    "Binary": "bytes",
    **dict.fromkeys(("List", "Array"), "lists"),
    "Struct": "structs",
    "c": "complex numbers",
}
#: What float() takes too.
_NO_NUMBERS = (bool, np.bool_, np.ndarray, np.complexfloating)
_KINDS = {"numbers": "number", "booleans": "boolean", "strings": "category", "levels": "category", "nothing": "number"}
_COLUMNS_NAMED = 10
#: As many as scikit-learn names.
_NAMES_NAMED = 5
#: Rows that are written at once: what they become stays in the cache while column after column is written to it.
_ROWS_AT_ONCE = 2048
#: Below so many rows a dict is faster than a call of polars.
_FEW = 4096
_LINE = "skrub.tabular_pipeline(ImbalancedNetClassifier()).fit(X, y)"


def is_table(X: Any) -> bool:
    """Whether X is a DataFrame of pandas or polars."""
    if not hasattr(type(X), "columns"):  # so that arrays need no import; polars' LazyFrame warns if it is asked itself
        return False
    from narwhals import dependencies

    return bool(dependencies.is_pandas_dataframe(X) or dependencies.is_polars_dataframe(X))


@dataclass(frozen=True)
class Columns:
    """What the columns of a table are: learned from training rows, applied to any.

    Parameters
    ----------
    names : tuple of str
        Of the training table, in its order. Names that are no strings stay as they are: such columns are matched by
        position, as in scikit-learn.
    kinds : tuple of {"number", "boolean", "category"}
    levels : tuple of (tuple or None)
        The levels of a category that training rows have, in the order of their codes; None for other columns.
    blank : frozenset of int
        Positions of columns that held nothing, in a type that says nothing. They count as numbers; what is no number
        in them later is as good as missing, as nothing was learned of it.
    """

    names: tuple[str, ...]
    kinds: tuple[str, ...]
    levels: tuple[tuple[Any, ...] | None, ...]
    blank: frozenset[int] = frozenset()

    @classmethod
    def of(cls, table: Any) -> Columns:
        """Return what the columns of a table of pandas or polars are.

        Raises
        ------
        ValueError
            If columns are neither numbers nor booleans nor categories of at most 64 levels, or have the same name.
        TypeError
            If some names are strings and others not.
        """
        names = _names(table)
        contents, levels, refused = [], [], []
        for name, column in zip(names, _series(table), strict=True):
            content, found = _content(column), None
            if content in ("strings", "levels"):
                content, found = _levels(column, content)
            if content not in _KINDS:
                refused.append(f"{name!r} ({content})")
            contents.append(content)
            levels.append(found)
        if refused:
            raise ValueError(
                "the columns of X must be numbers, booleans, or strings and categories of at most "
                f"{MAX_LEVELS} levels; these are not: {_first(refused)}. Let skrub make numbers of them: {_LINE}"
            )
        blank = frozenset(place for place, content in enumerate(contents) if content == "nothing")
        return cls(names, tuple(_KINDS[content] for content in contents), tuple(levels), blank)

    @classmethod
    def merged(cls, parts: Sequence[Columns]) -> Columns:
        """Return what the columns of several tables, which are parts of one, are together.

        A level that one part has is a level, and what holds nothing in one part is what it is in another.

        Raises
        ------
        ValueError
            If the parts have other columns, or a column is of several kinds, or has too many levels.
        """
        first = parts[0]
        for rank, part in enumerate(parts):
            if part.names != first.names:
                raise ValueError(
                    "the columns of X must be the same on all processes of the group, in the same order; process 0 "
                    f"has {_first([*map(repr, first.names)])}, process {rank} has {_first([*map(repr, part.names)])}."
                )
        if len(parts) == 1:
            return first
        found = [_merged_column(parts, place) for place in range(len(first.names))]
        blank = frozenset.intersection(*(part.blank for part in parts))
        return cls(first.names, tuple(kind for kind, _ in found), tuple(levels for _, levels in found), blank)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "blank": sorted(self.blank)}  # skops empties frozensets before its version 0.16

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update({**state, "blank": frozenset(state.get("blank", ()))})

    @property
    def n_levels(self) -> np.ndarray:
        """Number of levels of each category, 0 for other columns: ints of shape (d,)."""
        return np.array([len(levels or ()) for levels in self.levels], dtype=np.int64)

    def values(self, table: Any) -> np.ndarray:
        """Return a table, whose columns may stand in another order, as an array of shape (n, d), in one piece.

        Returns
        -------
        float32 array if that holds all columns exactly by their types, else float64
            A level that no training row has is -1.

        Raises
        ------
        ValueError
            If columns are missing or new, or of other kinds than the training rows'.
        """
        columns = self._in_order(table)
        contents = [_content(column) for column in columns]
        narrow = all(_is_narrow(column, content) for column, content in zip(columns, contents, strict=True))
        dtype = np.dtype(np.float32 if narrow else np.float64)
        parts, changed = [], []
        for place, (column, content) in enumerate(zip(columns, contents, strict=True)):
            try:
                parts.append(self._part(place, column, content, dtype))
            except _OtherKindError as error:
                changed.append(f"{self.names[place]!r} ({error})")
        if changed:
            raise ValueError(
                f"the columns of X must hold what they held in fit; these do not: {_first(changed)}. Convert them as "
                "those of the training table."
            )
        return _side_by_side(parts, len(table), dtype)

    def _in_order(self, table: Any) -> list[Any]:
        """Return the columns of a table in the order of the training table's."""
        names, columns = _names(table), _series(table)
        if names == self.names:
            return columns
        if not (_are_strings(names) and _are_strings(self.names)):
            if len(names) != len(self.names):
                raise ValueError(f"X must have the {len(self.names)} columns that it had in fit; it has {len(names)}.")
            return columns
        found = dict(zip(names, columns, strict=True))
        parts = (
            ("Feature names unseen at fit time:", sorted(found.keys() - set(self.names))),
            ("Feature names seen at fit time, yet now missing:", sorted(set(self.names) - found.keys())),
        )
        if any(wrong for _, wrong in parts):
            lines = ["The feature names should match those that were passed during fit."]
            for title, wrong in parts:
                shown = [f"- {name}" for name in wrong[:_NAMES_NAMED]]
                lines += [title, *shown, *["- ..."] * (len(wrong) > _NAMES_NAMED)] if wrong else []
            raise ValueError("\n".join([*lines, ""]))
        return [found[name] for name in self.names]

    def _part(self, place: int, column: Any, content: str, dtype: np.dtype[Any]) -> np.ndarray:
        """Return the values of one column, of shape (n,)."""
        levels, numeric = self.levels[place], content in ("numbers", "booleans")
        if levels is None and numeric:
            return _numbers(column, dtype)
        if levels is not None and (numeric or content in ("strings", "levels")):
            codes, found = _factorized(column)
            of_fit, now = _family(levels), content if numeric else _family(found)
            # True and 1 are the same level, as they are the same key of a dict.
            if not found or now == of_fit or {now, of_fit} <= {"numbers", "booleans"}:
                code_of = {level: code for code, level in enumerate(levels)}
                # The last entry is that of the code -1: missing.
                return np.array([*(code_of.get(level, UNSEEN) for level in found), np.nan], dtype)[codes]
        else:
            now = "a category" if content == "levels" else content
        if content == "nothing" or place in self.blank or _wrapped(column).is_null().all():
            return np.full(len(column), np.nan, dtype)
        of_fit = f"{self.kinds[place]}s" if levels is None else f"a category of {_family(levels)}"
        raise _OtherKindError(f"{of_fit} in fit, now {now}")


def _merged_column(parts: Sequence[Columns], place: int) -> tuple[str, tuple[Any, ...] | None]:
    """Return the kind and the levels of a column of several tables."""
    name, there = parts[0].names[place], [part for part in parts if place not in part.blank] or parts[:1]
    kinds = {part.kinds[place] for part in there}
    if kinds == {"number", "boolean"}:
        kinds = {"number"}
    levels = {level for part in there for level in part.levels[place] or ()}
    families = {_family(part.levels[place] or ()) for part in there if part.levels[place]}
    if len(kinds) > 1 or len(families) > 1:
        raise ValueError(
            f"the columns of X must hold the same on all processes of the group; {name!r} holds "
            f"{sorted(kinds) if len(kinds) > 1 else sorted(families)}."
        )
    if len(levels) > MAX_LEVELS:
        raise ValueError(
            "the columns of X must be numbers, booleans, or strings and categories of at most "
            f"{MAX_LEVELS} levels; {name!r} has {len(levels)} on all processes of the group. Let skrub make numbers of "
            f"them: {_LINE}"
        )
    return kinds.pop(), tuple(sorted(levels)) if levels else None


class _OtherKindError(Exception):
    """A column is not what it was in fit."""


def _first(columns: Sequence[str]) -> str:
    more = len(columns) - _COLUMNS_NAMED
    return ", ".join(columns[:_COLUMNS_NAMED]) + (f" and {more} more" if more > 0 else "")


def _are_strings(names: Sequence[Any]) -> bool:
    return all(isinstance(name, str) for name in names)


def _names(table: Any) -> tuple[Any, ...]:
    """Return the names of the columns of a table; raise if two are the same, or if only some are strings."""
    names = tuple(table.columns)
    if len(set(names)) < len(names):
        twice = [name for name, count in Counter(names).items() if count > 1]
        raise ValueError(f"the columns of X must have different names; these stand more than once: {twice}.")
    if not _are_strings(names) and any(isinstance(name, str) for name in names):
        raise TypeError(
            "the names of the columns of X must all be strings, or none of them; they are of the types "
            f"{sorted({type(name).__name__ for name in names})}. Write X.columns = X.columns.astype(str)."
        )
    return names


def _series(table: Any) -> list[Any]:
    """Return the columns of a table, in their library's own type."""
    return [column for _, column in table.items()] if hasattr(table, "items") else table.get_columns()


def _wrapped(column: Any) -> Any:
    """Return a column as narwhals', for what has another name in each library."""
    import narwhals.stable.v2 as nw

    return nw.from_native(column, series_only=True)


def _content(column: Any) -> str:
    """Return what a column holds: a key of _KINDS, or the words for what no kind fits; "levels" may be of anything."""
    letter = getattr(column.dtype, "kind", "")  # of pandas' types, its own and pyarrow's among them
    if letter in ("i", "u", "f") or (letter == "b" and hasattr(column.dtype, "subtype")):  # sparse ones
        return "numbers"
    if letter == "b":
        return "booleans"
    wrapped = _wrapped(column)
    if letter == "O" and column.dtype == object:
        return _content_of_objects(wrapped.__native_namespace__().api.types.infer_dtype, column)
    name = type(wrapped.dtype).__name__
    if name in ("Categorical", "Enum"):
        return "levels"
    if wrapped.dtype.is_numeric():
        return "numbers"
    if str(column.dtype) in ("Null", "null[pyarrow]"):  # which narwhals does not know
        return "nothing"
    return _TYPES.get(name) or _TYPES.get(letter) or f"values of type {column.dtype}"


def _content_of_objects(infer_dtype: Any, objects: Any) -> str:
    found = infer_dtype(objects, skipna=True)
    if found.startswith("mixed"):
        types = {type(value) for value in objects.dropna()}
        if all(hasattr(t, "__float__") and not issubclass(t, _NO_NUMBERS) for t in types):
            return "numbers"
        words = sorted(t.__name__ for t in types)
        return f"values of type {words[0]}" if len(words) == 1 else f"mixed: {', '.join(words)}"
    return _OBJECTS.get(found, found)


def _levels(column: Any, content: str) -> tuple[str, tuple[Any, ...] | None]:
    """Return what a category holds, and its levels if it holds few of one family."""
    _, found = _factorized(column)
    if not found:
        return "nothing", None
    if len(found) > MAX_LEVELS:
        return f"text or a category of {len(found)} levels", None
    try:
        if _family(found) != "mixed":
            return content, tuple(sorted(found))
    except TypeError:  # there is no order
        pass
    return f"a category of {', '.join(sorted({type(level).__name__ for level in found}))} levels", None


def _family(levels: Sequence[Any]) -> str:
    """Return what levels are, in a word: levels of one family can be compared."""
    families = {_family_of(level) for level in levels}
    return families.pop() if len(families) == 1 else "mixed"


def _family_of(level: Any) -> str:
    if isinstance(level, str):
        return "strings"
    if isinstance(level, bool):
        return "booleans"
    return "numbers" if hasattr(level, "__float__") else f"values of type {type(level).__name__}"


def _factorized(column: Any) -> tuple[np.ndarray, list[Any]]:
    """Return the place of each row's value among those that occur, -1 if it is missing, and these.

    This takes a third of the time of scikit-learn's OrdinalEncoder, or less, and knows each kind of missing values.
    """
    if hasattr(column, "factorize"):
        codes, found = column.factorize()
        return codes, found.tolist()
    import narwhals.stable.v2 as nw

    wrapped = _wrapped(column)
    if len(column) < _FEW:
        values = wrapped.to_list()
        place_of = {value: place for place, value in enumerate(dict.fromkeys(v for v in values if v is not None))}
        return np.array([place_of.get(value, -1) for value in values], dtype=np.intp), list(place_of)
    found = wrapped.drop_nulls().unique().to_list()
    if not found:
        return np.full(len(column), -1), found
    places = wrapped.replace_strict(found, list(range(len(found))), return_dtype=nw.Int32)
    return places.fill_null(-1).to_numpy(), found


def _is_narrow(column: Any, content: str) -> bool:
    """Whether float32 holds the values of a column exactly, by its type."""
    if content != "numbers":
        return True
    dtype = getattr(column.dtype, "subtype", column.dtype)
    if isinstance(dtype, np.dtype):
        return str(dtype) in _NARROW
    return type(_wrapped(column).dtype).__name__.lower() in _NARROW


def _numbers(column: Any, dtype: np.dtype[Any]) -> np.ndarray:
    """Return numbers or booleans as floats, of any width where no copy is needed."""
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "biuf":
        return column.to_numpy()
    if hasattr(column, "factorize"):
        try:
            return column.to_numpy(dtype=dtype, na_value=np.nan)
        except OverflowError:  # an int of more digits than a float can have
            raise ValueError(
                f"X must hold numbers that a float can hold; there are larger ones in {column.name!r}. Scale it, or "
                "make strings of it if it is a key."
            ) from None
    import narwhals.stable.v2 as nw

    wrapped = _wrapped(column)
    if not wrapped.dtype.is_float():
        wrapped = wrapped.cast(nw.Float32 if dtype == np.float32 else nw.Float64)
    return wrapped.to_numpy()


def _side_by_side(parts: Sequence[np.ndarray], n_rows: int, dtype: np.dtype[Any]) -> np.ndarray:
    values = np.empty((n_rows, len(parts)), dtype)
    for start in range(0, n_rows, _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        for place, part in enumerate(parts):
            values[rows, place] = part[rows]
    return values
