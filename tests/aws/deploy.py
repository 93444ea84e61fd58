"""Deploys `template.yaml`, as it is checked in, with the bootstraps that cargo built.

The shared gate is deployed with `sam package` and `sam deploy`, as a user does it. A gate that a test has for itself is the same
packaged template, handed to CloudFormation directly: that takes a second instead of ten.
"""

import json
import os
import re
import secrets
import shutil
import subprocess
from pathlib import Path

import pytest
from local_aws import REGION, LocalAws
from placet_client import wait_until

ROOT = Path(__file__).resolve().parents[2]
FUNCTIONS = ("request", "decide", "timeout-sweep", "rotate-secret")
BUCKET = "placet-deploys"
# The local AWS refuses a RotationSchedule (`test_rotation.py` drives the four steps), and this machine runs x86-64.
PARAMETERS = {"Architecture": "x86_64", "SecretRotation": "off", "ThrottleRate": "10000", "ThrottleBurst": "5000"}
PROFILE = Path(os.environ.get("PLACET_FUNCTIONS") or ROOT / "target/debug").resolve()


def binaries():
    """The four binaries; which are missing is said at once."""
    found = {name: PROFILE / name for name in FUNCTIONS}
    missing = [name for name, path in found.items() if not path.exists()]
    if missing:
        packages = " ".join(f"-p placet-{name}" for name in missing)
        pytest.exit(
            f"no {', '.join(missing)} in {PROFILE}: `cargo build {packages}`, or set PLACET_FUNCTIONS", returncode=3
        )
    return found


def build(folder):
    """What `sam build` would leave: the template beside a folder with a `bootstrap` for each function."""
    folder.mkdir(parents=True)
    for name, binary in binaries().items():
        target = folder / name
        target.mkdir()
        shutil.copy(binary, target / "bootstrap")
        # Debug builds are large: without their symbols they are packed and unpacked faster.
        subprocess.run(["strip", str(target / "bootstrap")], check=True)
    text = (ROOT / "template.yaml").read_text()
    built, count = re.subn(r"CodeUri: functions/([a-z-]+)/", r"CodeUri: \1/", text)
    assert count == len(FUNCTIONS), f"{count} functions in the template"
    path = folder / "template.yaml"
    path.write_text(built)
    return path


