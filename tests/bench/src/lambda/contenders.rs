//! What is compared: the four functions, and a Python and a Node function that answer the same question.

#![expect(clippy::disallowed_methods, reason = "a benchmark finds tools by the environment")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::failure::{Failure, Result};
use crate::install;

const PYTHON_APP: &str = include_str!("../../lambda/python/app.py");
const PYTHON_RUNTIME: &str = include_str!("../../lambda/python/runtime.py");
const PYTHON_REQUIREMENTS: &str = include_str!("../../lambda/python/requirements.txt");
const NODE_APP: &str = include_str!("../../lambda/node/app.mjs");
const NODE_RUNTIME: &str = include_str!("../../lambda/node/runtime.mjs");
const NODE_PACKAGE: &str = include_str!("../../lambda/node/package.json");
const NODE_LOCK: &str = include_str!("../../lambda/node/package-lock.json");

/// Our functions, by the name of their binary.
pub(crate) const FUNCTIONS: [&str; 4] = ["request", "decide", "timeout-sweep", "rotate-secret"];

/// A function that can be started.
pub(crate) struct Contender {
    /// What it is called in the table.
    pub(crate) name: &'static str,
    /// What it runs on.
    program: PathBuf,
    argument: Option<PathBuf>,
    /// What is uploaded, in bytes before it is zipped.
    pub(crate) bytes: u64,
    /// What is in it.
    pub(crate) made_of: &'static str,
}

impl Contender {
    /// How it is started.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.argument);
        command
    }

    /// Our function of that name, in a folder of binaries.
    pub(crate) fn ours(folder: &Path, name: &'static str) -> Result<Self> {
        let program = folder.join(name);
        let found = fs::metadata(&program).map_err(|error| Failure::new(program.display(), error))?;
        Ok(Self { name, program, argument: None, bytes: found.len(), made_of: "the binary" })
    }

    /// `FastAPI`, mangum and boto3 on this machine's Python, installed once.
    pub(crate) fn python(place: &Path) -> Result<Self> {
        let python = install::python("bench-lambda-venv", PYTHON_REQUIREMENTS)?;
        let folder = place.join("python");
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("app.py"), PYTHON_APP)?;
        fs::write(folder.join("runtime.py"), PYTHON_RUNTIME)?;
        let library = python.parent().and_then(Path::parent).map(|venv| venv.join("lib")).unwrap_or_default();
        let bytes = weigh(&library, &["pip", "setuptools", "__pycache__"])?;
        let argument = Some(folder.join("runtime.py"));
        Ok(Self {
            name: "Python",
            program: python,
            argument,
            bytes,
            made_of: "app and site-packages with boto3",
        })
    }

    /// The AWS SDK v3 in one bundled file on this machine's Node, installed and bundled once.
    pub(crate) fn node() -> Result<Self> {
        let sources = [
            ("package.json", NODE_PACKAGE),
            ("package-lock.json", NODE_LOCK),
            ("app.mjs", NODE_APP),
            ("runtime.mjs", NODE_RUNTIME),
        ];
        let folder = install::node("bench-lambda-node", &sources)?;
        let bundle = folder.join("bundle.mjs");
        let bytes = fs::metadata(&bundle)?.len();
        let node = on_path("node")?;
        Ok(Self {
            name: "Node",
            program: node,
            argument: Some(bundle),
            bytes,
            made_of: "one minified file with the SDK",
        })
    }
}

/// Builds our functions with the cargo that runs this, and says in which folder they are.
pub(crate) fn build() -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--profile", "function", "--message-format=json-render-diagnostics"]);
    for function in FUNCTIONS {
        command.arg("--package").arg(format!("placet-{function}"));
    }
    let built = command.current_dir(env!("CARGO_MANIFEST_DIR")).stderr(Stdio::inherit()).output()?;
    if !built.status.success() {
        return Err(Failure::bare("the functions could not be built"));
    }
    let said = String::from_utf8_lossy(&built.stdout);
    let request = said.lines().find_map(|line| crate::gate::executable(line, "request"));
    let folder = request.as_deref().and_then(Path::parent);
    folder.map(Path::to_owned).ok_or_else(|| Failure::bare("cargo does not say where the functions are"))
}

/// A program's path: functions are started without this process's `PATH`.
fn on_path(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&path).map(|folder| folder.join(name)).find(|program| program.is_file());
    found.ok_or_else(|| Failure::bare(format!("`{name}` is not installed")))
}

/// The size of a folder's files, without folders of those names.
fn weigh(folder: &Path, without: &[&str]) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder).map_err(|error| Failure::new(folder.display(), error))? {
        let entry = entry?;
        let kind = entry.file_type()?;
        let name = entry.file_name();
        let left_out = without.iter().any(|other| name.to_string_lossy().starts_with(other));
        bytes += match () {
            () if left_out => 0,
            () if kind.is_dir() => weigh(&entry.path(), without)?,
            () if kind.is_file() => entry.metadata()?.len(),
            () => 0,
        };
    }
    Ok(bytes)
}

/// How large a binary is in a zip: deflated, as zip does.
pub(crate) fn zipped_bytes(binary: &Path) -> Result<u64> {
    let said = Command::new("gzip").args(["-9", "--stdout"]).arg(binary).output();
    let said = said.map_err(|error| Failure::new("`gzip`", error))?;
    if !said.status.success() {
        return Err(Failure::new("`gzip`", said.status));
    }
    Ok(u64::try_from(said.stdout.len()).unwrap_or(u64::MAX))
}

/// The newest glibc whose symbols a binary needs, as `objdump -T` tells it. `None` without objdump.
pub(crate) fn newest_glibc(binary: &Path) -> Option<[u32; 2]> {
    let said =
        Command::new("objdump").arg("-T").arg(binary).output().ok().filter(|said| said.status.success())?;
    newest(&String::from_utf8_lossy(&said.stdout))
}

fn newest(symbols: &str) -> Option<[u32; 2]> {
    let versions = symbols.split("GLIBC_").skip(1).filter_map(|rest| {
        let version: String = rest.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
        let mut numbers = version.split('.').map(str::parse);
        Some([numbers.next()?.ok()?, numbers.next()?.ok()?])
    });
    versions.max()
}

impl Contender {
    /// The file that is started.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_glibc_is_by_number_not_by_text() {
        let said = "0000 DF *UND* 0000 (GLIBC_2.2.5) memcpy\n0000 DF *UND* 0000 (GLIBC_2.34) x\n0000 DF *UND* (GLIBC_2.9) y";
        assert_eq!(newest(said), Some([2, 34]));
        assert_eq!(newest("no symbols"), None);
    }
}
