"""Puts the prebuilt `placet` command into the wheel, if the build names one.

`PLACET_BINARY` is the file, and `PLACET_WHEEL_TAG` says for which platform it is. Without them the wheel is for every
platform, and has no command. `integrations/packages/build.py` sets both.
"""

import os

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CommandHook(BuildHookInterface):
    def initialize(self, version, build_data):
        binary = os.environ.get("PLACET_BINARY")
        if self.target_name != "wheel" or version == "editable" or not binary:
            return
        # As a script: pip keeps its mode, and lays it on the PATH.
        build_data["shared_scripts"][binary] = "placet"
        build_data["pure_python"] = False
        build_data["tag"] = os.environ["PLACET_WHEEL_TAG"]
