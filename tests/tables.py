"""Tables of utterances as protocols divide them, cells of predictions, and an extractor, made up for tests."""

from dataclasses import replace

import numpy as np
import pandas as pd

from serbench.grid.cells import CELL_COLUMNS, Cell, CellRecord
from serbench.protocols import PROTOCOLS, inner_rule
from serbench.scores.predictions import CellPredictions, Utterances


def table(*rows, **columns):
    """Return a table of utterances from dictionaries; groups, corpora and languages are categories in their order."""
    usual = {"corpus": "toy", "corpus_language": "de", "sex": "female", "label": "anger", "tested": True, **columns}
    frame = pd.DataFrame([{**usual, **row} for row in rows])
    for name in ("group", "corpus", "corpus_language"):
        frame[name] = pd.Categorical(frame[name], categories=frame[name].unique())
    return frame.sort_values("utterance", ignore_index=True)


def groups_of(n, *, sexes=("female",), texts="", ids="u{i}{t}", name="g{i:02d}"):
    """Return a table of `n` groups that say two utterances each, or one for each of some texts."""
    return table(
        *(
            {"utterance": ids.format(i=i, t=t), "group": name.format(i=i), "sex": sexes[i % len(sexes)]}
            | ({"text_group": t} if texts else {})
            for i in range(n)
            for t in texts or "ab"
        )
    )


def within(rows, inner="all", protocol="within"):
    """Return the folds of one corpus alone."""
    return PROTOCOLS[protocol].folds(rows, inner_rule(inner, rows["group"].nunique()))


def codes_of(cell, rule=""):
    """Return the predictions of a cell by a rule, as codes by utterance."""
    rows = cell.of(rule)
    return dict(zip(rows["utterance"], rows["prediction"].tolist(), strict=True))


def truth_of(cell):
    """Return the emotions of a cell, as codes by utterance."""
    rows = cell.of()
    return dict(zip(rows["utterance"], rows["truth"].tolist(), strict=True))


def settings_of(cell, rule="nested"):
    """Return the setting of each fold of a cell by a rule."""
    return {fold: setting for fold, setting, _ in cell.settings[rule]}


def made_record(fields, emotions=(), **known):
    """Return the record of a cell of which a test knows some fields."""
    axes = {**dict.fromkeys(CELL_COLUMNS, ""), "seed": 0, **fields}
    usual = {"inner_title": "auto", "task_map": "", "indexes": {}, "tested": (), "serbench": "0"}
    return CellRecord(cell=Cell(**axes), emotions=tuple(emotions), **{**usual, **known})


def made_cell(record, utterances, predictions):
    """Return a cell of made-up predictions.

    `utterances` has the columns utterance, truth, and who; `predictions` are codes by rule and utterance. `who`
    is the unit, the speaker and the fold where there is no such column; the settings of folds take turns.
    """
    base = utterances.sort_values("utterance", ignore_index=True)
    base = base.assign(**{name: base.get(name, base["who"]) for name in ("unit", "speaker", "fold")})
    base = base.astype(dict.fromkeys(("who", "unit", "speaker", "fold"), "category"))
    predicted = {rule: base["utterance"].map(of).to_numpy(np.int64) for rule, of in predictions.items()}
    folds = list(enumerate(base["fold"].cat.categories))
    settings = {
        rule: [(fold, i % len(record.settings), bool(i or rule != "nested")) for i, fold in folds]
        for rule in predictions
    }
    return CellPredictions(record, Utterances(base), predicted, settings)


def with_fields(cell, **fields):
    """Return a cell of other axes."""
    return replace(cell, record=replace(cell.record, cell=replace(cell.record.cell, **fields)))


def with_record(cell, **fields):
    """Return a cell with other fields in its record."""
    return replace(cell, record=replace(cell.record, **fields))


def saying(cell, change, rule="nested"):
    """Return a cell with the predictions of a rule alone that a function makes of its rows."""
    rows = cell.of(rule)
    return replace(cell, predicted={rule: rows.assign(prediction=change(rows))["prediction"].to_numpy(np.int64)})


class MeanAndSpread:
    """An extractor of two features, NaN below 20 ms."""

    columns = ("mean", "spread")

    def __call__(self, mono: np.ndarray) -> np.ndarray:
        if len(mono) < 320:
            return np.full(2, np.nan, dtype=np.float32)
        return np.array([mono.mean(), mono.std()], dtype=np.float32)
