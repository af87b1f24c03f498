import pytest
from rings import changes
from sklearn.metrics import balanced_accuracy_score

from serbench.scores.predictions import load_predictions
from serbench.store.results import Store


def test_ring_of_all_neighbours_chooses_as_the_nested_rule_does_in_any_order(toy_report, tmp_path):
    toy_report(speakers=("f1", "f2", "f3", "m1", "m2", "m3"), takes=3)
    found = changes(tmp_path / "results", n_rings=3, neighbours=10)
    cells = load_predictions(Store(tmp_path / "results"))
    assert found.keys() == {cell.cell["classifier"] for cell in cells}
    for cell in cells:
        rows = cell.of("nested")
        expected = pytest.approx(balanced_accuracy_score(rows["truth"], rows["prediction"]))
        whole, uars = found[cell.cell["classifier"]]
        assert [whole, *uars] == [expected] * 4
