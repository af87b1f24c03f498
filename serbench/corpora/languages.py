"""Languages by BCP 47 tag: what they are called, and the family that Glottolog files them under.

Families are those that the field compares corpora by: the branches that most of its tables name (Germanic, Romance,
Sinitic), which Glottolog (https://glottolog.org) has as nodes below the larger families; a family that is small or
alone stands whole (Japonic, Basque).
"""

from __future__ import annotations

_FAMILIES: dict[str, dict[str, str]] = {
    "Germanic": {
        **{"en": "English", "de": "German", "nl": "Dutch", "sv": "Swedish", "da": "Danish", "no": "Norwegian"},
        **{"nb": "Norwegian Bokmål", "nn": "Norwegian Nynorsk", "is": "Icelandic", "af": "Afrikaans"},
    },
    "Romance": {
        **{"it": "Italian", "fr": "French", "es": "Spanish", "pt": "Portuguese", "ro": "Romanian", "ca": "Catalan"},
        **{"gl": "Galician"},
    },
    "Slavic": {
        **{"pl": "Polish", "ru": "Russian", "uk": "Ukrainian", "cs": "Czech", "sk": "Slovak", "sl": "Slovene"},
        **{
            "hr": "Croatian",
            "sr": "Serbian",
            "bs": "Bosnian",
            "bg": "Bulgarian",
            "mk": "Macedonian",
            "be": "Belarusian",
        },
    },
    "Baltic": {"lt": "Lithuanian", "lv": "Latvian"},
    "Celtic": {"ga": "Irish", "cy": "Welsh"},
    "Greek": {"el": "Greek"},
    "Albanian": {"sq": "Albanian"},
    "Armenic": {"hy": "Armenian"},
    "Indo-Aryan": {
        **{"ur": "Urdu", "hi": "Hindi", "bn": "Bengali", "pa": "Punjabi", "mr": "Marathi", "gu": "Gujarati"},
        **{"as": "Assamese", "or": "Odia", "ne": "Nepali", "si": "Sinhala"},
    },
    "Iranian": {"fa": "Persian", "ps": "Pashto", "ku": "Kurdish"},
    "Semitic": {"am": "Amharic", "ar": "Arabic", "he": "Hebrew", "ti": "Tigrinya", "mt": "Maltese"},
    "Chadic": {"ha": "Hausa"},
    "Cushitic": {"so": "Somali", "om": "Oromo"},
    "Sinitic": {"zh": "Chinese", "cmn": "Mandarin", "yue": "Cantonese", "wuu": "Wu Chinese", "nan": "Min Nan"},
    "Burmo-Qiangic": {"my": "Burmese"},
    "Tai": {"th": "Thai", "lo": "Lao"},
    "Vietic": {"vi": "Vietnamese"},
    "Khmeric": {"km": "Khmer"},
    "Austronesian": {"id": "Indonesian", "ms": "Malay", "tl": "Tagalog", "fil": "Filipino", "jv": "Javanese"},
    "Japonic": {"ja": "Japanese"},
    "Koreanic": {"ko": "Korean"},
    "Mongolic": {"mn": "Mongolian"},
    "Turkic": {"tr": "Turkish", "az": "Azerbaijani", "kk": "Kazakh", "uz": "Uzbek", "ug": "Uyghur"},
    "Uralic": {"fi": "Finnish", "et": "Estonian", "hu": "Hungarian"},
    "Basque": {"eu": "Basque"},
    "Kartvelian": {"ka": "Georgian"},
    "Dravidian": {"ta": "Tamil", "te": "Telugu", "kn": "Kannada", "ml": "Malayalam"},
    "Atlantic-Congo": {"sw": "Swahili", "yo": "Yoruba", "ig": "Igbo", "zu": "Zulu", "xh": "Xhosa", "wo": "Wolof"},
}

_FAMILY_OF = {language: family for family, languages in _FAMILIES.items() for language in languages}
_NAME_OF = {language: name for languages in _FAMILIES.values() for language, name in languages.items()}


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


def name(tag: str) -> str | None:
    """Return what a language is called in English, None where it is not listed here.

    >>> name("es-MX")
    'Spanish'
    """
    return _NAME_OF.get(primary(tag))
