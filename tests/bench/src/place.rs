//! The folder that everything measured writes into: on a real disk, new for each run, removed at its end.

use std::path::{Path, PathBuf};

use crate::failure::{Failure, Result};

/// A folder of this run's own.
pub(crate) struct Place(PathBuf);

impl Place {
    /// Makes it in `parent`; without one, in the target folder that this program was built into.
    pub(crate) fn make(parent: Option<&Path>) -> Result<Self> {
        let program = std::env::current_exe()?;
        let target = program.parent().and_then(Path::parent).map(|target| target.join("placet-bench"));
        let parent = parent.map(Path::to_owned).or(target);
        let parent = parent.ok_or_else(|| Failure::bare("this program lies in no folder"))?;
        let path = parent.join(format!("run-{}", std::process::id()));
        std::fs::create_dir_all(&path)
            .map_err(|error| Failure::new(format!("`{}`", path.display()), error))?;
        Ok(Self(path.canonicalize()?))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // What is left over lies in the target folder, and goes with it.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
