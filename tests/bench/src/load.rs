//! Keeping so many things in flight for so long, and what that cost whom.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::failure::{Failure, Result};
use crate::process::{Cpu, busy_of_all};
use crate::samples::Samples;

/// One thing that is done again and again over connections of its own.
pub(crate) trait Cycle: Send + 'static {
    /// Does it once.
    fn once(&mut self) -> impl Future<Output = Result<()>> + Send;
}

/// How long is measured, and how long is not yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    /// Before it.
    pub(crate) warm_up: Duration,
    /// The window.
    pub(crate) measured: Duration,
}

/// What one window came to.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    /// How long each took that ended within the window.
    pub(crate) samples: Samples,
    /// How many of them ended per second.
    pub(crate) per_second: f64,
    /// What the server used of the processors, in the window.
    pub(crate) server: Cpu,
    /// What this program used.
    pub(crate) client: Cpu,
    /// How many processors everybody else kept busy: the kernel's own threads, and whatever disturbs.
    pub(crate) others: f64,
}

impl Load {
    /// The server's processor time for one of them, in microseconds.
    pub(crate) fn server_micros_each(&self) -> f64 {
        micros_each(self.server.total(), self.samples.count())
    }

    /// This program's processor time for one of them, in microseconds.
    pub(crate) fn client_micros_each(&self) -> f64 {
        micros_each(self.client.total(), self.samples.count())
    }

    /// The share of the server's time that was spent in the kernel, of 1.
    pub(crate) fn server_kernel_share(&self) -> f64 {
        self.server.system.as_secs_f64() / self.server.total().as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

/// Runs all of them side by side, each again as soon as it is done, and measures the window.
pub(crate) async fn keep_in_flight<C: Cycle>(cycles: Vec<C>, window: Window, server: u32) -> Result<Load> {
    let from = Instant::now() + window.warm_up;
    let until = from + window.measured;
    let mut running = JoinSet::new();
    for mut cycle in cycles {
        running.spawn(async move {
            let mut samples = Samples::default();
            let mut begun = Instant::now();
            while begun < until {
                cycle.once().await?;
                let ended = Instant::now();
                if (from..until).contains(&ended) {
                    samples.push(ended - begun);
                }
                begun = ended;
            }
            Ok::<_, Failure>(samples)
        });
    }
    tokio::time::sleep_until(from.into()).await;
    let before = Usage::now(server)?;
    tokio::time::sleep_until(until.into()).await;
    let used = Usage::now(server)?.since(before);
    let mut samples = Samples::default();
    while let Some(one) = running.join_next().await {
        samples.extend(one.map_err(|error| Failure::new("the load client", error))??);
    }
    let seconds = used.took.as_secs_f64();
    Ok(Load {
        per_second: f64::from(samples.count()) / window.measured.as_secs_f64(),
        samples,
        server: used.server,
        client: used.client,
        others: used.busy.saturating_sub(used.server.total() + used.client.total()).as_secs_f64() / seconds,
    })
}

#[derive(Clone, Copy)]
struct Usage {
    server: Cpu,
    client: Cpu,
    busy: Duration,
    at: Instant,
}

struct Used {
    server: Cpu,
    client: Cpu,
    busy: Duration,
    took: Duration,
}

impl Usage {
    fn now(server: u32) -> Result<Self> {
        Ok(Self {
            server: Cpu::of(server)?,
            client: Cpu::of(std::process::id())?,
            busy: busy_of_all()?,
            at: Instant::now(),
        })
    }

    fn since(self, earlier: Self) -> Used {
        Used {
            server: self.server.since(earlier.server),
            client: self.client.since(earlier.client),
            busy: self.busy.saturating_sub(earlier.busy),
            took: self.at - earlier.at,
        }
    }
}

fn micros_each(total: Duration, count: u32) -> f64 {
    total.as_secs_f64() * 1e6 / f64::from(count.max(1))
}
