"""One local AWS and one shared gate for a whole run of pytest, however many processes it has.

The process that is asked to run the tests starts them and stops them; its workers are told where they are.
"""

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import policy
import pytest
from aws_gate import PACE, AwsGate
from deploy import Deployer
from fault_proxy import FaultProxy
from local_aws import LocalAws

SAM = Path(os.environ.get("SAM") or shutil.which("sam") or "sam")


class Session:
    def __init__(self, config):
        self.config, self.made = config, 0
        self.state = getattr(config, "workerinput", {}).get("aws")
        self.worker = getattr(config, "workerinput", {}).get("workerid", "main")
        self.aws = self.proxy = self.deployer = self.folder = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self):
        if self.state is not None:
            self.folder = Path(self.state["folder"])
            self.aws = LocalAws(self.folder / "aws", self.state["port"])
            self.deployer = Deployer(self.aws, self.folder / "sam", SAM)
        elif not self.config.getoption("collectonly"):
            self.deploy()

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node):
        node.workerinput["aws"] = self.state

    def pytest_unconfigure(self):
        if hasattr(self.config, "workerinput"):
            return
        if self.aws is not None:
            self.aws.stop()
        if self.proxy is not None:
            self.proxy.close()
        if self.folder is not None and not os.environ.get("PLACET_KEEP"):
            shutil.rmtree(self.folder, ignore_errors=True)

    def deploy(self):
        self.folder = Path(tempfile.mkdtemp(prefix="placet-aws-"))
        self.aws = LocalAws(self.folder / "aws").start()
        (self.folder / "sam").mkdir()
        self.deployer = Deployer(self.aws, self.folder / "sam", SAM)
        self.deployer.package()
        self.proxy = FaultProxy(self.aws.port)
        gate = self.attend("placet", self.deployer.sam_deploy("placet"), self.proxy)
        self.state = {"folder": str(self.folder), "port": self.aws.port, "gate": gate.shared()}

    def attend(self, stack, outputs, proxy):
        """Completes a fresh stack: what this AWS lacks, where the functions find it, and the policy."""
        self.deployer.complete_roles(stack, outputs)
        self.deployer.let_the_queue_be_read(stack)
        self.deployer.plant_a_seed(outputs)
        self.deployer.empty_the_channels(outputs)
        self.deployer.point_at(stack, proxy.endpoint)
        folder = self.folder / stack
        folder.mkdir()
        gate = AwsGate.deployed(self.aws, stack, outputs, self.deployer.functions(stack), folder, proxy.endpoint)
        gate.push_policy(policy.shared(PACE))
        return gate

    @contextmanager
    def shared_gate(self):
        yield AwsGate(self.aws, **self.state["gate"])

    def own_gate(self, **parameters):
        """A stack for one test, with a proxy of its own before AWS: `gate.proxy`."""
        self.made += 1
        stack = f"own-{self.worker}-{self.made}"
        proxy = FaultProxy(self.aws.port)
        try:
            gate = self.attend(stack, self.deployer.deploy(stack, **parameters), proxy)
        except BaseException:
            proxy.close()
            raise
        gate.deployer, gate.proxy = self.deployer, proxy
        return gate
