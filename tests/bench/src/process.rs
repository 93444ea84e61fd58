//! What the kernel says about a process, and about the machine it shares: `/proc`.

use std::time::Duration;

use crate::failure::{Failure, Result};

/// Time on a processor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cpu {
    /// In the program itself.
    pub(crate) user: Duration,
    /// In the kernel, for the program.
    pub(crate) system: Duration,
}

impl Cpu {
    /// What a process has used so far, all threads together.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let path = format!("/proc/{pid}/stat");
        let stat = std::fs::read_to_string(&path).map_err(|error| Failure::new(path, error))?;
        parse_stat(&stat).ok_or_else(|| Failure::bare("the kernel's `stat` has another form than expected"))
    }

    /// What was used since `earlier`.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            user: self.user.saturating_sub(earlier.user),
            system: self.system.saturating_sub(earlier.system),
        }
    }

    /// Both together.
    pub(crate) fn total(self) -> Duration {
        self.user + self.system
    }
}

/// Time that all processors together have spent working, by the kernel's count.
pub(crate) fn busy_of_all() -> Result<Duration> {
    let stat = std::fs::read_to_string("/proc/stat")?;
    parse_busy(&stat).ok_or_else(|| Failure::bare("the kernel's `stat` has another form than expected"))
}

/// Memory of a process that is in RAM, in bytes (`VmRSS`).
pub(crate) fn resident_bytes(pid: u32) -> Result<u64> {
    memory(pid, "VmRSS:")
}

/// The most memory that a process has had in RAM, in bytes (`VmHWM`).
pub(crate) fn peak_bytes(pid: u32) -> Result<u64> {
    memory(pid, "VmHWM:")
}

fn memory(pid: u32, name: &str) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = std::fs::read_to_string(&path).map_err(|error| Failure::new(path, error))?;
    parse_memory(&status, name).ok_or_else(|| Failure::bare(format!("the kernel does not say `{name}`")))
}

/// The file system that holds a path, by the longest mount point above it.
pub(crate) fn file_system_of(path: &std::path::Path) -> String {
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            let (device, point, kind) = (words.next()?, words.next()?, words.next()?);
            path.starts_with(point).then(|| (point.len(), format!("{kind} on {device}")))
        })
        .max_by_key(|(length, _)| *length)
        .map_or_else(|| "an unknown file system".to_owned(), |(_, name)| name)
}

/// The one-minute load average, before anything is measured.
pub(crate) fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}

fn parse_stat(stat: &str) -> Option<Cpu> {
    // The name of the program is in parentheses and may itself hold spaces and parentheses.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    Some(Cpu { user: ticks(fields.next()?)?, system: ticks(fields.next()?)? })
}

fn parse_busy(stat: &str) -> Option<Duration> {
    // user nice system idle iowait irq softirq; what a hypervisor took away is nobody's work here.
    let fields: Vec<_> = stat.lines().next()?.split_ascii_whitespace().skip(1).take(7).collect();
    let [user, nice, system, _idle, _wait, irq, soft] = fields.as_slice() else { return None };
    [user, nice, system, irq, soft].into_iter().map(|field| ticks(field)).sum()
}

fn parse_memory(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

fn ticks(text: &str) -> Option<Duration> {
    let per_second = rustix::param::clock_ticks_per_second();
    Some(Duration::from_micros(text.parse::<u64>().ok()? * 1_000_000 / per_second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_past_an_odd_name() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194560 9 8 7 6 150 25 0 0 20 0 1 0 99 1000 200";
        let ms = Duration::from_millis;
        assert_eq!(parse_stat(stat), Some(Cpu { user: ms(1500), system: ms(250) }));
        assert_eq!(parse_stat("7 (x) S 1"), None);
    }

    #[test]
    fn waiting_is_not_work() {
        let stat = "cpu  100 1 50 9999 999 2 3 77 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0";
        assert_eq!(parse_busy(stat), Some(Duration::from_millis(1560)));
    }

    #[test]
    fn memory_is_in_bytes() {
        assert_eq!(parse_memory("VmPeak:\t  9 kB\nVmRSS:\t  1024 kB\n", "VmRSS:"), Some(1024 * 1024));
        assert_eq!(parse_memory("VmPeak:\t  9 kB\n", "VmRSS:"), None);
    }

    #[test]
    fn a_process_knows_its_own() {
        let resident = resident_bytes(std::process::id()).unwrap();
        assert!(resident > 0 && peak_bytes(std::process::id()).unwrap() >= resident);
        assert!(busy_of_all().unwrap() >= Cpu::of(std::process::id()).unwrap().total());
    }
}
