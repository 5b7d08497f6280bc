"""MLflow's store is opened in the background; what fails there shows where MLflow is used."""

import mlflow
import pytest
from sqlalchemy.exc import DatabaseError

from keyfold.tracking import connection


def test_a_store_opened_in_the_background_is_the_one_of_the_client(home):
    (home / "mlflow.db").unlink()
    connection.open_in_background()
    opened = connection._opening[-1]
    assert connection.client().search_registered_models() == []
    assert not opened.is_alive() and not connection._opening
    assert mlflow.get_tracking_uri() == f"sqlite:///{home}/mlflow.db" and (home / "mlflow.db").is_file()


def test_a_store_that_cannot_be_opened_fails_where_it_is_used(home, capfd):
    (home / "mlflow.db").write_text("no database")
    connection.open_in_background()
    connection._opening[-1].join()
    assert "Traceback" not in capfd.readouterr().err
    with pytest.raises(DatabaseError, match="file is not a database"):
        connection.client().search_registered_models()
