"""Tables that are made, not read: `source: {generator: telecom, …}`. A new generator is one more file and one more line."""

from keyfold.generators.telecom import Telecom

GENERATORS = {"telecom": Telecom}

__all__ = ["GENERATORS", "Telecom"]
