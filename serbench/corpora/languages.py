"""Languages by BCP 47 tag, and the family that Glottolog files them under.

Families are those that the field compares corpora by: the branches that most of its tables name (Germanic, Romance,
Sinitic), which Glottolog (https://glottolog.org) has as nodes below the larger families; a family that is small or
alone is whole (Japonic, Basque).
"""

from __future__ import annotations

_FAMILIES = """
Germanic: en de nl sv da no nb nn is af; Romance: it fr es pt ro ca gl; Slavic: pl ru uk cs sk sl hr sr bs bg mk be;
Baltic: lt lv; Celtic: ga cy; Greek: el; Albanian: sq; Armenic: hy; Basque: eu; Kartvelian: ka; Uralic: fi et hu;
Indo-Aryan: ur hi bn pa mr gu as or ne si; Iranian: fa ps ku; Dravidian: ta te kn ml; Turkic: tr az kk uz ug;
Semitic: am ar he ti mt; Chadic: ha; Cushitic: so om; Atlantic-Congo: sw yo ig zu xh wo; Mongolic: mn;
Sinitic: zh cmn yue wuu nan; Burmo-Qiangic: my; Tai: th lo; Vietic: vi; Khmeric: km; Japonic: ja; Koreanic: ko;
Austronesian: id ms tl fil jv
"""
_FAMILY_OF = {
    language: family
    for family, languages in (of.split(": ") for of in _FAMILIES.replace("\n", " ").strip().split("; "))
    for language in languages.split()
}


def primary(tag: str) -> str:
    """Return the primary subtag of a BCP 47 tag: the language without region or script.

    >>> primary("en-US"), primary("zh")
    ('en', 'zh')
    """
    return tag.partition("-")[0].lower()


def family(tag: str) -> str | None:
    """Return the family of a language as Glottolog has it, None where it is not listed here.

    >>> family("de"), family("fr-CA"), family("und")
    ('Germanic', 'Romance', None)
    """
    return _FAMILY_OF.get(primary(tag))
