//! The functions as Lambda runs them: starts, invocations, memory and size beside a Python and a Node function that
//! answer the same question; what each operation calls; what that costs.

mod contenders;
mod cost;
mod dynamo;
mod events;
mod far;
mod http;
mod operations;
mod runtime;
mod timing;

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use self::contenders::Contender;
use self::cost::PriceList;
use self::far::{FarEnd, Made, Service};
use self::operations::Operation;
use self::timing::{Timed, Work};
use crate::failure::{Failure, Result};
use crate::gate::People;
use crate::place::Place;
use crate::process;
use crate::report::{Goal, Measured, Report};

/// The glibc of Amazon Linux 2023, which `provided.al2023` runs on.
const LAMBDA_GLIBC: [u32; 2] = [2, 34];

/// What can be measured of the functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Size, starts, invocations and memory, beside Python and Node.
    Speed,
    /// The calls that each operation makes, and what they cost.
    Calls,
}

/// Measures the four Lambdas beside a Python and a Node function, and counts what they call
#[derive(Debug, Args)]
pub(crate) struct LambdaOptions {
    /// Measure only these
    #[arg(long, value_delimiter = ',')]
    only: Vec<Part>,
    /// How often each function is started
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    starts: u32,
    /// How often each function is invoked while it is warm, in each round
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    invocations: u32,
    /// How many rounds of warm invocations, each in a new process
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: u32,
    /// A folder with the four binaries, instead of building them
    #[arg(long, value_name = "DIR")]
    functions: Option<PathBuf>,
    /// Print JSON instead of the tables
    #[arg(long)]
    json: bool,
}

impl LambdaOptions {
    fn measures(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }
}

/// Measures what the options ask for, and prints it.
pub(crate) fn run(options: &LambdaOptions) -> Result<()> {
    let place = Place::make(None)?;
    let folder = match &options.functions {
        Some(folder) => folder.canonicalize()?,
        None => contenders::build()?,
    };
    let mut report = Report::default();
    report.fact(format!(
        "placet-bench lambda: {} processors, load average before {}",
        std::thread::available_parallelism()?,
        process::load_average(),
    ));
    report.fact(
        "AWS is a far end on the loopback that answers at once, without TLS: no time here has AWS in it",
    );
    if options.measures(Part::Speed) {
        let timed = measure(options, &folder, place.path())?;
        report.fact(format!(
            "{} starts; {} rounds of {} warm invocations; all contenders in turn",
            options.starts, options.rounds, options.invocations,
        ));
        tell_speed(&timed, &mut report)?;
    }
    if options.measures(Part::Calls) {
        eprintln!("counting calls, with one long poll of 25 s");
        let ours = ours(&folder)?;
        let [request, decide, sweep, rotate] = &ours;
        let operations = operations::count([request, decide, sweep, rotate], place.path())?;
        tell_calls(&operations, &mut report);
        tell_cost(&operations, &mut report)?;
    }
    print!("{}", if options.json { report.json() } else { report.table() });
    Ok(())
}

fn ours(folder: &Path) -> Result<[Contender; 4]> {
    let mut ours = Vec::new();
    for name in contenders::FUNCTIONS {
        ours.push(Contender::ours(folder, name)?);
    }
    ours.try_into().map_err(|_| Failure::bare("there are four functions"))
}

fn measure(options: &LambdaOptions, folder: &Path, place: &Path) -> Result<Vec<Timed>> {
    let people = People::of(FarEnd::keyring())?;
    let asker = Contender::ours(folder, "request")?;
    let [request, decide, sweep, rotate] = ours(folder)?;
    let mut timed = vec![
        Timed::new(request, Work::Ask)?,
        Timed::new(decide, Work::Decide)?,
        Timed::new(sweep, Work::Sweep)?,
        Timed::new(rotate, Work::Rotate)?,
        Timed::new(Contender::node()?, Work::Ask)?,
        Timed::new(Contender::python(place)?, Work::Ask)?,
    ];
    // Python writes its compiled files once; nobody's first start is measured.
    for round in 0..=options.starts {
        if round % 10 == 1 {
            eprintln!("starts, {round} of {}", options.starts);
        }
        for one in &mut timed {
            one.start_once(place, &asker, &people)?;
            if round == 0 {
                one.forget();
            }
        }
    }
    for round in 1..=options.rounds {
        eprintln!("warm, round {round} of {}", options.rounds);
        for one in &mut timed {
            one.keep_warm(options.invocations, place, &asker, &people)?;
        }
    }
    timed.iter().try_for_each(Timed::check)?;
    Ok(timed)
}

