"""Prints versions, master, memory and where state lives, and tries a Delta write and read."""

from keyfold.cli.main import Parser, run_guarded


def work() -> None:
    """Prints what is known before it tries what may fail."""
    from keyfold.engine import session as spark
    from keyfold.engine.home import home
    from keyfold.jobs import doctor
    from keyfold.secrets import redacted

    session = spark.session("keyfold doctor")
    for name, value in doctor.environment_facts(session):
        print(redacted(f"{name:<14} {value}"), flush=True)
    seconds = doctor.delta_trial(session, home())
    print(f"{'delta':<14} wrote and read {doctor.TRIAL_ROWS:,} rows in {seconds:.1f} s")


if __name__ == "__main__":
    run_guarded(work, debug=Parser(__doc__).parse_args().debug)
