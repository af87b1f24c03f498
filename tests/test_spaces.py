import pytest

from serbench.classifiers import CLASSIFIERS
from serbench.classifiers.spaces import Space, read_spaces
from serbench.errors import ConfigError


def write(tmp_path, text):
    path = tmp_path / "spaces.yaml"
    path.write_text(text)
    return path


def test_lists_expand_in_the_order_written(tmp_path):
    text = "svc:\n  settings:\n    - {kernel: linear, C: [1, 10]}\n    - {kernel: rbf, C: 1, gamma: [1, 3]}\n"
    space = read_spaces(write(tmp_path, text))["svc"]
    assert [tuple(s.values()) for s in space.settings] == [
        ("linear", 1),
        ("linear", 10),
        ("rbf", 1, 1),
        ("rbf", 1, 3),
    ]
    assert space.default == 0
    assert space.name.startswith("custom-")


def test_name_tells_contents_apart(tmp_path):
    first = read_spaces(write(tmp_path, "knn: {settings: [{k: [1, 3]}]}"))["knn"]
    second = read_spaces(write(tmp_path, "knn: {default: {k: 3}, settings: [{k: [1, 3]}]}"))["knn"]
    assert first.name != second.name
    assert second.default == 1


def test_numbers_with_an_exponent_are_numbers(tmp_path):
    text = "logistic: {default: {C: 0.001}, settings: [{C: [1e-2, 1e-3]}]}"
    assert read_spaces(write(tmp_path, text))["logistic"].default == 1


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
        ("[]", "no classifiers"),
    ],
)
def test_faults_of_a_file_of_spaces_are_named(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        read_spaces(write(tmp_path, text))
