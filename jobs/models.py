"""Lists the versions of a registered model: when they were registered, their test metrics, and which one is the champion."""
# no spark

from keyfold.cli.main import Parser, run_guarded

if __name__ == "__main__":
    parser = Parser(__doc__)
    parser.add_argument("name", help="the model's name: the conf's name, or train.register_as")
    options = parser.parse_args()

    def work() -> None:
        """Prints one line per version."""
        from keyfold.tracking.versions import describe_versions

        print("\n".join(describe_versions(options.name)))

    run_guarded(work, debug=options.debug)