class Deployer:
    """Packages once; deploys as often as asked."""

    def __init__(self, aws: LocalAws, folder, sam):
        self.aws, self.folder, self.sam = aws, Path(folder), sam
        self.packaged = self.folder / "packaged.yaml"

    def run_sam(self, *arguments):
        environment = {
            "PATH": os.environ["PATH"], "HOME": str(self.folder), "LANG": "C.UTF-8", "SAM_CLI_TELEMETRY": "0",
            **self.aws.operator_environment(),
        }  # fmt: skip
        ran = subprocess.run(
            [str(self.sam), *map(str, arguments)], cwd=self.folder, env=environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert ran.returncode == 0, (
            f"sam {' '.join(map(str, arguments[:1]))} failed:\n{ran.stdout[-6000:]}\n{ran.stderr[-6000:]}"
        )
        return ran

    def package(self):
        """Builds and uploads: the same packaged template serves every stack of this session."""
        template = build(self.folder / "build")
        self.aws.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        self.run_sam(
            "package", "--template-file", template, "--s3-bucket", BUCKET, "--output-template-file", self.packaged
        )
        self.aws.client("s3").put_object(Bucket=BUCKET, Key="packaged.yaml", Body=self.packaged.read_bytes())

    def sam_deploy(self, stack):
        """`sam deploy`, as the README asks for it; the stack's outputs."""
        overrides = [f"{name}={value}" for name, value in PARAMETERS.items()]
        self.run_sam(
            "deploy", "--template-file", self.packaged, "--stack-name", stack, "--s3-bucket", BUCKET,
            "--capabilities", "CAPABILITY_IAM", "--no-confirm-changeset", "--no-fail-on-empty-changeset",
            "--parameter-overrides", *overrides,
        )  # fmt: skip
        return self.outputs(stack)

    def deploy(self, stack, **parameters):
        """The same template through CloudFormation alone; the stack's outputs."""
        cloudformation = self.aws.client("cloudformation")
        cloudformation.create_stack(
            StackName=stack, TemplateURL=f"{self.aws.endpoint}/{BUCKET}/packaged.yaml",
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
            Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in (PARAMETERS | parameters).items()],
        )  # fmt: skip

        def status():
            found = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"]
            return found if not found.endswith("_IN_PROGRESS") else None

        ended = wait_until(status, 60, f"the stack {stack}")
        if ended != "CREATE_COMPLETE":
            events = cloudformation.describe_stack_events(StackName=stack)["StackEvents"]
            failed = [
                (e["LogicalResourceId"], e.get("ResourceStatusReason"))
                for e in events
                if "FAILED" in e["ResourceStatus"]
            ]
            raise AssertionError(f"{stack}: {ended}: {failed}")
        return self.outputs(stack)

    def outputs(self, stack):
        described = self.aws.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
        return {output["OutputKey"]: output["OutputValue"] for output in described["Outputs"]}

    def functions(self, stack):
        """Names of the stack's functions, by the name of their binary."""
        resources = self.aws.client("cloudformation").describe_stack_resources(StackName=stack)["StackResources"]
        names = {}
        for resource in resources:
            if resource["ResourceType"] == "AWS::Lambda::Function":
                logical = resource["LogicalResourceId"].removesuffix("Function")
                names[re.sub(r"(?<!^)(?=[A-Z])", "-", logical).lower()] = resource["PhysicalResourceId"]
        assert set(names) == set(FUNCTIONS), names
        return names

    def delete(self, stack):
        self.aws.client("cloudformation").delete_stack(StackName=stack)

    def complete_roles(self, stack, outputs):
        """Mends three faults of this AWS in the roles, which on AWS are right as the template has them.

        There, `!Ref` of a secret is its ARN; here it is its name, and a policy that allows a name allows nothing.
        There, `sqs:SendMessage` covers batches; here a batch is an action of its own.
        There, mail is about an identity and from an address; here `ses:SendEmail` is about nothing.
        """
        secrets = self.aws.client("secretsmanager")
        names = [outputs["KeyringSecretArn"], outputs["ChannelsSecretArn"]]
        arns = {name: secrets.describe_secret(SecretId=name)["ARN"] for name in names}
        iam = self.aws.client("iam")
        resources = self.aws.client("cloudformation").describe_stack_resources(StackName=stack)["StackResources"]
        for role in (
            resource["PhysicalResourceId"] for resource in resources if resource["ResourceType"] == "AWS::IAM::Role"
        ):
            for policy in iam.list_role_policies(RoleName=role)["PolicyNames"]:
                document = iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
                for statement in document["Statement"]:
                    actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
                    if "sqs:SendMessage" in actions:
                        statement["Action"] = [*actions, "sqs:SendMessageBatch"]
                    if "ses:SendEmail" in actions:
                        statement["Resource"] = "*"
                        del statement["Condition"]
                    if isinstance(statement.get("Resource"), str):
                        statement["Resource"] = arns.get(statement["Resource"], statement["Resource"])
                iam.put_role_policy(RoleName=role, PolicyName=policy, PolicyDocument=json.dumps(document))

    def let_the_queue_be_read(self, stack):
        """Says the most batches at once as a number: this AWS keeps a parameter's text, and cannot compare it with its count."""
        client = self.aws.client("lambda")
        sweep = self.functions(stack)["timeout-sweep"]
        for mapping in client.list_event_source_mappings(FunctionName=sweep)["EventSourceMappings"]:
            client.update_event_source_mapping(UUID=mapping["UUID"], ScalingConfig={"MaximumConcurrency": 5})

    def plant_a_seed(self, outputs):
        """Writes the secret as the template asks for it: this AWS puts punctuation in where the template excludes it."""
        value = json.dumps({"placet_seed_version": 1, "seed": secrets.token_hex(32)})
        self.aws.client("secretsmanager").put_secret_value(SecretId=outputs["KeyringSecretArn"], SecretString=value)

    def empty_the_channels(self, outputs):
        """Takes the value away that a secret has not got as the template makes it: this AWS writes an empty text.

        Source: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-resource-secretsmanager-secret.html
        """
        client, secret = self.aws.client("secretsmanager"), outputs["ChannelsSecretArn"]
        version = client.get_secret_value(SecretId=secret)["VersionId"]
        client.update_secret_version_stage(SecretId=secret, VersionStage="AWSCURRENT", RemoveFromVersionId=version)

    def point_at(self, stack, endpoint):
        """Makes the functions call AWS at that address."""
        client = self.aws.client("lambda")
        for name in self.functions(stack).values():
            variables = client.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
            client.update_function_configuration(
                FunctionName=name, Environment={"Variables": {**variables, "AWS_ENDPOINT_URL": endpoint}}
            )
