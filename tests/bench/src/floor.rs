//! The floor: what one synced append costs on this disk, whoever asks for it.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use crate::failure::Result;
use crate::samples::Samples;

/// How many appends one round times.
const APPENDS: usize = 500;

/// Appends 512 bytes and syncs them (`fdatasync`), again and again.
pub(crate) fn synced_appends(folder: &Path) -> Result<Samples> {
    let path = folder.join("floor");
    let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
    let mut samples = Samples::default();
    for _ in 0..APPENDS {
        let from = Instant::now();
        file.write_all(&[0x5a; 512])?;
        file.sync_data()?;
        samples.push(from.elapsed());
    }
    std::fs::remove_file(path)?;
    Ok(samples)
}
