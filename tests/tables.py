"""Tables of utterances as protocols divide them, made up for tests."""

import pandas as pd

from serbench.protocols import PROTOCOLS, inner_rule


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
