"""keyfold: machine-learning design patterns as conf-driven batch jobs on Spark, in which every row has a key.

    data → split → features → train → score → release → watch

A use case is one YAML file; each of its sections is one module here, and each job runs one section. What must never
drift follows from the key: the fold of a row (`split`), its hashed features (`hashing`, `features`), the model version
that answers (`registry`, `release`), the place of its prediction (`score`, `tables`). A spec is fitted once (`spec`,
`fitting`) and gives the same bits in Spark and in Arrow. `run` keeps account; `cli` is what the jobs call.
"""

from importlib import metadata

try:
    __version__ = metadata.version("keyfold")
except metadata.PackageNotFoundError:  # put on the path as files, by --py-files
    __version__ = "0.1.0"
