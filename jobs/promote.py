"""Makes a registered version the champion, the version that `score` uses: to roll back, or to promote by hand."""
# no spark

from keyfold.cli.main import Parser, run_guarded

if __name__ == "__main__":
    parser = Parser(__doc__)
    parser.add_argument("model", help="models:/NAME/VERSION, models:/NAME@ALIAS or runs:/ID")
    options = parser.parse_args()

    def work() -> None:
        """Prints the new champion and the former one."""
        from keyfold.tracking.versions import promote_version

        print(promote_version(options.model))

    run_guarded(work, debug=options.debug)
