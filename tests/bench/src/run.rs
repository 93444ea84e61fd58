//! One run: everything that was asked for, round by round, so that what is compared was measured side by side.

use std::path::Path;
use std::time::Duration;

use crate::approvals::{Form, Parts, PolicyCaller, Table, Telling, Weight};
use crate::baseline::Baseline;
use crate::failure::Result;
use crate::gate::{Gate, build};
use crate::load::{Load, Window, keep_in_flight};
use crate::place::Place;
use crate::report::{Goal, Measured, Report};
use crate::samples::{Samples, median};
use crate::{Options, Part, floor, process, starts};

/// Before each measured window.
const WARM_UP: Duration = Duration::from_secs(1);

/// How many letters are waited for in each round.
const LETTERS: usize = 100;

/// How long the gate is left alone before its memory is read.
const REST: Duration = Duration::from_millis(1500);

/// The name of the data folder that is loaded.
const DATA: &str = "data";

/// Everything that was measured.
#[derive(Default)]
struct Results {
    floor: Samples,
    baseline: Pair,
    policy: Pair,
    load: Vec<Load>,
    derived: Parts,
    paged: Parts,
    telling: Telling,
    weight: Option<Weight>,
    idle_bytes: Option<u64>,
    loaded_bytes: Option<u64>,
    binary_bytes: Option<u64>,
    started_again: Samples,
    started_anew: Samples,
}

/// The same thing one at a time and many at a time.
#[derive(Default)]
struct Pair {
    one: Vec<Load>,
    many: Vec<Load>,
}

/// Measures what the options ask for, and prints it.
pub(crate) fn run(options: &Options) -> Result<()> {
    let place = Place::make(options.folder.as_deref())?;
    let mut report = Report::default();
    report.fact(format!(
        "placet-bench: {} processors, load average before {}, data on {}",
        std::thread::available_parallelism()?,
        process::load_average(),
        process::file_system_of(place.path()),
    ));
    report.fact(format!(
        "{} rounds of {} s windows after {} s of warm-up; rates are medians of the rounds, percentiles are of all rounds",
        options.rounds,
        options.seconds,
        WARM_UP.as_secs(),
    ));
    // One thread: the client must leave the second processor to the server.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let results = runtime.block_on(measure(options, place.path()))?;
    tell(&results, options, &mut report);
    print!("{}", if options.json { report.json() } else { report.table() });
    Ok(())
}

async fn measure(options: &Options, place: &Path) -> Result<Results> {
    let mut results = Results::default();
    let binary = match &options.placet {
        Some(binary) => Some(binary.canonicalize()?),
        None if options.measures_the_gate() => Some(build()?),
        None => None,
    };
    let baseline = if options.measures(Part::Baseline) { Some(Baseline::start(place)?) } else { None };
    let mut gate = None;
    if let Some(binary) = binary.as_deref().filter(|_| options.measures_the_gate()) {
        let serving = Gate::start(binary, place, DATA)?;
        tokio::time::sleep(REST).await;
        results.idle_bytes = Some(process::resident_bytes(serving.server.pid())?);
        results.binary_bytes = Some(std::fs::metadata(binary)?.len());
        gate = Some(serving);
    }
    for round in 1..=options.rounds {
        eprintln!("round {round} of {}", options.rounds);
        if options.measures(Part::Floor) {
            results.floor.extend(floor::synced_appends(place)?);
        }
        if let Some(baseline) = &baseline {
            measure_baseline(options, baseline, &mut results.baseline).await?;
        }
        if let Some(gate) = &gate {
            measure_gate(options, gate, &mut results).await?;
        }
    }
    if let Some(baseline) = baseline {
        baseline.server.stop()?;
    }
    if let (Some(gate), Some(binary)) = (gate, binary) {
        tokio::time::sleep(REST).await;
        results.loaded_bytes = Some(process::resident_bytes(gate.server.pid())?);
        gate.server.stop()?;
        if options.measures(Part::Start) {
            eprintln!("starts");
            results.started_again = starts::again(&binary, place, DATA)?;
            results.started_anew = starts::anew(&binary, place)?;
        }
    }
    Ok(results)
}

