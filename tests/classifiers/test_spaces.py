import itertools
from pathlib import Path

import pytest

from serbench.classifiers import CLASSIFIERS
from serbench.classifiers.spaces import Space, read_spaces
from serbench.errors import ConfigError


@pytest.fixture
def read(tmp_path):
    """Read a file of spaces from its text."""

    def spaces(text):
        (tmp_path / "spaces.yaml").write_text(text)
        return read_spaces(tmp_path / "spaces.yaml")

    return spaces


def test_lists_expand_in_the_order_written_and_without_a_default_the_first_is_it(read):
    space = read("svc: {settings: [{kernel: linear, C: [1, 10]}, {kernel: rbf, C: 1, gamma: [1, 3]}]}")["svc"]
    settings = [("linear", 1), ("linear", 10), ("rbf", 1, 1), ("rbf", 1, 3)]
    assert [tuple(setting.values()) for setting in space.settings] == settings
    assert space.default == 0


def test_name_tells_contents_apart_and_numbers_are_numbers_of_the_type_that_yaml_gives_them(read):
    spaces = read("logistic: {default: {C: 0.001}, settings: [{C: [1e-2, 1e-3]}]}\nknn: {settings: [{k: [1, 3]}]}")
    assert spaces["logistic"].default == 1
    assert [type(setting["k"]) for setting in spaces["knn"].settings] == [int, int]
    assert spaces["knn"].name == "custom-945aeb20"
    assert read("knn: {default: {k: 3}, settings: [{k: [1, 3]}]}")["knn"].name not in ("custom-945aeb20", "standard")


def test_standard_space_is_the_classifiers_own():
    space = Space.of(CLASSIFIERS["svc"])
    assert space.settings[space.default] == {"kernel": "rbf", "C": 1, "gamma": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("svm: {settings: [{C: 1}]}", "Unknown classifier 'svm'. Did you mean 'svc'"),
        ("svc: {settings: [{kernel: linear, c: 1}]}", "unknown parameter 'c'. Did you mean 'C'"),
        ("svc: {settings: [{kernel: rbf, C: 1}]}", "Expected a complete setting"),
        ("knn: {settings: [{k: 1}, {k: 1}]}", "each setting once"),
        ("knn: {default: {k: 7}, settings: [{k: 1}]}", "one of them the default"),
        ("knn: {values: [1]}", "a block with `settings`"),
        ("svc: {settings: [{kernel: linear, C: -1}]}", "The 'C' parameter of SVC must be a float in the range"),
        ("[]", "no block of classifiers"),
        ("{}", "no classifiers"),
        ("svc: {settings: [{kernel: linear, C: " + "[" * 900 + "]" * 900 + "}]}", "nested without end"),
        (
            "a: &a [1, 1, 1]\n" + "".join(f"{y}: &{y} [{f'*{x},' * 9}]\n" for x, y in itertools.pairwise("abcdefg")),
            "20000 values",
        ),
        ("knn: {settings: [{k: " + str(list(range(3000))) + "}]}", "3000 settings. Expected at most 1000"),
        (
            f"svc: {{settings: [{{kernel: rbf, C: {list(range(3000))}, gamma: {list(range(3000))}}}]}}",
            "9000000 settings",
        ),
        ("knn: {default: k, settings: [{k: 1}]}", "knn.default: k. Expected a setting such as"),
        ("knn: {settings: [{k: 1}], settings: [{k: 2}]}", "the key 'settings' a second time"),
        ("knn: {settings: [{k: 2026-99-99}]}", "'2026-99-99'. Expected a value that YAML can read"),
    ],
)
def test_faults_of_a_file_of_spaces_are_named(read, text, message):
    with pytest.raises(ConfigError, match=message):
        read(text)


def test_file_of_spaces_that_never_ends_is_not_read():
    with pytest.raises(ConfigError, match=r"/dev/zero: cannot be read \(a device, not a file\)"):
        read_spaces(Path("/dev/zero"))
