"""Tags of MLflow runs and of registered versions. Registered versions have them, so a name never changes."""

RUN_ID = "keyfold.run_id"  # run id of keyfold's job
JOB = "keyfold.job"  # `score`; a training has none
NAME = "keyfold.name"  # the use case
PERIOD = "keyfold.period"  # the period that was scored
MODEL = "keyfold.model"  # the model that scored, and its version
MODEL_VERSION = "keyfold.model_version"
TABLE = "keyfold.table"  # the table that a model was trained on
ROWS = "keyfold.rows"  # id and version of that table
CONF_DIGEST = "keyfold.conf_digest"
SPEC_DIGEST = "keyfold.spec_digest"
SEED = "keyfold.seed"
TEST_FEW = "keyfold.test_few"  # rows of the smaller class in the test fold, or all rows if the label is a number
SAMPLED = "keyfold.sampled"  # share of the train rows that were collected (0 to 1)
START = "keyfold.start"  # the parameters that the training began with, and their digest
MEMBERS = "keyfold.members"  # the registered members of a vote, as JSON: name, version and digest of each
LABEL = "keyfold.label"  # what is predicted: the section `label`, as JSON, without the options of answers
FOLDS = "keyfold.folds"  # digest of what decides the fold of a row
BRIDGE = "keyfold.bridge"  # digest of the imputed values
VIEWS = "keyfold.views"  # digests of the views by name, as JSON
TUNED = "keyfold.tuned"  # the best trial's parameters, as JSON
CANDIDATE = "keyfold.candidate"  # the name of the model that was chosen among train.models
INEXACT = "keyfold.inexact"  # predictions that differ in another process or with other batches
MODEL_DIGEST = "keyfold.model_digest"  # digest of all files of the logged model
MANIFEST = "keyfold.manifest"  # digest of keyfold's own files, the only one that keyfold 0.1 set
TRIAL_STATE = "keyfold.state"  # of a trial, as Optuna names it
TRIAL_FAILURE = "keyfold.why"  # why a trial failed


def metric_tag(name: str) -> str:
    """The tag of a metric of the test fold."""
    return f"keyfold.{name}"
