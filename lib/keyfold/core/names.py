"""Names of the columns that keyfold adds to tables, and of the folds."""

PERIOD = "keyfold_period"
RUN = "keyfold_run"

FOLDS = ("train", "validation", "test")
FOLD = "keyfold_fold"

LAYOUT = "keyfold_layout"
BRIDGED = "is_bridged"

FILE = "keyfold_file"
LINE = "keyfold_line"

PART = "keyfold_part"
NUMBER = "keyfold_number"
LABEL = "keyfold_label"

WEIGHT = "keyfold_weight"

ORDER = "keyfold_order"  # bigint: the hash of a row's key

STREAM = "keyfold_stream"

STATE = "keyfold_state"

KNOWN = "keyfold_known"  # the time at which all input of a row's windows was known

CONTENT = "content_key"
REASON = "keyfold_reason"
RAW = "keyfold_raw"
CLASS = "keyfold_class"
GROUP = "keyfold_group"
UNIT = "keyfold_unit"
