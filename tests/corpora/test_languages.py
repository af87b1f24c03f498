import pytest

from serbench.corpora.catalogue import load_catalogue
from serbench.corpora.languages import family, name, primary


def test_every_language_of_the_catalogue_has_a_name_and_a_family():
    tags = {corpus.language for corpus in load_catalogue().corpora.values()}
    assert {tag for tag in tags if name(tag) is None or family(tag) is None} == set()


@pytest.mark.parametrize(
    ("tag", "subtag", "called", "group"),
    [
        ("de", "de", "German", "Germanic"),
        ("en-US", "en", "English", "Germanic"),
        ("fr-CA", "fr", "French", "Romance"),
        ("zh-Hans-CN", "zh", "Chinese", "Sinitic"),
        ("pl", "pl", "Polish", "Slavic"),
        ("ur", "ur", "Urdu", "Indo-Aryan"),
        ("fa", "fa", "Persian", "Iranian"),
        ("am", "am", "Amharic", "Semitic"),
        ("EN", "en", "English", "Germanic"),
        ("und", "und", None, None),
    ],
)
def test_languages_are_known_whatever_their_region(tag, subtag, called, group):
    assert (primary(tag), name(tag), family(tag)) == (subtag, called, group)
