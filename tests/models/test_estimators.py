"""The list of scikit-learn's estimators."""

from keyfold.models.estimators import estimator_suggestion, full_names, installed_estimators, known_estimators


def test_the_list_is_that_of_the_installed_release():
    assert known_estimators() == installed_estimators(), "see keyfold.models.estimators for how to update it"


def test_estimators_are_found_by_their_class_name():
    assert full_names("logisticregression") == ["sklearn.linear_model.LogisticRegression"]
    assert full_names("Logistic") == []


def test_the_nearest_estimator_is_suggested_with_its_full_name():
    assert estimator_suggestion("sklearn.svm.LogisticRegresion") == " (did you mean `sklearn.linear_model.LogisticRegression`?)"
    assert estimator_suggestion("xyz") == ""