async fn measure_baseline(options: &Options, baseline: &Baseline, into: &mut Pair) -> Result<()> {
    let (window, pid) = (window(options), baseline.server.pid());
    into.one.push(keep_in_flight(baseline.callers(1).await?, window, pid).await?);
    into.many.push(keep_in_flight(baseline.callers(options.in_flight).await?, window, pid).await?);
    Ok(())
}

async fn measure_gate(options: &Options, gate: &Gate, results: &mut Results) -> Result<()> {
    let (window, pid) = (window(options), gate.server.pid());
    if options.measures(Part::Approvals) {
        let mut table = Table::set(gate).await?;
        results.derived.extend(table.one_at_a_time(Form::Derived, window.measured).await?);
        results.paged.extend(table.one_at_a_time(Form::FromPage, window.measured / 2).await?);
        results.telling.extend(table.telling(gate, LETTERS).await?);
        results.weight = Some(table.weigh_page().await?);
    }
    if options.measures(Part::Policy) {
        let one = vec![PolicyCaller::connect(gate).await?];
        results.policy.one.push(keep_in_flight(one, window, pid).await?);
        let mut many = Vec::new();
        for _ in 0..options.in_flight {
            many.push(PolicyCaller::connect(gate).await?);
        }
        results.policy.many.push(keep_in_flight(many, window, pid).await?);
    }
    if options.measures(Part::Load) {
        let mut tables = Vec::new();
        for _ in 0..options.in_flight {
            tables.push(Table::set(gate).await?);
        }
        results.load.push(keep_in_flight(tables, window, pid).await?);
    }
    Ok(())
}

fn window(options: &Options) -> Window {
    Window { warm_up: WARM_UP, measured: Duration::from_secs(options.seconds.into()) }
}

fn tell(results: &Results, options: &Options, report: &mut Report) {
    if options.measures(Part::Floor) {
        let [p50, p99] = results.floor.permilles([500, 990]);
        report.row(
            "floor",
            "synced 512-byte append, p50",
            None,
            Measured::Time(p50),
            "fdatasync, one at a time",
        );
        report.row("floor", "synced 512-byte append, p99", None, Measured::Time(p99), "");
    }
    let many = options.in_flight;
    tell_pair(report, "baseline", "article's FastAPI", &results.baseline, many, None);
    if options.measures(Part::Approvals) {
        tell_parts(report, results);
    }
    tell_load(report, &results.load, many);
    tell_pair(report, "policy", "decided by policy", &results.policy, many, Some(Goal::AtLeast(2960.0)));
    if !results.policy.many.is_empty() && !results.baseline.many.is_empty() {
        let ratio = rate(&results.policy.many) / rate(&results.baseline.many);
        let what = "rate, of the baseline's";
        report.row("policy", what, Some(Goal::AtLeast(1.0)), Measured::Times(ratio), "same run, same client");
    }
    tell_size(report, results);
}

fn tell_pair(
    report: &mut Report,
    part: &'static str,
    what: &str,
    pair: &Pair,
    many: u32,
    goal: Option<Goal>,
) {
    if pair.many.is_empty() {
        return;
    }
    let [p50, p99] = all(&pair.one).permilles([500, 990]);
    report.row(part, format!("{what}, one at a time, p50"), None, Measured::Time(p50), "");
    report.row(part, format!("{what}, one at a time, p99"), None, Measured::Time(p99), "");
    let what = format!("{what}, {many} in flight");
    report.row(part, &what, goal, Measured::PerSecond(rate(&pair.many)), rounds(&pair.many));
    tell_cost(report, part, "request", &pair.many);
}

fn tell_load(report: &mut Report, load: &[Load], many: u32) {
    const PART: &str = "load";
    if load.is_empty() {
        return;
    }
    let what = format!("complete approvals, {many} in flight");
    let goal = Some(Goal::AtLeast(4000.0));
    report.row(PART, what, goal, Measured::PerSecond(rate(load)), rounds(load));
    let [p50, p99] = all(load).permilles([500, 990]);
    report.row(PART, "a whole approval under that load, p50", None, Measured::Time(p50), "");
    report.row(PART, "a whole approval under that load, p99", None, Measured::Time(p99), "");
    tell_cost(report, PART, "approval", load);
}

