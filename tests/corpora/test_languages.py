import pytest

from serbench.corpora.catalogue import load_catalogue
from serbench.corpora.languages import family, primary


def test_every_language_of_the_catalogue_has_a_family():
    assert {c.language for c in load_catalogue().corpora.values() if family(c.language) is None} == set()


@pytest.mark.parametrize(
    ("tag", "subtag", "group"),
    [("en-US", "en", "Germanic"), ("zh-Hans-CN", "zh", "Sinitic"), ("EN", "en", "Germanic"), ("und", "und", None)],
)
def test_languages_are_known_whatever_their_region(tag, subtag, group):
    assert (primary(tag), family(tag)) == (subtag, group)