fn tell_speed(timed: &[Timed], report: &mut Report) -> Result<()> {
    for one in timed {
        let (part, ours) = (one.contender.name, one.is_ours());
        let goal = |most| ours.then_some(Goal::Under(most));
        let size = Measured::Megabytes(one.contender.bytes);
        report.row(part, "size", goal(6.0), size, one.contender.made_of);
        if ours {
            let zipped = Measured::Megabytes(contenders::zipped_bytes(one.contender.program())?);
            report.row(part, "size, zipped", None, zipped, "what is uploaded, and loaded at a cold start");
        }
        let [p50, p90] = one.polled.permilles([500, 900]);
        let p90 = format!("p90 {:.1} ms", p90.as_secs_f64() * 1e3);
        report.row(part, "start to first poll, p50", goal(10.0), Measured::Time(p50), p90);
        let [p50] = one.first.permilles([500]);
        let what = format!("{}, first of a process, p50", one.work().name());
        report.row(part, what, None, Measured::Time(p50), "");
        let [p50, p99] = one.warm.permilles([500, 990]);
        report.row(part, format!("{}, warm, p50", one.work().name()), None, Measured::Time(p50), "");
        report.row(part, format!("{}, warm, p99", one.work().name()), None, Measured::Time(p99), "");
        let peak = Measured::Megabytes(one.peak_bytes);
        report.row(part, "peak memory (VmHWM)", goal(32.0), peak, "");
        if ours {
            let [needed, has] = [contenders::newest_glibc(one.contender.program()), Some(LAMBDA_GLIBC)];
            report.fact(match needed {
                Some([major, minor]) if needed <= has => {
                    format!("{part} needs glibc {major}.{minor}, which Lambda has (Amazon Linux 2023: 2.34)")
                }
                Some([major, minor]) => format!(
                    "{part} needs glibc {major}.{minor}, which Lambda does NOT have (Amazon Linux 2023: 2.34): \
                     this build is not one to deploy"
                ),
                None => format!("which glibc {part} needs is not known: there is no objdump"),
            });
        }
    }
    Ok(())
}

fn tell_calls(operations: &[Operation], report: &mut Report) {
    for operation in operations {
        let calls = Measured::Calls(operation.made.len());
        let note = format!("{}; {}", named(&operation.made), units(&operation.made));
        report.row("calls", format!("{} ({})", operation.name, operation.function), None, calls, note);
    }
}

/// The calls in their order, the same one after the other told once.
fn named(made: &[Made]) -> String {
    let mut told: Vec<(String, usize)> = Vec::new();
    for call in made {
        let service = match call.service {
            Service::DynamoDb => "",
            Service::SecretsManager => "secretsmanager:",
            Service::Sqs => "sqs:",
            Service::Sns | Service::SnsSms => "sns:",
        };
        let name = format!("{service}{}", call.operation);
        match told.last_mut() {
            Some((last, times)) if *last == name => *times += 1,
            _ => told.push((name, 1)),
        }
    }
    if told.is_empty() {
        return "none".to_owned();
    }
    let one = |(name, times): (String, usize)| if times == 1 { name } else { format!("{times} × {name}") };
    told.into_iter().map(one).collect::<Vec<_>>().join(", ")
}

fn units(made: &[Made]) -> String {
    let read: f64 = made.iter().map(|call| call.units.read).sum();
    let write: f64 = made.iter().map(|call| call.units.write).sum();
    format!("{write} write and {read} read units")
}

fn tell_cost(operations: &[Operation], report: &mut Report) -> Result<()> {
    let list = PriceList::read()?;
    let (unchecked, all) = list.unchecked();
    report.fact(format!(
        "prices of {}, {}, no free tier (lambda/prices.toml; {unchecked} of {all} not checked); times in AWS are assumed there",
        list.region, list.written,
    ));
    for bill in list.bills(operations, "arm64")? {
        report.row("cost", bill.what, None, Measured::Dollars(bill.total()), bill.dearest(5));
    }
    let others = list.bills(operations, "x86_64")?;
    if let Some(bill) = others.first() {
        let note = "the same on x86_64";
        report.row("cost", bill.what, None, Measured::Dollars(bill.total()), note);
    }
    Ok(())
}
