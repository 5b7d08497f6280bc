"""Print the JSON Schema of a conf, so that an editor completes the YAML."""
# no spark

import json

from keyfold.conf.use_case import Conf

if __name__ == "__main__":
    print(json.dumps(Conf.model_json_schema(), indent=2))
