"""Changes a Delta table as its engine does, but without keyfold, and ages its log."""

import os

from deltalake import DeltaTable

from keyfold.engine.engine import SparkEngine


def _on_spark(table):
    return isinstance(table.engine, SparkEngine)


def age(table, days=45):
    """Moves a table's log into the past; then Delta cleans it up, behind two checkpoints."""
    for file in (table.path / "_delta_log").iterdir():
        before = file.stat().st_mtime - days * 86400
        os.utime(file, (before, before))
    if _on_spark(table):
        table.spark._jvm.org.apache.spark.sql.delta.DeltaLog.clearCache()
    for number in range(2):
        set_properties(table, {"delta.checkpointInterval": "1", "aged": f"{days}.{number}"})
        if not _on_spark(table):
            delta = DeltaTable(table.path)
            delta.create_checkpoint()
            delta.cleanup_metadata()
    assert table.history()[-1].version > 0
    return table


def set_properties(table, properties):
    if _on_spark(table):
        named = ", ".join(f"'{name}' = '{value}'" for name, value in properties.items())
        table.spark.sql(f"ALTER TABLE {table.at} SET TBLPROPERTIES ({named})")
    else:
        DeltaTable(table.path).alter.set_table_properties(properties, raise_if_not_exists=False)


def update(table, values, where="true"):
    """Updates the rows that meet a condition; `values`: a SQL expression for each column."""
    if _on_spark(table):
        values = ", ".join(f"{name} = {value}" for name, value in values.items())
        table.spark.sql(f"UPDATE {table.at} SET {values} WHERE {where}")
    else:
        DeltaTable(table.path).update(values, predicate=where)


def delete(table, where):
    """Deletes the rows that meet a condition."""
    if _on_spark(table):
        table.spark.sql(f"DELETE FROM {table.at} WHERE {where}")
    else:
        DeltaTable(table.path).delete(where)


def restore(table, version):
    """Restores a version as a new one."""
    if _on_spark(table):
        table.spark.sql(f"RESTORE {table.at} TO VERSION AS OF {version}")
    else:
        DeltaTable(table.path).restore(version)


def vacuum(table):
    """Deletes every file that the latest version does not have."""
    DeltaTable(table.path).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