fn tell_cost(report: &mut Report, part: &'static str, each: &str, load: &[Load]) {
    let middle = |of: fn(&Load) -> f64| median(&load.iter().map(of).collect::<Vec<_>>());
    let kernel = middle(Load::server_kernel_share) * 100.0;
    let server = Measured::CpuMicros(middle(Load::server_micros_each));
    report.row(
        part,
        format!("server CPU per {each}"),
        None,
        server,
        format!("{kernel:.0} % of it in the kernel"),
    );
    let client = Measured::CpuMicros(middle(Load::client_micros_each));
    report.row(part, format!("client CPU per {each}"), None, client, "this program");
    let others = Measured::Processors(middle(|load| load.others));
    report.row(part, "busy with anything else", None, others, "kernel threads, and whatever disturbs");
}

fn tell_parts(report: &mut Report, results: &Results) {
    const PART: &str = "approvals";
    let Parts { ask, decide, release, whole, .. } = &results.derived;
    let counted = format!("{} approvals", whole.count());
    let mut three = |what: &str, samples: &Samples, goals: [Option<Goal>; 3], note: &str| {
        let times = samples.permilles([500, 950, 990]);
        for ((name, time), goal) in ["p50", "p95", "p99"].into_iter().zip(times).zip(goals) {
            let note = if name == "p50" { note } else { "" };
            report.row(PART, format!("{what}, {name}"), goal, Measured::Time(time), note);
        }
    };
    three("ask", ask, [None; 3], "POST /v1/requests to its 201");
    three("decide", decide, [None; 3], "POST /r/… to its answer");
    three("decide to waiter released", release, [None; 3], "a long poll that was waiting");
    let goals = [Some(Goal::Under(1.0)), None, Some(Goal::Under(4.0))];
    three("the machine's part", whole, goals, &counted);
    three("the page", &results.paged.page, [None; 3], "GET /r/…");
    three(
        "the machine's part after the page",
        &results.paged.whole,
        [None; 3],
        "the page itself not counted",
    );
    let Telling { after_answer, after_question } = &results.telling;
    three("answered to letter in outbox", after_answer, [None; 3], "0 where it was there first");
    three("asked to letter in outbox", after_question, [None; 3], "looked for every 20 µs or more");
    if results.floor.count() > 0 {
        let [floor] = results.floor.permilles([500]);
        let [whole] = whole.permilles([500]);
        let ratio = whole.as_secs_f64() / floor.as_secs_f64();
        let what = "the machine's part, p50, of the floor's";
        report.row(PART, what, None, Measured::Times(ratio), "it syncs twice");
    }
}

fn tell_size(report: &mut Report, results: &Results) {
    const PART: &str = "size";
    for (what, samples) in
        [("a used folder", &results.started_again), ("a new folder", &results.started_anew)]
    {
        if samples.count() > 0 {
            let [p50, worst] = samples.permilles([500, 1000]);
            let worst = format!("worst of {} {:.1} ms", samples.count(), worst.as_secs_f64() * 1e3);
            let what = format!("start to ready on {what}, p50");
            report.row("start", what, Some(Goal::Under(100.0)), Measured::Time(p50), worst);
        }
    }
    let megabytes = [
        ("memory, idle (VmRSS)", Some(Goal::Under(30.0)), results.idle_bytes),
        ("memory, after the load (VmRSS)", None, results.loaded_bytes),
        ("the binary", None, results.binary_bytes),
    ];
    for (what, goal, bytes) in megabytes {
        if let Some(bytes) = bytes {
            report.row(PART, what, goal, Measured::Megabytes(bytes), "");
        }
    }
    if let Some(Weight { body_bytes, head_bytes }) = results.weight {
        let note = format!("and {head_bytes} B of headers; not compressed");
        report.row(PART, "the review page", None, Measured::Bytes(body_bytes), note);
    }
}

fn all(loads: &[Load]) -> Samples {
    let mut samples = Samples::default();
    for load in loads {
        samples.extend(load.samples.clone());
    }
    samples
}

fn rate(loads: &[Load]) -> f64 {
    median(&loads.iter().map(|load| load.per_second).collect::<Vec<_>>())
}

fn rounds(loads: &[Load]) -> String {
    let rates: Vec<_> = loads.iter().map(|load| format!("{:.0}", load.per_second)).collect();
    format!("rounds: {}", rates.join(" "))
}
